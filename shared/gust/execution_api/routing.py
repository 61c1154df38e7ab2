"""The table of routes: handler, access, and the models that check a request. `app` serves it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Concatenate, Generic, TypeVar

from pydantic import TypeAdapter

from gust.http.answer import Answer
from gust.http.check import Query
from gust.model.dispatch import OF_DAGS, Dispatch, Scope
from gust.services.context import Services

Body = TypeVar("Body")
Params = TypeVar("Params")

READING = ("GET", "HEAD")


class Fence(Enum):
    """What must still hold of the caller when the handler runs: its token only proves its identity."""

    NONE = "none"
    """Nothing: the route only reads."""
    ITSELF = "itself"
    """The verb that the handler calls checks the caller, in its conditional write or in a read that it needs anyway."""
    AT_WORK = "at work"
    """The caller's workload is still its own: its try runs, the instance waits for its trigger."""
    LAST_WORDS = "last words"
    """As AT_WORK, and also after the try's end: Airflow's task runner sends some requests after it has reported the
    end."""


class Access(Enum):
    OPEN = "open"
    """No token needed."""
    ANY = "any"
    """Any worker's token; on routes that only read, the triggerer's too."""
    OWN = "own"
    """As ANY, and the id in the path (`task_instance_id`, …) must be the token's: Airflow's `ti:self` and `ct:self`."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Params]):
    """One request after its checks: the caller is allowed the route, and the request is well formed."""

    services: Services
    caller: Dispatch
    path: Mapping[str, str]
    query: Params
    body: Body


def renewed_token(call: Call[Any, Any]) -> dict[str, str]:
    """The header with a new token for the same caller; the Task SDK's client uses it from then on."""
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
    """Builds the validator of the body. `None`: the route reads no body."""
    needs_body: bool
    """Whether the route refuses a request without a body; otherwise the body is `null`."""
    query: type[Query] | None
    fence: Fence
    begins: bool
    """Whether the route accepts the token of a message, which only starts a try."""


def _routes_of(method: str) -> Callable[Concatenate["Routes", str, ...], Callable[[Handler], Handler]]:
    def route(self: "Routes", path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add(method, path, **options)

    return route


class Routes:
    """Collects the routes of one file, in the order in which they are tried."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.table: list[Route] = []

    get = _routes_of("GET")
    head = _routes_of("HEAD")
    post = _routes_of("POST")
    put = _routes_of("PUT")
    patch = _routes_of("PATCH")
    delete = _routes_of("DELETE")

    def add(
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
