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
    """DagRuns. Each write checks the stored run against `before` and raises StaleDagRun, with the stored run, if another
    writer has changed what the check names."""

    def load_run(self, key: DagRunKey) -> RunState | None:
        """The run, its task instances and its callbacks, from one strongly consistent query; `None` if there is no such
        run."""

    def get_run(self, key: DagRunKey) -> DagRun | None:
        """The run without its instances; `None` if there is no such run."""

    def create_run(
        self, run: DagRun, *, moving: tuple[Dag, Dag] | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        """Store a new run and its deadlines (`callbacks`) in one transaction. Raises AlreadyExists if (dag_id, run_id) is
        taken, or if the DAG has a run of the same logical date.

        `moving=(before, after)` also moves the DAG's next-run fields; raises StaleDag, whether or not the run exists, if
        those fields, `is_paused` or `is_stale` are not `before`'s. A run that is created running counts in the DAG's
        `running_runs` without a limit check; raises NotFound if there is no DAG."""

    def start_run(
        self, before: DagRun, after: DagRun, *, max_active_runs: int, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        """queued → running. In the same transaction, count the run in the `running_runs` of its backfill, or else of its
        DAG, and apply `callbacks`. Raises LimitReached if `max_active_runs` runs already run or the backfill is paused,
        StaleDagRun if the run's state, clear_number or hold are not `before`'s, NotFound if there is no DAG or backfill."""

    def finish_run(
        self, before: DagRun, after: DagRun, *, last: LastRuns | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        """running → success | failed. In the same transaction, uncount the run from its backfill or DAG and apply
        `callbacks`; if `last.pauses`, also pause the DAG and store that event. The store clears `due_at` unless the run
        `can_be_due`.

        Raises StaleDagRun if the run's state, clear_number or hold are not `before`'s (an API user may have cleared tasks
        since the decision), if runs beside this one started or ended since `last` counted them, or if a callback has
        moved."""

    def requeue_run(self, before: DagRun, after: DagRun) -> None:
        """running → queued. In the same transaction, uncount the run from its backfill or DAG. Raises StaleDagRun as
        `finish_run` does."""

    def delete_run(self, run: DagRun) -> None:
        """Delete the run with its instances, tries, XComs, rendered fields, questions, task state and large values, and free
        its logical date. The run's own item goes last, and only if its state, clear_number and hold are `run`'s: a deletion
        that died half-way can be repeated. Raises StaleDagRun. Deleting a run that is gone changes nothing."""

    def update_run(self, before: DagRun, after: DagRun) -> None:
        """Write the fields in which `after` differs. Raises StaleDagRun if the stored state, clear_number and hold are not
        `before`'s; if `after` changes `due_at` or `admitted_dispatches`, the stored value must be `before`'s as well.

        A backfill's run that ends or is queued again is counted in the same transaction, and a run that loses its partition
        date leaves `runs_of_partition`. Raises ValueError if the run would start or stop running: use `start_run`,
        `finish_run`, `requeue_run`."""

    def list_runs(self, dag_id: str, *, limit: int | None = None) -> list[DagRun]:
        """A DAG's runs, newest `run_after` first, at most `limit`. Which runs it lists may lag by a moment. Without a limit
        it reads the whole history: do not call it for every task."""

    def get_runs(self, keys: Sequence[DagRunKey]) -> list[DagRun]:
        """The runs that exist, in key order."""

    def summaries_of_runs(self, keys: Sequence[DagRunKey]) -> list[RunSummary]:
        """Summaries of the runs that exist, in key order. Same read cost as `get_runs`, faster to parse."""

    def load_runs(self, keys: Sequence[DagRunKey]) -> list[RunState]:
        """`load_run` of each run that exists, in key order."""

    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        """Runs with an earlier logical date, latest first; `None`: all runs with a logical date. Reads as far as the caller
        iterates, so the nearest run costs the same in a long history as in a short one."""

    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        """Runs with a later logical date, earliest first. Reads as far as the caller iterates."""

    def runs_of_dates(self, dag_id: str, window: Window = OLDEST_FIRST) -> Iterator[DagRun]:
        """Runs whose logical date lies in the window, in its order. Reads as far as the caller iterates."""

    def dates_of_runs(self, dag_id: str, window: Window = OLDEST_FIRST) -> list[tuple[datetime, DagRunKey]]:
        """Logical date and key of each run of `runs_of_dates`, at a fortieth of the read cost. A run may have been deleted
        since."""

    def runs_of_partition(self, dag_id: str, date: datetime | None) -> list[DagRun]:
        """The DAG's runs of this partition date; `None`: all runs with a partition date. Earliest first."""

    def queued_runs(
        self, dag_id: str, *, limit: int, backfill_id: int | None = None, up_to: DagRun | None = None
    ) -> list[DagRunKey]:
        """Keys of the DAG's queued runs that no backfill created, earliest `run_after` first; or those of the backfill, in
        its order. At most `limit`, and none behind the queued run `up_to`. May lag by a moment."""

    def due_runs(self, until: datetime) -> list[tuple[DagRunKey, datetime]]:
        """Keys and due times of unfinished runs whose `due_at` is at or before `until`, earliest first. May lag by a
        moment."""
