"""The twin's deletions."""

from __future__ import annotations

from datetime import datetime

from gust.errors import StaleDagRun
from gust.model.asset import AssetEvent
from gust.model.bundle import DagWarning
from gust.model.callback import Callback
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.hitl import HITLDetail
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state_entry import StateEntry
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.store.fences import run_fence
from gust.store.memory.state import MemoryPart


class MemoryDeletions(MemoryPart):
    """Part of `MemoryStore`, whose state this is."""

    _runs: dict[DagRunKey, DagRun]
    _logical_dates: dict[tuple[str, datetime], str]
    _callbacks: dict[tuple[DagRunKey, str], Callback]
    _instances: dict[DagRunKey, dict[tuple[str, int], TaskInstance]]
    _tries: dict[TaskInstanceKey, dict[int, TaskInstance]]
    _rendered_fields: dict[TaskInstanceKey, tuple[int, str]]
    _xcoms: dict[tuple[TaskInstanceKey, str], tuple[XCom, str]]
    _hitl_details: dict[TaskInstanceKey, dict[int, HITLDetail]]
    _task_states: dict[TaskInstanceKey, dict[str, StateEntry]]
    _consumed: dict[DagRunKey, list[AssetEvent]]
    _dags: dict[str, Dag]
    _versions: dict[tuple[str, int], DagVersion]
    _warnings: dict[tuple[str, str], DagWarning]

    def delete_run(self, run: DagRun) -> None:
        with self._lock:
            current = self._runs.get(run.key)
            if current is None:
                return
            if run_fence(current) != run_fence(run):
                raise StaleDagRun(f"DagRun {run.run_id!r} of {run.dag_id!r} moved on", current)
            self._count_run(run, None)
            with_history = (
                *self._tries,
                *self._rendered_fields,
                *(key for key, _ in self._xcoms),
                *self._hitl_details,
            )
            for key in {key for key in with_history if key.run == run.key}:
                self.delete_history(key)
            self._instances.pop(run.key, None)
            for owed in [owed for owed in self._callbacks if owed[0] == run.key]:
                del self._callbacks[owed]
            for key in [key for key in self._task_states if key.run == run.key]:
                del self._task_states[key]
            self._consumed.pop(run.key, None)
            if run.logical_date:
                self._logical_dates.pop((run.dag_id, run.logical_date), None)
            del self._runs[run.key]

    def delete_history(self, key: TaskInstanceKey) -> None:
        with self._lock:
            self._tries.pop(key, None)
            self._rendered_fields.pop(key, None)
            self._hitl_details.pop(key, None)
            for name in [name for name in self._xcoms if name[0] == key]:
                del self._xcoms[name]

    def delete_dag(self, dag_id: str) -> None:
        with self._lock:
            for of_dag in [key for key in self._versions if key[0] == dag_id]:
                del self._versions[of_dag]
            for warning in [key for key in self._warnings if key[0] == dag_id]:
                del self._warnings[warning]
            self._dags.pop(dag_id, None)
