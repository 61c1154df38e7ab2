"""One dispatch of one try: what a token speaks for, and what a report must come from to be believed."""

from dataclasses import dataclass, replace
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
    """A worker runs the try and reports it."""
    TRIGGER = "trigger"
    """The triggerer runs the trigger of a deferred try and reports what it fired. It reports no state of the try."""
    WATCHER = "watcher"
    """The triggerer runs a watcher of assets and reports their events."""
    CALLBACK = "callback"
    """A worker runs a callback: it reads what a task may read and reports how the callback ended."""
    CONNECTION_TEST = "connection_test"
    """A worker tests a connection: it gets that connection, reports how the test ended, and may do nothing else."""
    PARSE = "parse"
    """The parser reads the variables and connections that DAG files ask for while it parses them; it may do nothing else."""


UNBEGUN: Final = "workload"
"""Airflow's name of the type of a token that came in a message."""

OF_DAGS: Final = frozenset(Scope) - {Scope.CONNECTION_TEST, Scope.PARSE}
"""Scopes of code that a DAG brings: they may read what a DAG may read."""

OF_FILES: Final = OF_DAGS | {Scope.PARSE}
"""The same, and the parser's."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    key: TaskInstanceKey
    try_number: int
    dispatch_count: int
    scope: Scope = Scope.EXECUTION
    scheduled_at: datetime | None = None
    """Which of the scheduler's decisions it comes from. A message is sent before its dispatch is written: should that never
    happen, another decision may begin another dispatch under the same numbers. `None` where that is not told."""
    callback_id: str = ""
    """With scope `callback`: which of the run's; the task instance is then the one it shows, if any. With scope `watcher`:
    the watcher, of which `dispatch_count` is the life. With scope `connection_test`: the test."""
    is_begun: bool = True
    """The control plane has heard of its start. `False`: the token came in a message and is good for starting alone."""

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
        """Airflow's id of the task instance (of one try of it); with scope `callback`, the callback's."""
        if self.scope in {Scope.WATCHER, Scope.CONNECTION_TEST}:
            return UUID(self.callback_id)
        if self.scope is Scope.CALLBACK:
            return callback_uuid(self.key.run, self.callback_id)
        return self.key.uuid(self.try_number)

    @property
    def is_owed(self) -> bool:
        """Of scope `callback`: a run owes it. Calls of listeners that no run owes are stored nowhere."""
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

    def is_ahead_of(self, instance: TaskInstance | None) -> bool:
        """It is one that the instance has not come to: sent, and not written yet."""
        return instance is None or (instance.try_number, instance.dispatch_count) < (
            self.try_number,
            self.dispatch_count,
        )
