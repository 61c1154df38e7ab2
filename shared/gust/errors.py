"""Every error Gust raises on purpose. The type says what the caller must do; the docstring is the message.

GustError
├── Rejected                 the request is wrong: tell the person, change nothing
│   ├── BadRequest
│   ├── Unauthorized
│   ├── Forbidden
│   ├── NotFound
│   ├── AlreadyExists
│   ├── Conflict
│   ├── Gone
│   ├── Invalid
│   ├── Unreadable
│   ├── Unfinished           … or too long: a part is done, the same request again does the rest
│   └── NotSupportedYet
├── Stale                    another writer moved it first: reload and decide again, or drop the message
│   ├── StaleItem            … and it shows the stored one
│   │   ├── StaleTaskInstance
│   │   ├── StaleDagRun
│   │   ├── StaleDag
│   │   └── StaleCallback
│   ├── StaleBackfill
│   ├── StaleHITLDetail
│   ├── StaleWatcher
│   └── StaleAssetQueue
├── IllegalTransition        the state has no such edge: a bug, or a request to refuse
├── LimitReached             not now: it stays where it is until a slot is free
├── Unopenable               this bundle cannot be opened here, now or ever: fail whatever needs it
└── ServiceUnavailable       a service we depend on failed: let the message come again
    └── Throttled            … and it has done nothing of this request
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from datetime import datetime

    from gust.model.callback import Callback
    from gust.model.dag import Dag  # noqa: F401 - named in a base's argument
    from gust.model.dag_run import DagRun  # noqa: F401 - named in a base's argument
    from gust.model.task_instance import TaskInstance

T = TypeVar("T")


class GustError(Exception):
    """Base of all of them."""


class Rejected(GustError):
    """The request cannot be carried out as it is; nothing was changed."""

    status: ClassVar[int] = 400
    """Of the HTTP answer."""

    def __init_subclass__(cls, status: int | None = None) -> None:
        """A subclass without a status has its base's."""
        cls.status = cls.status if status is None else status


class BadRequest(Rejected, status=400):
    """The request as a whole cannot be carried out, though each field is well formed."""


class NotFound(Rejected, status=404):
    """The thing that the request names does not exist."""


class AlreadyExists(Rejected, status=409):
    """The thing that the request would make exists already."""


class Conflict(Rejected, status=409):
    """The thing is in a state that does not allow this."""

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.detail = detail

    @classmethod
    def of_state(cls, message: str, current: TaskInstance | Callback | None) -> Conflict:
        """The worker's report does not fit the state of the stored `current`."""
        return cls(message, reason="invalid_state", previous_state=current.state if current else None)


class Gone(Rejected, status=410):
    """The thing that the request names existed, and something else has replaced it for good."""


class Invalid(Rejected, status=422):
    """A field's value is not acceptable."""

    def __init__(self, message: str, *, field: tuple[str | int, ...] = (), value: Any = None) -> None:
        super().__init__(message)
        self.field = field
        """Path to the field, outermost first, e.g. `("body", "logical_date")`."""
        self.value = value


class Unreadable(Rejected, status=409):
    """The stored value was encrypted with a key that the stack no longer has."""


class Unauthorized(Rejected, status=401):
    """No token, or one that is not valid."""


class Forbidden(Rejected, status=403):
    """The caller is known and may not do this."""


class Unfinished(Rejected, status=503):
    """Part of the request is done, and a request's time is over. Sending it again does the rest."""


class NotSupportedYet(Rejected, status=501):
    """The operation belongs to a feature this release does not have; the message names the feature."""


class Stale(GustError):
    """The stored thing is no longer what the writer saw."""


class StaleItem(Stale, Generic[T]):
    """`current` is the stored one, `None` if there is none."""

    def __init__(self, message: str, current: T | None) -> None:
        super().__init__(message)
        self.current = current


class StaleTaskInstance(StaleItem["TaskInstance"]):
    """The task instance moved since it was read."""


class StaleDagRun(StaleItem["DagRun"]):
    """The DagRun moved since it was read."""


class StaleDag(StaleItem["Dag"]):
    """The DAG's item moved since it was read."""


class StaleBackfill(Stale):
    """The backfill moved since it was read: another makes its runs, or it has ended."""


class StaleCallback(StaleItem["Callback"]):
    """The callback moved since it was read."""


class StaleHITLDetail(Stale):
    """The question was answered since it was read, or it is gone."""


class StaleWatcher(Stale):
    """The watcher moved since it was read: another runs it, or the DAGs that want it have changed."""


class StaleAssetQueue(Stale):
    """A DAG's queue of asset events moved since it was read. `closed_until` is set if a run of the DAG has consumed all
    events up to that moment: an event with an earlier moment would be passed over."""

    def __init__(self, message: str, closed_until: datetime | None = None) -> None:
        super().__init__(message)
        self.closed_until = closed_until


class IllegalTransition(GustError):
    """The instance's state has no such edge. Our bug, or a request to answer with 409."""

    def __init__(self, edge: str, before: TaskInstance) -> None:
        super().__init__(f"{edge} is not possible from state {before.state} (try {before.try_number}) of {before.key}")
        self.edge = edge
        self.before = before


class LimitReached(GustError):
    """A concurrency limit has no room; the message names the limit and its size."""


class Unopenable(GustError):
    """A bundle is missing, its content does not match its hash, or the disk has no room for it."""


class ServiceUnavailable(GustError):
    """A service we depend on failed; the work is repeated later."""


class Throttled(ServiceUnavailable):
    """The service has reached its concurrency or rate limit and has done nothing of this request."""
