"""Messages: what the scheduler sends to workers, to the triggerer and to itself. One JSON object each."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from gust.model.bundle import BUNDLE_NAME
from gust.model.callback import callback_uuid
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.same_parse import SameParse


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _OfDispatch(_Message):
    """Speaks of one dispatch of one try."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    dispatch_count: int
    token: str
    """JWT that can only start this dispatch; the execution API exchanges it at the start."""
    log_stream: str | None = None
    """The stream in which the try's log began, if it has."""
    correlation_id: str = ""
    """The run's, for logs."""

    @property
    def key(self) -> TaskInstanceKey:
        return TaskInstanceKey(self.dag_id, self.run_id, self.task_id, self.map_index)

    @property
    def id(self) -> UUID:
        return self.key.uuid(self.try_number)

    @property
    def names_of_try(self) -> dict[str, Any]:
        """The fields by which Airflow's runtime knows the try."""
        return {"id": self.id, "try_number": self.try_number, **asdict(self.key)}

    @property
    def names(self) -> dict[str, Any]:
        """What a log line says of it."""
        return {**asdict(self.key), "try_number": self.try_number, "correlation_id": self.correlation_id}


class TaskWorkload(_OfDispatch):
    """Run one dispatch of one try. Everything a worker needs to begin; nothing secret but a token to begin with."""

    kind: Literal["task"] = "task"
    max_tries: int
    version_number: int
    bundle_name: str
    bundle_version: str | None
    relative_fileloc: str
    queue: str
    pool: str = "default_pool"
    pool_slots: int = 1
    priority_weight: int = 1
    place: str = ""
    """The place and its reason, for the first line of the log. Empty for the default group."""
    modules: tuple[str, ...] = ()
    """Of the DagSpec: a worker that does not know yet what the file imports knows these."""
    same_parse: SameParse | None = None
    """Of the DagSpec."""
    refused: str = ""
    """The reason why no worker can run it. The worker starts the try, fails it, and writes the reason to its log."""


class HookCall(_Message):
    """One call of a hook of the plugins' listeners that belongs to no run."""

    hook: str
    about: str
    """Its subject, for logs."""
    written: str
    """Its arguments, as JSON text, so that the message is hashable: the scheduler's door drops duplicates in a batch."""

    @property
    def arguments(self) -> Any:
        return json.loads(self.written)


class CallbackWorkload(_Message):
    """Run one callback that a run owes. The worker learns the callable and its context only when it claims the callback: a
    message that comes twice, or too late, reveals nothing and starts nothing."""

    kind: Literal["callback"] = "callback"
    dag_id: str
    run_id: str
    callback_id: str
    dispatch_count: int
    bundle_name: str
    bundle_version: str | None
    relative_fileloc: str
    token: str
    """JWT, valid for this dispatch of this callback alone."""
    correlation_id: str = ""
    """The run's, for logs."""
    call: HookCall | None = None
    """A listener call that belongs to no run. It is in the message itself: there is nothing to claim or to report."""

    @property
    def id(self) -> UUID:
        return callback_uuid(DagRunKey(self.dag_id, self.run_id), self.callback_id)


class ConnectionTestWorkload(_Message):
    """Have a connection's hook test it. The worker gets the connection, password included, once, from the execution API."""

    kind: Literal["connection_test"] = "connection_test"
    test_id: str
    connection_id: str
    """For logs."""
    timeout: float
    """Seconds."""
    token: str
    """JWT, valid for this test alone."""
    bundle_version: str | None = None
    """The active bundle, whose environments may hold the connection's provider."""
    folder: str = ""
    """The folder whose environment does."""

    @property
    def id(self) -> UUID:
        return UUID(self.test_id)


class TriggerWorkload(_OfDispatch):
    """Run the trigger of one deferred instance until it fires or the function's time is nearly up."""

    kind: Literal["trigger"] = "trigger"
    bundle_version: str | None = None
    """The bundle with the DAG folder's own triggers; without one only installed triggers are found."""
    relative_fileloc: str = ""
    """The DAG's file: its environment is the trigger's, too."""
    sleeps_passed: int = 0
    """How many of its sleeps are over; when it runs again it passes through them without waiting."""
    is_poller: bool = False
    """It looks at something, sleeps, and looks again: it may start afresh after any sleep."""
    looks: int = 0
    """How often it has polled and slept at the same place of its code (`place`): its attempts may be limited."""
    place: str = ""
    wake_at: datetime | None = None
    """Parked until then: SQS delays a message by 15 minutes at most."""
    woken: int = 0
    """An event woke it: it polls this often within a minute, beside the message that has it poll later. 0: no event did."""


class WatcherWorkload(_Message):
    """Run one life of a watcher of assets: until it fires, or would sleep."""

    kind: Literal["watcher"] = "watcher"
    watcher_id: str
    life: int
    token: str
    """JWT, valid for this life alone."""
    bundle_version: str | None = None
    file: str = ""
    """The file, in the bundle, of a DAG that wants it: with its folder's packages the watcher runs."""
    wake_at: datetime | None = None
    sleeps_passed: int = 0
    is_poller: bool = False

    @property
    def id(self) -> UUID:
        return UUID(self.watcher_id)


ForTriggerer = Annotated[TriggerWorkload | WatcherWorkload, Field(discriminator="kind")]
"""What may come on the queue of triggers."""


class WakeRun(_Message):
    """Look at a run again: something in it is due at `at`. Sent with a delay; early and repeated wakes are harmless."""

    kind: Literal["wake_run"] = "wake_run"
    dag_id: str
    run_id: str
    at: datetime
    is_timer: bool = False
    """It was sent for a time alone: the run's `due_at` may have come. Any other wake-up may follow from a write."""

    @property
    def key(self) -> DagRunKey:
        return DagRunKey(self.dag_id, self.run_id)


class WakeDag(_Message):
    """Make the DAG's scheduled runs that are due at `at`."""

    kind: Literal["wake_dag"] = "wake_dag"
    dag_id: str
    at: datetime


class WakeBackfill(_Message):
    """Look at a backfill again: runs are to be made, to be started, or have all ended."""

    kind: Literal["wake_backfill"] = "wake_backfill"
    backfill_id: int
    at: datetime


ForWorker = Annotated[TaskWorkload | CallbackWorkload | ConnectionTestWorkload, Field(discriminator="kind")]
"""What may come on the queue of tasks."""


class WakeLimit(_Message):
    """Give the free slots of a limit to the instances that wait for them."""

    kind: Literal["wake_limit"] = "wake_limit"
    limit: str


class TellListeners(_Message):
    """Have a worker call a hook of the listeners."""

    kind: Literal["tell_listeners"] = "tell_listeners"
    call: HookCall
    bundle_name: str = BUNDLE_NAME
    bundle_version: str | None
    """The bundle with the plugins."""


class WakeDeployment(_Message):
    """Have deployment `name` deploy the folder; if another deployment has the turn, have that one look again."""

    kind: Literal["wake_deployment"] = "wake_deployment"
    name: str


class WakeReaders(_Message):
    """A variable or connection has changed: have the DAG files that read it parsed again."""

    kind: Literal["wake_readers"] = "wake_readers"
    namespace: str
    key: str


class WakeWatcher(_Message):
    """Check whether an asset watcher is lost, and send its next life."""

    kind: Literal["wake_watcher"] = "wake_watcher"
    watcher_id: str
    at: datetime


class WakeWaiting(_Message):
    """Have the triggers that wait for a resource of AWS poll at once: an event says that it has come to a steady state."""

    kind: Literal["wake_waiting"] = "wake_waiting"
    resource: str
    after: str = ""
    """Those of the tries with greater ids; the others have been sent."""


Wake = Annotated[
    WakeRun
    | WakeDag
    | WakeBackfill
    | WakeLimit
    | WakeDeployment
    | WakeReaders
    | WakeWatcher
    | WakeWaiting
    | TellListeners,
    Field(discriminator="kind"),
]
"""What may come on the queue of wake-ups."""
