"""Which handler answers which operation. A handler names its operation; method and path are the contract's."""

from __future__ import annotations

from collections.abc import Callable
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
    """Have the function answer the operation. Raises KeyError for one the contract does not have."""
    OPERATIONS[operation_id]

    def register(handler: Handler) -> Handler:
        HANDLERS[operation_id] = handler
        return handler

    return register


def ui_operation(operation_id: str) -> Callable[[Handler], Handler]:
    """As `operation`, for those that only the web UI asks."""
    UI_OPERATIONS[operation_id]

    def register(handler: Handler) -> Handler:
        UI_HANDLERS[operation_id] = handler
        return handler

    return register


def not_yet(operation_id: str, operation: Operation) -> Handler:
    """Answers, for an operation of the contract that has no handler, 501 with its name."""

    def answer(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
        raise NotSupportedYet(
            f"{operation_id} ({operation.method} {operation.path}) is not in this release of Gust yet"
        )

    return answer
