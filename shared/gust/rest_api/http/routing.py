"""Registers the handler of each operation. A handler names its operation; method and path are the contract's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Final

from gust.errors import NotSupportedYet
from gust.http.answer import Answer, Json
from gust.rest_api.http.modules import MODULE_OF
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS, Operation
from gust.rest_api.http.request import Request
from gust.services.context import Services

Handler = Callable[[Services, Request], Json | Answer]


class Handlers(Mapping[str, Handler]):
    """The handlers of a contract's operations, by id. A look-up imports the handler's module."""

    def __init__(self, contract: Mapping[str, Operation]) -> None:
        self._contract = contract
        self._known: dict[str, Handler] = {}

    def add(self, operation_id: str, handler: Handler) -> None:
        """Raises KeyError for an operation that the contract does not have, or that `modules` gives to no module."""
        self._contract[operation_id]
        if handler.__module__ != MODULE_OF[operation_id]:
            raise ValueError(f"{operation_id} is answered in {handler.__module__}, not in {MODULE_OF[operation_id]}")
        self._known[operation_id] = handler

    def __getitem__(self, operation_id: str) -> Handler:
        if operation_id not in self._known:
            if operation_id not in self:
                raise KeyError(operation_id)
            import_module(MODULE_OF[operation_id])
        return self._known[operation_id]

    def __contains__(self, operation_id: object) -> bool:
        return operation_id in self._contract and operation_id in MODULE_OF

    def __iter__(self) -> Iterator[str]:
        return iter(self._contract.keys() & MODULE_OF.keys())

    def __len__(self) -> int:
        return len(self._contract.keys() & MODULE_OF.keys())


HANDLERS: Final = Handlers(OPERATIONS)
UI_HANDLERS: Final = Handlers(UI_OPERATIONS)


def operation(operation_id: str) -> Callable[[Handler], Handler]:
    """Have the function answer an operation of the public API. Raises KeyError for one that the contract does not
    have."""
    return _registering(operation_id, HANDLERS)


def ui_operation(operation_id: str) -> Callable[[Handler], Handler]:
    """As `operation`, of the operations that only the web UI calls."""
    return _registering(operation_id, UI_HANDLERS)


def _registering(operation_id: str, handlers: Handlers) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        handlers.add(operation_id, handler)
        return handler

    return register


def not_yet(operation_id: str, operation: Operation) -> Handler:
    """Answers, for an operation of the contract that has no handler, 501 with its name."""

    def answer(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
        raise NotSupportedYet(
            f"{operation_id} ({operation.method} {operation.path}) is not implemented in this release of Gust"
        )

    return answer
