"""DagRuns, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gust.errors import (
    AlreadyExists,
    LimitReached,
    NotFound,
    StaleCallback,
    StaleDag,
    StaleDagRun,
)
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.run_state import LastRuns, RunState, RunSummary
from gust.model.state import DagRunState
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling import measure
from gust.scheduling.callback import CallbackMove
from gust.store.fences import (
    Changes,
    changed_run_fields,
    check_finishes,
    check_neither_starts_nor_finishes,
    check_requeues,
    check_starts,
    counts,
    counts_of_ended,
    next_run,
    next_run_fence,
    run_fence,
    update_fence,
)
from gust.store.memory.dags import MemoryDags
from gust.store.memory.logged_events import MemoryLoggedEvents
from gust.store.memory.state import as_stored, as_stored_or_none, atomic, holds
from gust.store.memory.task_instances import MemoryTaskInstances


class MemoryRuns(MemoryTaskInstances, MemoryDags, MemoryLoggedEvents):
    """Implements `ports.RunStore`."""

    @atomic
    def load_run(self, key: DagRunKey) -> RunState | None:
        run = self._runs.get(key)
        if run is None:
            return None
        instances = {k: as_stored(v) for k, v in self._instances[key].items()}
        return RunState(as_stored(run), instances, tuple(self.list_callbacks(key)))

    @atomic
    def load_runs(self, keys: Sequence[DagRunKey]) -> list[RunState]:
        return [state for key in keys if (state := self.load_run(key)) is not None]

    @atomic
    def get_run(self, key: DagRunKey) -> DagRun | None:
        return as_stored_or_none(self._runs.get(key))

    @atomic
    def get_runs(self, keys: Sequence[DagRunKey]) -> list[DagRun]:
        return [as_stored(self._runs[key]) for key in keys if key in self._runs]

    def summaries_of_runs(self, keys: Sequence[DagRunKey]) -> list[RunSummary]:
        return [
            RunSummary(run.key, run.state, run.start_date, run.end_date, run.instance_states)
            for run in self.get_runs(keys)
        ]

    @atomic
    def create_run(
        self, run: DagRun, *, moving: tuple[Dag, Dag] | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        if moving:
            before, after = moving
            current = self._dags.get(before.dag_id)
            if current is None or not holds(next_run_fence(before), current):
                raise StaleDag(f"DAG {before.dag_id!r} moved on", current)
        self._check_is_new(run)
        if run.state is not DagRunState.QUEUED:
            self._count_run(None, run)
        if moving:
            self._change_dag(after.dag_id, next_run(after))
        self._keep_run(run)
        self._write_callbacks(callbacks)

    @atomic
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

    @atomic
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
        self._metrics.add(measure.of_finished_run(after))

    @atomic
    def requeue_run(self, before: DagRun, after: DagRun) -> None:
        check_requeues(before, after)
        self._check_run(before)
        self._count_run(before, after)
        self._change_run(before, after)

    @atomic
    def update_run(self, before: DagRun, after: DagRun) -> None:
        check_neither_starts_nor_finishes(before, after)
        current = self._runs.get(before.key)
        if current is not None and holds(changed_run_fields(before, after), current):
            return
        self._check_run(before, update_fence(before, after))
        self._count_run(before, after)
        self._change_run(before, after)

    @atomic
    def delete_run(self, run: DagRun) -> None:
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

    @atomic
    def list_runs(self, dag_id: str, *, limit: int | None = None) -> list[DagRun]:
        runs = [as_stored(run) for run in self._runs.values() if run.dag_id == dag_id]
        return sorted(runs, key=lambda run: (run.run_after, run.run_id), reverse=True)[:limit]

    @atomic
    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        return reversed([run for date, run in self._dated(dag_id) if logical_date is None or date < logical_date])

    @atomic
    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        return iter([run for date, run in self._dated(dag_id) if date > logical_date])

    @atomic
    def runs_of_dates(self, dag_id: str, window: Window = OLDEST_FIRST) -> Iterator[DagRun]:
        return window.in_order([run for date, run in self._dated(dag_id) if window.holds(date)])

    @atomic
    def dates_of_runs(self, dag_id: str, window: Window = OLDEST_FIRST) -> list[tuple[datetime, DagRunKey]]:
        dated = [(date, run.key) for date, run in self._dated(dag_id) if window.holds(date)]
        return list(window.in_order(dated))

    @atomic
    def runs_of_partition(self, dag_id: str, date: datetime | None) -> list[DagRun]:
        found = [
            (run.partition_date, run.run_id, as_stored(run))
            for run in self._runs.values()
            if run.dag_id == dag_id and run.partition_date is not None and date in (None, run.partition_date)
        ]
        return [run for _, _, run in sorted(found, key=lambda one: one[:2])]

    @atomic
    def queued_runs(
        self, dag_id: str, *, limit: int, backfill_id: int | None = None, up_to: DagRun | None = None
    ) -> list[DagRunKey]:
        def place(run: DagRun) -> tuple[datetime | int | None, str]:
            return run.run_after if backfill_id is None else run.backfill_ordinal, run.run_id

        queued = [
            run
            for run in self._runs.values()
            if run.dag_id == dag_id and run.state is DagRunState.QUEUED and run.backfill_id == backfill_id
        ]
        ahead = [run for run in sorted(queued, key=place) if up_to is None or place(run) <= place(up_to)]
        return [run.key for run in ahead[:limit]]

    @atomic
    def due_runs(self, until: datetime) -> list[tuple[DagRunKey, datetime]]:
        due = [(run.key, run.due_at) for run in self._runs.values() if run.due_at and run.due_at <= until]
        return sorted(due, key=lambda found: (found[1], found[0]))

    def _dated(self, dag_id: str) -> list[tuple[datetime, DagRun]]:
        """Runs that have a logical date, in its order."""
        of_dag = (run for run in self._runs.values() if run.dag_id == dag_id)
        dated = [(run.logical_date, as_stored(run)) for run in of_dag if run.logical_date is not None]
        return sorted(dated, key=lambda found: found[0])

    def _check_run(self, before: DagRun, fence: Changes | None = None) -> None:
        current = self._runs.get(before.key)
        if current is None or not holds(fence or run_fence(before), current):
            raise StaleDagRun(f"DagRun {before.run_id!r} of {before.dag_id!r} moved on", as_stored_or_none(current))

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
        """Apply the run's move to the counts of its DAG or backfill, and to the DAG's counts of ended runs."""
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

    def _count_in_backfill(self, backfill_id: int, changes: Mapping[str, int]) -> None:
        current = self._backfills.get(backfill_id)
        if current is None:
            raise NotFound(f"no backfill {backfill_id}")
        counted = {name: getattr(current, name) + change for name, change in changes.items()}
        self._backfills[backfill_id] = replace(current, **counted)
