"""Registers the handler of each operation. A handler names its operation; method and path are the contract's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gust.errors import NotSupportedYet
from gust.http.answer import Answer, Json
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS, Operation
from gust.rest_api.http.request import Request
from gust.services.context import Services

Handler = Callable[[Services, Request], Json | Answer]

HANDLERS: Final[dict[str, Handler]] = {}
UI_HANDLERS: Final[dict[str, Handler]] = {}


def operation(operation_id: str) -> Callable[[Handler], Handler]:
    """Have the function answer an operation of the public API. Raises KeyError for one that the contract does not
    have."""
    return _registering(operation_id, OPERATIONS, HANDLERS)


def ui_operation(operation_id: str) -> Callable[[Handler], Handler]:
    """As `operation`, of the operations that only the web UI calls."""
    return _registering(operation_id, UI_OPERATIONS, UI_HANDLERS)


def _registering(
    operation_id: str, contract: Mapping[str, Operation], handlers: dict[str, Handler]
) -> Callable[[Handler], Handler]:
    contract[operation_id]

    def register(handler: Handler) -> Handler:
        handlers[operation_id] = handler
        return handler

    return register


def not_yet(operation_id: str, operation: Operation) -> Handler:
    """Answers, for an operation of the contract that has no handler, 501 with its name."""

    def answer(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
        raise NotSupportedYet(
            f"{operation_id} ({operation.method} {operation.path}) is not implemented in this release of Gust"
        )

    return answer
