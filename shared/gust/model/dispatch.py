"""One dispatch of one try: the subject of a token. A report is accepted only from the current dispatch."""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from gust.model.callback import callback_uuid
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance


class Scope(StrEnum):
    """What the bearer of a token may ask of the execution API; Airflow's claim `scope`."""

    EXECUTION = "execution"
    """A worker that runs the try and reports it."""
    TRIGGER = "trigger"
    """A triggerer that runs the trigger of a deferred try and reports its event. It reports no state of the try."""
    WATCHER = "watcher"
    """A triggerer that runs an asset watcher and reports asset events."""
    CALLBACK = "callback"
    """A worker that runs a callback: it has a task's read rights and reports how the callback ended."""
    CONNECTION_TEST = "connection_test"
    """A worker that tests a connection: it gets that connection and the default role's AWS credentials, reports how the
    test ended, and may do nothing else."""
    PARSE = "parse"
    """The parser: it reads variables and connections for the DAG files it parses, and may do nothing else."""


UNBEGUN: Final = "workload"
"""Airflow's type name of a token that is sent in a message."""

OF_DAGS: Final = frozenset(Scope) - {Scope.CONNECTION_TEST, Scope.PARSE}
"""Scopes that run a DAG's code and have a DAG's read rights."""

OF_FILES: Final = OF_DAGS | {Scope.PARSE}
"""The same, and the parser, which runs a DAG file only to find its DAGs."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    key: TaskInstanceKey
    try_number: int
    dispatch_count: int
    scope: Scope = Scope.EXECUTION
    scheduled_at: datetime | None = None
    """The scheduler's decision that it comes from. A message is sent before its dispatch is written: if the write never
    happens, a later decision may begin another dispatch with the same numbers. `None` if the token does not say."""
    callback_id: str = ""
    """With scope `callback`: the id of the run's callback; the task instance is then the one in its context, if any. With
    scope `watcher`: the watcher, whose life is `dispatch_count`. With scope `connection_test`: the test."""
    run_digest: str = field(default="", compare=False)
    """`DagRun.digest` when the message was sent: the execution API need not read a run that it knows by it. In messages
    alone."""
    is_begun: bool = True
    """The execution API has accepted its start. `False`: the token came in a message and can only start the dispatch."""

    @classmethod
    def of(cls, instance: TaskInstance, scope: Scope = Scope.EXECUTION) -> Self:
        return cls(instance.key, instance.try_number, instance.dispatch_count, scope, instance.scheduled_at)

    @property
    def token_type(self) -> str:
        """As Airflow names it."""
        return self.scope.value if self.is_begun else UNBEGUN

    def begun(self) -> Self:
        return self if self.is_begun else replace(self, is_begun=True)

    @property
    def id(self) -> UUID:
        """Airflow's id of the task instance (of one try of it); else of the callback, watcher or test."""
        if self.scope in {Scope.WATCHER, Scope.CONNECTION_TEST}:
            return UUID(self.callback_id)
        if self.scope is Scope.CALLBACK:
            return callback_uuid(self.key.run, self.callback_id)
        return self.key.uuid(self.try_number)

    @property
    def is_owed(self) -> bool:
        """Of scope `callback`: a run owes it. Listener calls that belong to no run are stored nowhere."""
        return bool(self.key.run_id)

    def runs(self, instance: TaskInstance) -> bool:
        """It is current, and its worker is at work."""
        return self.is_current(instance) and instance.state is TaskInstanceState.RUNNING

    def is_current(self, instance: TaskInstance) -> bool:
        """No later try and no later dispatch has taken its place."""
        return (instance.try_number, instance.dispatch_count) == (self.try_number, self.dispatch_count)

    def is_as_sent(self, instance: TaskInstance) -> bool:
        """It is current, and was written by the decision that sent its message."""
        return self.is_current(instance) and self.scheduled_at in (None, instance.scheduled_at)

    def as_first_sent(self) -> TaskInstance:
        """The instance as the scheduler wrote it with its first dispatch, in the fields that a start depends on or changes:
        no earlier dispatch has left anything in it."""
        return TaskInstance(
            **asdict(self.key),
            state=TaskInstanceState.QUEUED,
            try_number=self.try_number,
            dispatch_count=self.dispatch_count,
            scheduled_at=self.scheduled_at,
            reason="It was sent.",
        )

    def is_ahead_of(self, instance: TaskInstance | None) -> bool:
        """It was sent, and the instance's item does not show it yet."""
        return instance is None or (instance.try_number, instance.dispatch_count) < (
            self.try_number,
            self.dispatch_count,
        )
