"""Task instances as this process of the execution API started them. Mostly the same process gets the start and the report
of the end: then it need not read the instance again.

The cached instance is only a guess. If another writer has moved the instance since, the conditional write fails, and the
process reads the instance.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gust.model.dispatch import Dispatch
from gust.model.task_instance import TaskInstance

KEPT: Final = 1_000
"""Number of instances kept; the ends of some go to another process."""


@dataclass(frozen=True, slots=True)
class StartedHere:
    _instances: OrderedDict[Dispatch, TaskInstance] = field(default_factory=OrderedDict)

    def note(self, dispatch: Dispatch, instance: TaskInstance) -> None:
        self._instances[dispatch] = instance
        if len(self._instances) > KEPT:
            self._instances.popitem(last=False)

    def take(self, dispatch: Dispatch) -> TaskInstance | None:
        """Remove and return it: a caller asks again only if the first answer was out of date."""
        return self._instances.pop(dispatch, None)
