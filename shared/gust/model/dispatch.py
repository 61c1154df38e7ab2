"""One dispatch of one try: what a token speaks for, and what a report must come from to be believed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from gust.model.keys import TaskInstanceKey
from gust.model.task_instance import TaskInstance


class Scope(StrEnum):
    EXECUTION = "execution"
    """A worker's: runs the try and reports it."""
    TRIGGER = "trigger"
    """The triggerer's: runs the trigger of a deferred try and reports what it fired. It reports no state of the try."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    key: TaskInstanceKey
    try_number: int
    dispatch_count: int
    scope: Scope = Scope.EXECUTION

    @classmethod
    def of(cls, instance: TaskInstance, scope: Scope = Scope.EXECUTION) -> Self:
        return cls(instance.key, instance.try_number, instance.dispatch_count, scope)

    @property
    def id(self) -> UUID:
        """Airflow's id of the task instance (of one try of it)."""
        return self.key.uuid(self.try_number)

    def is_current(self, instance: TaskInstance) -> bool:
        """No later try and no later dispatch has taken its place."""
        return (instance.try_number, instance.dispatch_count) == (self.try_number, self.dispatch_count)
