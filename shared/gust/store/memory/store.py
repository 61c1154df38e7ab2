"""The store without AWS: the twin of `dynamodb.py` for unit tests. The same contract suite runs on both.

One lock makes every method one transaction. JSON documents (conf, XComs, settings, …) are kept as JSON text, so that a
caller who changes what they gave or got changes nothing here, and what DynamoDB would refuse is refused here too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

from gust.errors import (
    AlreadyExists,
    LimitReached,
    NotFound,
    Stale,
    StaleCallback,
    StaleDag,
    StaleDagRun,
    StaleTaskInstance,
)
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.pool import Pool
from gust.model.run_state import LastRuns, RunState
from gust.model.state import DagRunState, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.ports.clock import Clock, SystemClock
from gust.scheduling.callback import CallbackMove
from gust.scheduling.run_view import InstanceId
from gust.scheduling.transition import Transition
from gust.store import items, keyspace
from gust.store.fences import (
    Changes,
    changed_dag_fields,
    changed_instance_fields,
    changed_run_fields,
    check_finishes,
    check_neither_starts_nor_finishes,
    check_requeues,
    check_starts,
    counts,
    counts_of_ended,
    dag_fence,
    instance_fence,
    next_run,
    next_run_fence,
    repeated_move,
    run_fence,
    update_fence,
    with_what_it_holds,
)
from gust.store.memory.assets import MemoryAssets
from gust.store.memory.backfills import MemoryBackfills
from gust.store.memory.connection_tests import MemoryConnectionTests
from gust.store.memory.deletions import MemoryDeletions
from gust.store.memory.history import MemoryHistory
from gust.store.memory.hitl import MemoryHITL
from gust.store.memory.limits import MemoryLimits
from gust.store.memory.logged_events import MemoryLoggedEvents
from gust.store.memory.settings import MemorySettings
from gust.store.memory.state import T, as_stored, check_fits
from gust.store.memory.state_stores import MemoryStateStores
from gust.store.memory.watchers import MemoryWatchers

P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[MemoryStore, P], R]) -> Callable[Concatenate[MemoryStore, P], R]:
    @wraps(method)
    def locked(self: MemoryStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class MemoryStore(
    MemoryBackfills,
    MemoryHistory,
    MemoryDeletions,
    MemoryLimits,
    MemoryAssets,
    MemoryConnectionTests,
    MemorySettings,
    MemoryLoggedEvents,
    MemoryHITL,
    MemoryStateStores,
    MemoryWatchers,
):
    """Implements `ports.Store`."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        MemoryBackfills.__init__(self)
        self._lock = RLock()
        MemoryAssets.__init__(self)
        self._runs: dict[DagRunKey, DagRun] = {}
        self._logical_dates: dict[tuple[str, datetime], str] = {}
        self._instances: dict[DagRunKey, dict[tuple[str, int], TaskInstance]] = defaultdict(dict)
        self._callbacks = {}
        self._hitl_details = {}
        self._task_states = {}
        self._asset_states = {}
        self._watchers = {}
        self._tries: dict[TaskInstanceKey, dict[int, TaskInstance]] = defaultdict(dict)
        self._rendered_fields: dict[TaskInstanceKey, tuple[int, str]] = {}
        self._xcoms: dict[tuple[TaskInstanceKey, str], tuple[XCom, str]] = {}
        self._dags: dict[str, Dag] = {}
        self._versions: dict[tuple[str, int], DagVersion] = {}
        self._source_files: dict[str, SourceFile] = {}
        self._import_problems: dict[str, ImportProblem] = {}
        self._warnings: dict[tuple[str, str], DagWarning] = {}
        self._bundle: Bundle | None = None
        self._turn: DeploymentTurn | None = None
        self._alive: dict[str, datetime] = {}
        MemoryLoggedEvents.__init__(self)
        self._limits: dict[str, int] = {}
        self._pools: dict[str, Pool] = {}
        MemoryConnectionTests.__init__(self)

    # --- DagRuns ------------------------------------------------------------------------------------------------------

    @_alone
    def load_run(self, key: DagRunKey) -> RunState | None:
        run = self._runs.get(key)
        if run is None:
            return None
        instances = {k: as_stored(v) for k, v in self._instances[key].items()}
        return RunState(as_stored(run), instances, tuple(self.list_callbacks(key)))

    @_alone
    def get_run(self, key: DagRunKey) -> DagRun | None:
        return _stored(self._runs.get(key))

    @_alone
    def create_run(
        self, run: DagRun, *, moving: tuple[Dag, Dag] | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        if moving:
            before, after = moving
            current = self._dags.get(before.dag_id)
            if current is None or not _holds(next_run_fence(before), current):
                raise StaleDag(f"DAG {before.dag_id!r} moved on", current)
        self._check_is_new(run)
        if run.state is not DagRunState.QUEUED:
            self._count_run(None, run)
        if moving:
            self._change_dag(after.dag_id, next_run(after))
        self._keep_run(run)
        self._write_callbacks(callbacks)

    @_alone
    def start_run(
        self, before: DagRun, after: DagRun, *, max_active_runs: int, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        check_starts(before, after)
        self._check_run(before)
        self._check_callbacks_of(before, callbacks)
        if not self._has_room(before, max_active_runs):
            raise LimitReached(f"max_active_runs of what limits {before.key} is {max_active_runs}")
        self._count_run(before, after)
        self._change_run(before, after)
        self._write_callbacks(callbacks)

    @_alone
    def finish_run(
        self, before: DagRun, after: DagRun, *, last: LastRuns | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        check_finishes(before, after)
        self._check_run(before)
        self._check_callbacks_of(before, callbacks)
        if last and last.running_runs != self._running_beside(before):
            raise StaleDagRun(f"runs beside {before.run_id!r} of {before.dag_id!r} moved on", None)
        self._count_run(before, after)
        self._change_run(before, after)
        self._write_callbacks(callbacks)

        if last and last.pauses:
            self._change_dag(before.dag_id, {"is_paused": True})
            self.log_event(last.pauses)

    @_alone
    def requeue_run(self, before: DagRun, after: DagRun) -> None:
        check_requeues(before, after)
        self._check_run(before)
        self._count_run(before, after)
        self._change_run(before, after)

    @_alone
    def update_run(self, before: DagRun, after: DagRun) -> None:
        check_neither_starts_nor_finishes(before, after)
        current = self._runs.get(before.key)
        if current is not None and _holds(changed_run_fields(before, after), current):
            return
        self._check_run(before, update_fence(before, after))
        self._count_run(before, after)
        self._change_run(before, after)

    @_alone
    def list_runs(self, dag_id: str, *, limit: int | None = None) -> list[DagRun]:
        runs = [as_stored(run) for run in self._runs.values() if run.dag_id == dag_id]
        return sorted(runs, key=lambda run: (run.run_after, run.run_id), reverse=True)[:limit]

    @_alone
    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        return reversed([run for date, run in self._dated(dag_id) if logical_date is None or date < logical_date])

    @_alone
    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        return iter([run for date, run in self._dated(dag_id) if date > logical_date])

    @_alone
    def runs_of_dates(self, dag_id: str, first: datetime, last: datetime) -> Iterator[DagRun]:
        return iter([run for date, run in self._dated(dag_id) if first <= date <= last])

    def _dated(self, dag_id: str) -> list[tuple[datetime, DagRun]]:
        """Runs that have a logical date, in its order."""
        of_dag = (run for run in self._runs.values() if run.dag_id == dag_id)
        dated = [(run.logical_date, as_stored(run)) for run in of_dag if run.logical_date is not None]
        return sorted(dated, key=lambda found: found[0])

    @_alone
    def runs_of_partition(self, dag_id: str, date: datetime | None) -> list[DagRun]:
        found = [
            (run.partition_date, run.run_id, as_stored(run))
            for run in self._runs.values()
            if run.dag_id == dag_id and run.partition_date is not None and date in (None, run.partition_date)
        ]
        return [run for _, _, run in sorted(found, key=lambda one: one[:2])]

    @_alone
    def queued_runs(self, dag_id: str, *, limit: int, backfill_id: int | None = None) -> list[DagRunKey]:
        queued = [
            run
            for run in self._runs.values()
            if run.dag_id == dag_id and run.state is DagRunState.QUEUED and run.backfill_id == backfill_id
        ]
        if backfill_id is not None:
            queued.sort(key=lambda run: (run.backfill_ordinal, run.run_id))
        else:
            queued.sort(key=lambda run: (run.run_after, run.run_id))
        return [run.key for run in queued][:limit]

    @_alone
    def due_runs(self, until: datetime) -> list[tuple[DagRunKey, datetime]]:
        due = [(run.key, run.due_at) for run in self._runs.values() if run.due_at and run.due_at <= until]
        return sorted(due, key=lambda found: (found[1], found[0]))

    def _check_run(self, before: DagRun, fence: Changes | None = None) -> None:
        current = self._runs.get(before.key)
        if current is None or not _holds(fence or run_fence(before), current):
            raise StaleDagRun(f"DagRun {before.run_id!r} of {before.dag_id!r} moved on", _stored(current))

    def _check_callbacks_of(self, run: DagRun, moves: Sequence[CallbackMove]) -> None:
        try:
            self._check_callbacks(moves)
        except StaleCallback as stale:
            raise StaleDagRun(f"Callbacks of DagRun {run.run_id!r} of {run.dag_id!r} moved on", None) from stale

    def _change_run(self, before: DagRun, after: DagRun) -> None:
        self._runs[before.key] = as_stored(replace(self._runs[before.key], **changed_run_fields(before, after)))

    def _check_is_new(self, run: DagRun) -> None:
        if run.key in self._runs:
            raise AlreadyExists(f"DAG {run.dag_id!r} has a run {run.run_id!r} already")
        if run.logical_date and (run.dag_id, run.logical_date) in self._logical_dates:
            raise AlreadyExists(f"DAG {run.dag_id!r} has a run of logical date {run.logical_date.isoformat()} already")

    def _keep_run(self, run: DagRun) -> None:
        if run.logical_date:
            self._logical_dates[run.dag_id, run.logical_date] = run.run_id
        self._runs[run.key] = as_stored(run)

    def _has_room(self, run: DagRun, limit: int) -> bool:
        if run.backfill_id is not None:
            backfill = self._backfills.get(run.backfill_id)
            return backfill is None or (backfill.running_runs < limit and not backfill.is_paused)
        dag = self._dags.get(run.dag_id)
        return dag is None or dag.running_runs < limit

    def _running_beside(self, run: DagRun) -> int:
        owner = self._dags.get(run.dag_id) if run.backfill_id is None else self._backfills.get(run.backfill_id)
        return owner.running_runs if owner else 0

    def _count_run(self, before: DagRun | None, after: DagRun | None) -> None:
        """What the run's move changes of what limits it, and of how many have ended."""
        changes, ended, run = counts(before, after), counts_of_ended(before, after), after or before
        if run is None:
            return
        if changes and run.backfill_id is not None:
            self._count_in_backfill(run.backfill_id, changes)
        of_dag = ended if run.backfill_id is not None else changes | ended
        dag = self._dags.get(run.dag_id)
        if dag is not None and of_dag:
            self._change_dag(run.dag_id, {name: getattr(dag, name) + change for name, change in of_dag.items()})
        elif changes and run.backfill_id is None:
            raise NotFound(f"no DAG {run.dag_id!r}")

    # --- task instances -----------------------------------------------------------------------------------------------

    @_alone
    def get_instance(self, key: TaskInstanceKey) -> TaskInstance | None:
        return _stored(self._instances[key.run].get((key.task_id, key.map_index)))

    @_alone
    def get_instance_and_run(self, key: TaskInstanceKey) -> tuple[TaskInstance | None, DagRun | None]:
        return self.get_instance(key), self.get_run(key.run)

    def get_run_and_instances(
        self, key: DagRunKey, instances: Sequence[InstanceId]
    ) -> tuple[DagRun | None, dict[InstanceId, TaskInstance]]:
        run = self.get_run(key)
        found = self.get_instances([key.task_instance(*instance) for instance in instances])
        return run, {(instance.task_id, instance.map_index): instance for instance in found}

    @_alone
    def move(self, transition: Transition) -> None:
        before, after = transition.before, transition.after
        current = self._current(before.key)
        if not _holds(instance_fence(before), current):
            if _holds(repeated_move(transition), current):
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

    @_alone
    def move_all(self, transitions: Sequence[Transition]) -> list[Transition]:
        stale = []
        for transition in transitions:
            try:
                self.move(transition)
            except StaleTaskInstance:
                stale.append(transition)
        return stale

    @_alone
    def heartbeat(self, key: TaskInstanceKey, *, try_number: int, dispatch_count: int, at: datetime) -> None:
        current = self._current(key)
        expected = (TaskInstanceState.RUNNING, try_number, dispatch_count)
        if (current.state, current.try_number, current.dispatch_count) != expected:
            raise StaleTaskInstance(f"heartbeat: {key} moved on", self.get_instance(key))
        self._set_instance(replace(current, heartbeat_at=at))

    @_alone
    def list_tries(self, key: TaskInstanceKey) -> list[TaskInstance]:
        return [as_stored(instance) for _, instance in sorted(self._tries[key].items())]

    @_alone
    def tries_of_run(self, key: DagRunKey) -> dict[tuple[str, int], list[TaskInstance]]:
        its = sorted((one for one in self._tries if one.run == key and self._tries[one]), key=str)
        return {(one.task_id, one.map_index): self.list_tries(one) for one in its}

    @_alone
    def put_rendered_fields(self, key: TaskInstanceKey, fields: Mapping[str, Any], *, dispatch_count: int) -> None:
        stored_by, _ = self._rendered_fields.get(key, (0, ""))
        if stored_by > dispatch_count:
            raise StaleTaskInstance(f"rendered fields: {key} was dispatched again", None)
        self._rendered_fields[key] = (dispatch_count, json.dumps(dict(fields)))

    @_alone
    def get_rendered_fields(self, key: TaskInstanceKey) -> dict[str, Any] | None:
        found = self._rendered_fields.get(key)
        return None if found is None else json.loads(found[1])

    @_alone
    def get_many_rendered_fields(self, keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, dict[str, Any]]:
        return {key: fields for key in keys if (fields := self.get_rendered_fields(key)) is not None}

    @_alone
    def list_rendered_fields(self, key: DagRunKey) -> dict[tuple[str, int], dict[str, Any]]:
        return {
            (of.task_id, of.map_index): json.loads(found[1])
            for of, found in self._rendered_fields.items()
            if of.run == key
        }

    def _current(self, key: TaskInstanceKey) -> TaskInstance:
        new = TaskInstance(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)
        return self._instances[key.run].get((key.task_id, key.map_index), new)

    def _set_instance(self, instance: TaskInstance) -> None:
        self._instances[instance.key.run][instance.task_id, instance.map_index] = as_stored(instance)

    # --- XComs --------------------------------------------------------------------------------------------------------

    @_alone
    def put_xcom(self, xcom: XCom) -> None:
        self._check_is_no_later_push(xcom.key, xcom.name, xcom.dispatch_count)
        if xcom.mapped_length is not None or xcom.skip_decision is not None:
            self._note_push(xcom)
        self._xcoms[xcom.key, xcom.name] = (replace(xcom, value=None, skip_decision=None), json.dumps(xcom.value))

    @_alone
    def create_xcom(self, xcom: XCom) -> None:
        if (xcom.key, xcom.name) in self._xcoms:
            raise AlreadyExists(f"{xcom.key} has an XCom {xcom.name!r} already")
        self._xcoms[xcom.key, xcom.name] = (replace(xcom, value=None, skip_decision=None), json.dumps(xcom.value))

    @_alone
    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        noted = self.get_instance(key)
        if noted is None:
            return
        if is_pushed is not None:
            pushed = {*noted.pushed_keys, name} if is_pushed else {*noted.pushed_keys} - {name}
            noted = replace(noted, pushed_keys=tuple(sorted(pushed)))
        if skip_decision is not None:
            noted = replace(noted, skip_decision=skip_decision)
        self._set_instance(noted)

    @_alone
    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None:
        found = self._xcoms.get((key, name))
        return None if found is None else _with_value(*found)

    @_alone
    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        return [
            _with_value(*found)
            for (key, its_name), found in sorted(self._xcoms.items(), key=lambda entry: entry[0])
            if key.run == run
            and task_id in (None, key.task_id)
            and map_index in (None, key.map_index)
            and name in (None, its_name)
        ]

    @_alone
    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        if name is not None:
            self._check_is_no_later_push(key, name, dispatch_count)
        for found in [k for k in self._xcoms if k[0] == key and name in (None, k[1])]:
            del self._xcoms[found]

    def _check_is_no_later_push(self, key: TaskInstanceKey, name: str, dispatch_count: int | None) -> None:
        found = self._xcoms.get((key, name))
        if found and dispatch_count is not None and (found[0].dispatch_count or 0) > dispatch_count:
            raise StaleTaskInstance(f"{key}: a later dispatch has pushed {name!r}", None)

    def _note_push(self, xcom: XCom) -> None:
        noted = self._current(xcom.key)
        is_other = xcom.dispatch_count not in (None, noted.dispatch_count)
        if noted.state is not TaskInstanceState.RUNNING or is_other:
            raise StaleTaskInstance(f"put_xcom: {xcom.key} is not running", self.get_instance(xcom.key))
        if xcom.mapped_length is not None:
            noted = replace(
                noted,
                xcom_lengths={**noted.xcom_lengths, xcom.name: xcom.mapped_length},
                pushed_keys=tuple(sorted({*noted.pushed_keys, xcom.name})),
            )
        if xcom.skip_decision is not None:
            noted = replace(noted, skip_decision=xcom.skip_decision)
        self._set_instance(noted)

    # --- DAGs ---------------------------------------------------------------------------------------------------------

    @_alone
    def get_dag(self, dag_id: str) -> Dag | None:
        return self._dags.get(dag_id)

    @_alone
    def get_dags(self, dag_ids: Collection[str]) -> list[Dag]:
        return [as_stored(self._dags[dag_id]) for dag_id in dag_ids if dag_id in self._dags]

    @_alone
    def list_dags(self) -> list[Dag]:
        return [dag for _, dag in sorted(self._dags.items())]

    @_alone
    def put_dag(self, before: Dag | None, after: Dag) -> None:
        check_fits(items.DAG.item(after))
        changed = changed_dag_fields(before, after)
        current = self._dags.get(after.dag_id)
        if current is not None and _holds(changed, current):
            return
        if current is None and before is None:
            self._dags[after.dag_id] = replace(after, running_runs=0)
        elif current is None or before is None or not _holds(dag_fence(before), current):
            raise StaleDag(f"DAG {after.dag_id!r} moved on", current)
        else:
            self._change_dag(after.dag_id, changed)

    @_alone
    def due_dags(self, until: datetime) -> list[tuple[str, datetime]]:
        due = [
            (dag.dag_id, dag.next_run_after)
            for dag in self._dags.values()
            if not dag.is_paused and not dag.is_stale and dag.next_run_after and dag.next_run_after <= until
        ]
        due += self._due_queues(until)
        return sorted(due, key=lambda found: (found[1], found[0]))

    @_alone
    def put_version(self, version: DagVersion) -> None:
        current = self._versions.setdefault((version.dag_id, version.version_number), version)
        if current != version:
            raise AlreadyExists(f"DAG {version.dag_id!r} has another version {version.version_number}")

    @_alone
    def get_version(self, dag_id: str, version_number: int) -> DagVersion | None:
        return self._versions.get((dag_id, version_number))

    @_alone
    def get_versions(self, numbers: Collection[tuple[str, int]]) -> dict[tuple[str, int], DagVersion]:
        return {named: self._versions[named] for named in numbers if named in self._versions}

    @_alone
    def list_versions(self, dag_id: str) -> list[DagVersion]:
        return [version for key, version in sorted(self._versions.items()) if key[0] == dag_id]

    @_alone
    def list_source_files(self) -> list[SourceFile]:
        return [file for _, file in sorted(self._source_files.items())]

    @_alone
    def put_source_file(self, file: SourceFile) -> None:
        keyspace.source_file(file.relative_path)
        check_fits(items.SOURCE_FILE.item(file))
        self._source_files[file.relative_path] = file

    @_alone
    def delete_source_file(self, relative_path: str) -> None:
        self._source_files.pop(relative_path, None)

    @_alone
    def list_import_problems(self) -> list[ImportProblem]:
        return [problem for _, problem in sorted(self._import_problems.items())]

    @_alone
    def put_import_problem(self, problem: ImportProblem) -> None:
        keyspace.import_problem(problem.filename)
        check_fits(items.IMPORT_PROBLEM.item(problem))
        self._import_problems[problem.filename] = problem

    @_alone
    def delete_import_problem(self, filename: str) -> None:
        self._import_problems.pop(filename, None)

    @_alone
    def list_warnings(self, dag_id: str | None = None) -> list[DagWarning]:
        return [warning for key, warning in sorted(self._warnings.items()) if dag_id in (None, key[0])]

    @_alone
    def put_warning(self, warning: DagWarning) -> None:
        check_fits(items.DAG_WARNING.item(warning))
        self._warnings[warning.dag_id, warning.warning_type] = warning

    @_alone
    def delete_warnings(self, dag_id: str) -> None:
        for key in [key for key in self._warnings if key[0] == dag_id]:
            del self._warnings[key]

    @_alone
    def active_bundle(self) -> Bundle | None:
        return self._bundle

    @_alone
    def activate_bundle(self, bundle: Bundle, *, replacing: Bundle | None) -> None:
        if self._bundle == bundle:
            return
        if self._bundle != replacing:
            raise Stale(f"the active bundle is {self._bundle and self._bundle.version}")
        self._bundle = bundle

    @_alone
    def deployment_turn(self) -> DeploymentTurn | None:
        return self._turn

    @_alone
    def move_deployment_turn(self, before: DeploymentTurn | None, after: DeploymentTurn) -> None:
        if self._turn not in (before, after):
            raise Stale(f"the turn to deploy is {self._turn}")
        self._turn = after

    @_alone
    def set_alive(self, component: str, at: datetime) -> None:
        self._alive[component] = at

    @_alone
    def last_alive(self) -> dict[str, datetime]:
        return dict(sorted(self._alive.items()))

    def _change_dag(self, dag_id: str, changed: Mapping[str, Any]) -> None:
        self._dags[dag_id] = replace(self._dags[dag_id], **changed)


def _stored(found: T | None) -> T | None:
    return None if found is None else as_stored(found)


def _with_value(xcom: XCom, value: str) -> XCom:
    return replace(xcom, value=json.loads(value))


def _holds(expected: Mapping[str, Any], stored: object) -> bool:
    return all(getattr(stored, name) == value for name, value in expected.items())
