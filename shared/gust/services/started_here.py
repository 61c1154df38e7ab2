"""Task instances as this process of the execution API began them: what a report is checked against need not be read again
where the same process hears of the start and of the end, as it mostly does.

Only ever a guess. Somebody may have moved the instance since; then the write that follows is refused, and the instance is
read.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gust.model.dispatch import Dispatch
from gust.model.task_instance import TaskInstance

KEPT: Final = 1_000
"""Of those whose end this process never hears of."""


@dataclass(frozen=True, slots=True)
class StartedHere:
    _instances: OrderedDict[Dispatch, TaskInstance] = field(default_factory=OrderedDict)

    def note(self, dispatch: Dispatch, instance: TaskInstance) -> None:
        self._instances[dispatch] = instance
        if len(self._instances) > KEPT:
            self._instances.popitem(last=False)

    def take(self, dispatch: Dispatch) -> TaskInstance | None:
        """Once: who asks again does so because the first answer was no good."""
        return self._instances.pop(dispatch, None)
