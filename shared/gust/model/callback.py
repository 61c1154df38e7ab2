"""One callback that a run owes: users' code that no task runs itself, stored beside the run's instances.

A task's own callbacks run in its worker, as in Airflow, and are not here. These are: callbacks of the DAG, callbacks of a
try whose worker died, deadlines, calls of plugins' listeners about a run, and `on_kill` of a trigger that was taken away.
One kind is no user's code: the stop of a container whose try was taken away.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

from gust.model.keys import UNMAPPED, DagRunKey, TaskInstanceKey

CALLBACK_NAMESPACE: Final = UUID("a1b6f4d5-9c1e-5d0c-8f6e-3f6f0c9e2b77")


class CallbackState(StrEnum):
    """Source: `airflow.utils.state.CallbackState`."""

    SCHEDULED = "scheduled"
    """A deadline before its time."""
    PENDING = "pending"
    """It must be called. Dies here: the next look at the run sends it."""
    QUEUED = "queued"
    """SQS accepted the message. Dies here: the message comes again, or the next look sends another."""
    RUNNING = "running"
    """A worker claimed it. Dies here: the message comes again when the worker's time is over."""
    SUCCESS = "success"
    FAILED = "failed"


class CallbackKind(StrEnum):
    DAG = "dag"
    """`on_success_callback` or `on_failure_callback` of the DAG."""
    TASK = "task"
    """`on_failure_callback` or `on_retry_callback` of a try that no worker could end."""
    DEADLINE = "deadline"
    LISTENER = "listener"
    """A hook of the bundle's plugins."""
    HOOK = "hook"
    """A listener's hook that belongs to no run: never stored."""
    TRIGGER = "trigger"
    """`on_kill` of a trigger whose task was ended or cleared while it waited for the trigger."""
    CONTAINER = "container"
    """StopTask for the container of a try that was ended or cleared. The scheduler carries it out itself."""


ENDED: Final = frozenset({CallbackState.SUCCESS, CallbackState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Moments are UTC."""

    dag_id: str
    run_id: str
    callback_id: str
    """Names it within its run. It follows from the event, so a second decision makes no second callback."""
    kind: CallbackKind
    event: str
    """`success`, `failure` or `retry`; `missed` of a deadline; of listeners the name of the hook."""
    state: CallbackState
    created_at: datetime
    updated_at: datetime
    """Of a deadline: when it was made, missed, or moved by a clear."""
    reason: str | None = None
    """Airflow's `reason` or message."""
    task_id: str | None = None
    """With the next two: the try that the context shows."""
    map_index: int = UNMAPPED
    try_number: int = 0
    due_at: datetime | None = None
    """The deadline."""
    alert_id: str | None = None
    """The deadline alert it comes from."""
    name: str | None = None
    """That alert's."""
    follows_queueing: bool = False
    """The deadline counts from when the run was queued, and moves when it is cleared."""
    definition: dict[str, Any] = field(default_factory=dict)
    """Of a deadline, the callable (class, path and arguments); of a trigger, class and arguments, as Airflow encodes them;
    of a container, its name.
    Of a try: which of `callback` and `email` it is owed."""
    dispatch_count: int = 0
    """How often it was sent. A message or a report of an earlier dispatch is stale."""
    sent_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    hostname: str | None = None
    """The log stream of the worker that ran it."""
    output: str | None = None
    """Why it failed."""

    @property
    def run_key(self) -> DagRunKey:
        return DagRunKey(self.dag_id, self.run_id)

    @property
    def instance_key(self) -> TaskInstanceKey | None:
        return None if self.task_id is None else self.run_key.task_instance(self.task_id, self.map_index)

    @property
    def id(self) -> UUID:
        return callback_uuid(self.run_key, self.callback_id)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def callback_uuid(run: DagRunKey, callback_id: str) -> UUID:
    """Derived, so that it need not be stored and every party computes the same one."""
    return uuid5(CALLBACK_NAMESPACE, "\x1f".join((run.dag_id, run.run_id, callback_id)))
