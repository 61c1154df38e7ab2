"""Task instances, in memory."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gust.errors import (
    StaleTaskInstance,
)
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.ports.limits import DagAndPools
from gust.ports.task_instances import RunAndInstances
from gust.scheduling import measure
from gust.scheduling.callback import CallbackMove
from gust.scheduling.run_view import InstanceId
from gust.scheduling.transition import Transition
from gust.store.fences import (
    changed_instance_fields,
    instance_fence,
    repeated_move,
    unread_fence,
    with_what_it_holds,
)
from gust.store.memory.callbacks import MemoryCallbacks
from gust.store.memory.hitl import MemoryHITL
from gust.store.memory.limits import MemoryLimits
from gust.store.memory.state import as_stored, as_stored_or_none, atomic, holds


class MemoryTaskInstances(MemoryCallbacks, MemoryHITL, MemoryLimits):
    """Implements `ports.TaskInstanceStore`."""

    @atomic
    def get_instance(self, key: TaskInstanceKey) -> TaskInstance | None:
        return as_stored_or_none(self._instances[key.run].get((key.task_id, key.map_index)))

    @atomic
    def get_instances(self, keys: Sequence[TaskInstanceKey]) -> list[TaskInstance]:
        found = (self._instances.get(key.run, {}).get((key.task_id, key.map_index)) for key in keys)
        return [as_stored(instance) for instance in found if instance is not None]

    @atomic
    def get_instance_and_run(self, key: TaskInstanceKey) -> tuple[TaskInstance | None, DagRun | None]:
        return self.get_instance(key), as_stored_or_none(self._runs.get(key.run))

    @atomic
    def get_run_and_instances(self, key: DagRunKey, instances: Sequence[InstanceId]) -> RunAndInstances:
        run = as_stored_or_none(self._runs.get(key))
        found = self.get_instances([key.task_instance(*instance) for instance in instances])
        return run, {(instance.task_id, instance.map_index): instance for instance in found}

    @atomic
    def get_dag_and_run(
        self, key: DagRunKey, *, pools: Collection[str], instances: Sequence[InstanceId]
    ) -> tuple[DagAndPools, RunAndInstances]:
        return self.get_dag_and_pools(key.dag_id, pools), self.get_run_and_instances(key, instances)

    @atomic
    def move(self, transition: Transition) -> None:
        before, after = transition.before, transition.after
        current = self._current(before.key)
        if not holds(instance_fence(before), current):
            if holds(repeated_move(transition), current):
                return
            if (again := with_what_it_holds(transition, current)) is not None:
                self.move(again)
                return
            raise StaleTaskInstance(f"{transition.edge}: {before.key} moved on", self.get_instance(before.key))
        if transition.hitl is not None:
            self._check_hitl(before.key, transition.hitl)
            self._write_hitl(before.key, transition.hitl)
        if transition.callback is not None:
            self._write_callbacks([CallbackMove(None, transition.callback)])
        self._set_instance(replace(current, **changed_instance_fields(before, after)))
        self._count(transition)
        if finished := transition.finished_try:
            self._tries[before.key][finished.try_number] = as_stored(finished)
        self._metrics.add(measure.of_move(transition))

    @atomic
    def move_unread(self, transition: Transition) -> TaskInstance | None:
        before, current = transition.before, self._current(transition.before.key)
        if not holds(unread_fence(before), current):
            return None
        self._set_instance(replace(current, **changed_instance_fields(before, transition.after)))
        return self.get_instance(before.key)

    @atomic
    def move_all(self, transitions: Sequence[Transition]) -> list[Transition]:
        stale = []
        for transition in transitions:
            try:
                self.move(transition)
            except StaleTaskInstance:
                stale.append(transition)
        return stale

    @atomic
    def heartbeat(self, key: TaskInstanceKey, *, try_number: int, dispatch_count: int, at: datetime) -> None:
        current = self._current(key)
        expected = (TaskInstanceState.RUNNING, try_number, dispatch_count)
        if (current.state, current.try_number, current.dispatch_count) != expected:
            raise StaleTaskInstance(f"heartbeat: {key} moved on", self.get_instance(key))
        self._set_instance(replace(current, heartbeat_at=at))

    @atomic
    def list_tries(self, key: TaskInstanceKey) -> list[TaskInstance]:
        return [as_stored(instance) for _, instance in sorted(self._tries[key].items())]

    @atomic
    def tries_of_run(self, key: DagRunKey) -> dict[tuple[str, int], list[TaskInstance]]:
        its = sorted((one for one in self._tries if one.run == key and self._tries[one]), key=str)
        return {(one.task_id, one.map_index): self.list_tries(one) for one in its}

    @atomic
    def delete_history(self, key: TaskInstanceKey) -> None:
        self._tries.pop(key, None)
        self._rendered_fields.pop(key, None)
        self._hitl_details.pop(key, None)
        for name in [name for name in self._xcoms if name[0] == key]:
            del self._xcoms[name]

    @atomic
    def put_rendered_fields(self, key: TaskInstanceKey, fields: Mapping[str, Any], *, dispatch_count: int) -> None:
        stored_by, _ = self._rendered_fields.get(key, (0, ""))
        if stored_by > dispatch_count:
            raise StaleTaskInstance(f"rendered fields: {key} was dispatched again", None)
        self._rendered_fields[key] = (dispatch_count, json.dumps(dict(fields)))

    @atomic
    def get_rendered_fields(self, key: TaskInstanceKey) -> dict[str, Any] | None:
        stored_by, beside = self._rendered_fields.get(key, (0, ""))
        current = self._current(key)
        if current.rendered_by > stored_by:
            return dict(current.rendered_fields)
        return json.loads(beside) if stored_by else None

    @atomic
    def get_many_rendered_fields(self, keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, dict[str, Any]]:
        return {key: fields for key in keys if (fields := self.get_rendered_fields(key)) is not None}

    @atomic
    def list_rendered_fields(self, key: DagRunKey) -> dict[tuple[str, int], dict[str, Any]]:
        its = {of for of in self._rendered_fields if of.run == key}
        its |= {key.task_instance(*which) for which in self._instances.get(key, {})}
        return {(of.task_id, of.map_index): fields for of, fields in self.get_many_rendered_fields(its).items()}

    def _current(self, key: TaskInstanceKey) -> TaskInstance:
        new = TaskInstance(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)
        return self._instances[key.run].get((key.task_id, key.map_index), new)

    def _set_instance(self, instance: TaskInstance) -> None:
        self._instances[instance.key.run][instance.task_id, instance.map_index] = as_stored(instance)
