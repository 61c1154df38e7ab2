"""DagRuns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.run_state import LastRuns, RunState, RunSummary
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling.callback import CallbackMove


class RunStore(Protocol):
    """DagRuns."""

    def load_run(self, key: DagRunKey) -> RunState | None: ...

    def get_run(self, key: DagRunKey) -> DagRun | None: ...

    def create_run(
        self, run: DagRun, *, moving: tuple[Dag, Dag] | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        """Store a new run. Raises AlreadyExists if (dag_id, run_id) is taken or, for a run with a logical date, if the
        DAG has a run of that logical date.

        `moving=(before, after)` moves the DAG's next-run fields in the same transaction, if they, `is_paused` and
        `is_stale` still are `before`'s; raises StaleDag otherwise, also where the run exists. A run that is made
        running is counted in `running_runs`, whatever the limit; raises NotFound without its DAG. `callbacks` (deadlines)
        are stored with it."""

    def start_run(
        self, before: DagRun, after: DagRun, *, max_active_runs: int, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        """queued → running, and one more in the `running_runs` of the DAG, or of the backfill that made the run, in one
        transaction. Raises LimitReached where `max_active_runs` run already or the backfill is paused, StaleDagRun if the
        run's state or clear_number are not `before`'s, NotFound if there is no DAG or backfill."""

    def finish_run(
        self, before: DagRun, after: DagRun, *, last: LastRuns | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        """running → success | failed, and one less in the counts of the DAG or the backfill, in one transaction.
        Raises StaleDagRun if the run's state or clear_number are not `before`'s: a finish that was decided before a
        person cleared tasks must not bury them; or if other runs ended or started since `last` counted them. A finished
        run has no `due_at`, whatever `after` says, unless it `can_be_due`. Where `last` says so, the DAG is paused and the
        event kept. `callbacks` move in the same transaction; raises StaleDagRun too where one of them has moved."""

    def requeue_run(self, before: DagRun, after: DagRun) -> None:
        """running → queued, and one less in the DAG's `running_runs`, in one transaction. Raises as `finish_run`."""

    def delete_run(self, run: DagRun) -> None:
        """Delete the run and everything that lies with it: instances, tries, XComs, rendered fields, large values, the
        mark on its logical date. The run itself goes last, if its state, clear_number and hold are still `run`'s: what
        died half-way is there to be deleted again. Raises StaleDagRun; one that is gone is no error."""

    def update_run(self, before: DagRun, after: DagRun) -> None:
        """Write the fields in which `after` differs, if the stored state, clear_number and hold are `before`'s, and, where
        `due_at` differs, the stored `due_at` too. A backfill's run that ends, or is queued again, is counted in the same
        transaction, and one that loses its partition date is not found by it any more. Raises StaleDagRun; ValueError
        where the run would begin or cease to be running, which has verbs of its own."""

    def list_runs(self, dag_id: str, *, limit: int | None = None) -> list[DagRun]:
        """Runs of a DAG, newest `run_after` first: all of them, or the first `limit`. All of them may be years of runs:
        not for what happens with every task."""

    def get_runs(self, keys: Sequence[DagRunKey]) -> list[DagRun]:
        """Those that exist, in the order of the keys."""

    def summaries_of_runs(self, keys: Sequence[DagRunKey]) -> list[RunSummary]:
        """Of those that exist, in the order of the keys. As dear to read as the runs, but quicker."""

    def load_runs(self, keys: Sequence[DagRunKey]) -> list[RunState]:
        """Those that exist, in the order of the keys."""

    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        """Runs with an earlier logical date, the latest first; `None`: all that have one. They are read as far as they
        are asked for, so that finding one near by costs the same in a long history as in a short one."""

    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        """Runs with a later logical date, the earliest first; read as far as they are asked for."""

    def runs_of_dates(self, dag_id: str, window: Window = OLDEST_FIRST) -> Iterator[DagRun]:
        """Runs with a logical date from `first` to `last`, both included, the earliest first."""

    def dates_of_runs(self, dag_id: str, window: Window = OLDEST_FIRST) -> list[tuple[datetime, DagRunKey]]:
        """Logical dates and keys of the runs of `runs_of_dates`, which need not exist any more. A fortieth of the price."""

    def runs_of_partition(self, dag_id: str, date: datetime | None) -> list[DagRun]:
        """Runs with that partition date; `None`: all that have one, the earliest first."""

    def queued_runs(self, dag_id: str, *, limit: int, backfill_id: int | None = None) -> list[DagRunKey]:
        """The DAG's runs in state queued that no backfill made, earliest `run_after` first; or those of a backfill, in
        its order."""

    def due_runs(self, until: datetime) -> list[tuple[DagRunKey, datetime]]:
        """Unfinished runs whose `due_at` is at or before `until`, earliest first, with their due times."""
