"""The routes as a table: what is answered, who may ask, what the request must look like. `app` serves it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from gust.http.answer import Answer
from gust.http.check import Query
from gust.model.dispatch import OF_DAGS, Dispatch, Scope
from gust.services.context import Services

Body = TypeVar("Body")
Params = TypeVar("Params")

READING = ("GET", "HEAD")


class Fence(Enum):
    """What of a caller must still hold when a request is worked off. A token only proves who asks."""

    NONE = "none"
    """It only reads."""
    ITSELF = "itself"
    """The handler's own verb checks it, with its write or with what it reads anyway."""
    AT_WORK = "at work"
    """The caller does what it was given: its try runs, its trigger is waited for, …"""
    LAST_WORDS = "last words"
    """As AT_WORK; and what Airflow's task runner sends when it has reported the end of its try."""


class Access(Enum):
    OPEN = "open"
    """Without a token."""
    ANY = "any"
    """Any token of a worker; the triggerer's too, where the route only reads."""
    OWN = "own"
    """As ANY, and the id in the path (`task_instance_id`, …) must be the token's: Airflow's `ti:self` and `ct:self`."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Params]):
    """One request, checked: the caller may ask this, and it is well formed."""

    services: Services
    caller: Dispatch
    path: Mapping[str, str]
    query: Params
    body: Body


def renewed_token(call: Call[Any, Any]) -> dict[str, str]:
    """The header by which the Task SDK's client goes on with another token, made for the same caller now."""
    services = call.services
    return {"Refreshed-API-Token": services.tokens.renewed(call.caller, now=services.clock.now())}


Handler = Callable[[Any], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    """FastAPI's notation: `{name}` stands for one segment, `{name:path}` for one or more."""
    handler: Handler
    access: Access
    scopes: frozenset[Scope]
    body: Callable[[], TypeAdapter[Any]] | None
    """Makes what checks the body; `None` where none is read."""
    needs_body: bool
    """Whether a request without a body is refused; else it counts as `null`."""
    query: type[Query] | None
    fence: Fence
    begins: bool
    """Whether a token that came in a message is good for it."""


class Routes:
    """Collects the routes of one file, in the order in which they are tried."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.table: list[Route] = []

    def get(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("GET", path, **options)

    def head(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("HEAD", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("DELETE", path, **options)

    def _route(
        self,
        method: str,
        path: str,
        *,
        access: Access = Access.ANY,
        scopes: frozenset[Scope] | None = None,
        body: Any = None,
        needs_body: bool = True,
        query: type[Query] | None = None,
        fence: Fence | None = None,
        begins: bool = False,
    ) -> Callable[[Handler], Handler]:
        allowed = scopes or (OF_DAGS if method in READING else frozenset({Scope.EXECUTION}))
        checked = fence or (Fence.NONE if method in READING else Fence.AT_WORK)

        def register(handler: Handler) -> Handler:
            make_body = None if body is None else lambda: TypeAdapter(body)
            self.table.append(
                Route(
                    method,
                    self.prefix + path,
                    handler,
                    access,
                    allowed,
                    make_body,
                    needs_body,
                    query,
                    fence=checked,
                    begins=begins,
                )
            )
            return handler

        return register
