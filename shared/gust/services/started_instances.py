"""Task instances that this process of the execution API has started, so that the report of their end is checked without
reading them again: the same process mostly handles both.

A cached instance may be stale. Then the conditional write that follows is refused, and the caller reads the instance.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gust.model.dispatch import Dispatch
from gust.model.task_instance import TaskInstance

KEPT: Final = 1_000
"""Instances kept at most; the oldest goes first. Most leave earlier, when this process handles their end."""


@dataclass(frozen=True, slots=True)
class StartedInstanceCache:
    _instances: OrderedDict[Dispatch, TaskInstance] = field(default_factory=OrderedDict)

    def put(self, dispatch: Dispatch, instance: TaskInstance) -> None:
        self._instances[dispatch] = instance
        if len(self._instances) > KEPT:
            self._instances.popitem(last=False)

    def take(self, dispatch: Dispatch) -> TaskInstance | None:
        """Return the instance and forget it: a caller that asks twice found the first answer stale."""
        return self._instances.pop(dispatch, None)
