"""What this process of the execution API remembers of starts: the instances, so that the report of their end is checked
without reading them again, and their runs, for the starts of other instances. The same process mostly handles both.

A cached instance may be stale. Then the conditional write that follows is refused, and the caller reads the instance. A run
is known by its digest, which a message names: it is as the scheduler saw it when it sent the message.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gust.model.dag_run import DagRun
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.task_instance import TaskInstance

KEPT: Final = 1_000
"""Instances kept at most; the oldest goes first. Most leave earlier, when this process handles their end."""

RUNS_KEPT: Final = 100
"""Runs kept at most; the one that was used least recently goes first."""


@dataclass(frozen=True, slots=True)
class KnownRuns:
    _runs: OrderedDict[tuple[DagRunKey, str], DagRun] = field(default_factory=OrderedDict)

    def put(self, run: DagRun) -> None:
        self._runs[run.key, run.digest] = run
        if len(self._runs) > RUNS_KEPT:
            self._runs.popitem(last=False)

    def get(self, key: DagRunKey, digest: str) -> DagRun | None:
        if (found := self._runs.get((key, digest))) is not None:
            self._runs.move_to_end((key, digest))
        return found


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
