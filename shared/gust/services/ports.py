"""What services need from the outside, as protocols. `gust.store`, `gust.aws` and their in-memory twins implement them.

Every write here is conditional and says in its docstring what it checks; every one may be repeated. Reads are strongly
consistent, but for `due_*`, `queued_runs`, `waiting_for` and which runs `list_runs` lists: those read indexes and may lag
by a moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, NamedTuple, Protocol

from gust.errors import NotSupportedYet, Unreadable
from gust.model.access import Role
from gust.model.asset import (
    Asset,
    AssetAlias,
    AssetEvent,
    AssetKey,
    AssetQueue,
    AssetReference,
    AssetUpdate,
    PendingPartition,
)
from gust.model.backfill import Backfill
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.callback import Callback
from gust.model.connection_test import ConnectionTest
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.dag_spec import TimetableSpec
from gust.model.dispatch import Dispatch
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.logged_event import LoggedEvent
from gust.model.pool import Pool
from gust.model.state import DagRunState, DagRunType
from gust.model.state_entry import StateEntry
from gust.model.task_instance import TaskInstance
from gust.model.watcher import Watcher
from gust.model.workload import (
    CallbackWorkload,
    ConnectionTestWorkload,
    TaskWorkload,
    TriggerWorkload,
    Wake,
    WatcherWorkload,
)
from gust.scheduling.callback import CallbackMove
from gust.scheduling.run_view import InstanceId
from gust.scheduling.slots import Claim
from gust.scheduling.timetable import DataInterval, NextRun, Restriction
from gust.scheduling.transition import Transition


@dataclass(frozen=True, slots=True)
class RunState:
    """A run's partition as one strongly consistent read saw it. Instances that have no item are not in it."""

    run: DagRun
    instances: Mapping[tuple[str, int], TaskInstance]
    """By (task_id, map_index)."""
    callbacks: tuple[Callback, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as a token of the public API says."""

    name: str
    role: Role | None = None
    """`None`: of DAGs they see those that give something to one of their `dag_roles`, and nothing else."""
    dag_roles: tuple[str, ...] = ()
    """Names that DAGs may give rights to, beside the role's own."""

    @property
    def names(self) -> frozenset[str]:
        """All names that a DAG's `access_control` may know them by."""
        return frozenset(self.dag_roles if self.role is None else (self.role.title, *self.dag_roles))


@dataclass(frozen=True, slots=True)
class Session:
    """What a token of a person says."""

    user: User
    issued_at: datetime
    signed_in_at: datetime
    """Earlier than it was issued, where it was given for another token."""


@dataclass(frozen=True, slots=True)
class XCom:
    key: TaskInstanceKey
    name: str
    """Airflow's XCom key."""
    value: Any
    """What the Task SDK sent: a JSON value, already serialized by Airflow's XCom backend."""
    timestamp: datetime
    mapped_length: int | None = None
    skip_decision: dict[str, Any] | None = None
    """What the scheduler must know of the value, where it says whom a branch skips."""
    dag_result: bool = False
    dispatch_count: int | None = None
    """Of the dispatch that pushed it. `None`: a person did."""


@dataclass(frozen=True, slots=True)
class LastRuns:
    """What was seen of a DAG's last runs when one of them failed, for a DAG that is paused after so many."""

    running_runs: int
    """Of the DAG, or of the run's backfill: as many must still be running when the run ends."""
    pauses: LoggedEvent | None = None
    """The DAG is paused, and this is kept of it."""


class RunSummary(NamedTuple):
    """As much of a run as who counts or sorts many of them needs."""

    key: DagRunKey
    state: DagRunState
    start_date: datetime | None
    end_date: datetime | None
    instance_states: dict[str, int]


class RunStore(Protocol):
    """DagRuns and task instances."""

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

    def delete_history(self, key: TaskInstanceKey) -> None:
        """Delete an instance's finished tries, XComs and rendered fields."""

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

    def get_instances(self, keys: Sequence[TaskInstanceKey]) -> list[TaskInstance]:
        """Those that exist, in the order of the keys."""

    def walk_runs(
        self,
        dag_id: str | None = None,
        *,
        first: datetime | None = None,
        last: datetime | None = None,
        ascending: bool = False,
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        """`run_after` and keys of a DAG's runs, or (`None`) of all runs, in order of (run_after, dag_id, run_id), newest
        first unless `ascending`; with a `run_after` between the moments, both included. They are read as far as they are
        asked for. Like `list_runs` it may lag by a moment."""

    def walk_failed_runs(
        self, *, first: datetime | None = None, last: datetime | None = None, ascending: bool = False
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        """As `walk_runs` of all DAGs, but of runs in state `failed` alone."""

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        """`run_after` and key of each DAG's newest run, by `run_after`, if it has one; `dated`: of those with a logical
        date. May lag by a moment."""

    def walk_failed_instances(
        self, *, first: datetime | None = None, ascending: bool = False
    ) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        """`end_date` and keys of all task instances in state `failed`, in that order, newest first unless `ascending`; not
        those that ended before `first`. Read as far as they are asked for; may lag by a moment."""

    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        """Runs with an earlier logical date, the latest first; `None`: all that have one. They are read as far as they
        are asked for, so that finding one near by costs the same in a long history as in a short one."""

    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        """Runs with a later logical date, the earliest first; read as far as they are asked for."""

    def runs_of_dates(self, dag_id: str, first: datetime, last: datetime) -> Iterator[DagRun]:
        """Runs with a logical date from `first` to `last`, both included, the earliest first."""

    def dates_of_runs(self, dag_id: str, first: datetime, last: datetime) -> list[tuple[datetime, DagRunKey]]:
        """Logical dates and keys of the runs of `runs_of_dates`, which need not exist any more. A fortieth of the price."""

    def runs_of_partition(self, dag_id: str, date: datetime | None) -> list[DagRun]:
        """Runs with that partition date; `None`: all that have one, the earliest first."""

    def queued_runs(self, dag_id: str, *, limit: int, backfill_id: int | None = None) -> list[DagRunKey]:
        """The DAG's runs in state queued that no backfill made, earliest `run_after` first; or those of a backfill, in
        its order."""

    def due_runs(self, until: datetime) -> list[tuple[DagRunKey, datetime]]:
        """Unfinished runs whose `due_at` is at or before `until`, earliest first, with their due times."""

    def get_instance(self, key: TaskInstanceKey) -> TaskInstance | None: ...

    def get_instance_and_run(self, key: TaskInstanceKey) -> tuple[TaskInstance | None, DagRun | None]:
        """Both in one call; each as it was at some moment of it."""

    def get_run_and_instances(
        self, key: DagRunKey, instances: Sequence[InstanceId]
    ) -> tuple[DagRun | None, dict[InstanceId, TaskInstance]]:
        """In one call, each as it was at some moment of it. Instances without an item are left out."""

    def move(self, transition: Transition) -> None:
        """Write the fields in which `after` differs from `before`, if the stored (state, try_number, dispatch_count)
        are `before`'s, or nothing is stored where `before` is new (state None, try 0).

        Where `transition.keeps_try` is set, the try that ends is kept in the history in the same transaction;
        `transition.callback` is stored in it too.
        Repeating a move that already happened is no error: where the stored item equals `after` in those three fields
        and in (hostname, pid) the call returns. The worker counts: of two that were given the same message and both
        ask to start, one is stale. Slots that the instance holds afterwards and did not before, or the other way round,
        are counted in the same transaction; whoever moves it need not have seen which. Raises StaleTaskInstance, and
        StaleHITLDetail where `transition.hitl` wants an unanswered question and it is not."""

    def grant(self, transition: Transition, *, run: tuple[DagRun, DagRun], claims: Sequence[Claim]) -> None:
        """Let an instance go that waits for slots: the move, the slots it takes of every limit it has a claim to, and its
        place in the run, `(before, after)`, of which only `admitted` is written, in one transaction. Raises
        StaleTaskInstance where the instance moved, StaleDagRun where the run does not run or others were let go since it
        was read, LimitReached where a limit has no room or a pool is not what the claim saw."""

    def waiting_for(self, limit: str) -> Iterator[tuple[str, TaskInstanceKey]]:
        """Instances that wait for the limit with their `waiting_order`, in that order; read as far as they are asked for.
        May lag by a moment."""

    def move_all(self, transitions: Sequence[Transition]) -> list[Transition]:
        """`move` each; returns those that were stale. The others are done."""

    def heartbeat(self, key: TaskInstanceKey, *, try_number: int, dispatch_count: int, at: datetime) -> None:
        """Note that the worker lives. Raises StaleTaskInstance unless the instance is running this dispatch."""

    def list_tries(self, key: TaskInstanceKey) -> list[TaskInstance]:
        """Finished tries before the current one, oldest first."""

    def tries_of_run(self, key: DagRunKey) -> dict[tuple[str, int], list[TaskInstance]]:
        """The same of all instances of the run that have any, by task id and map index, with one query."""

    def put_rendered_fields(self, key: TaskInstanceKey, fields: Mapping[str, Any], *, dispatch_count: int) -> None:
        """Store or replace. Raises StaleTaskInstance where those of a later dispatch are stored."""

    def get_rendered_fields(self, key: TaskInstanceKey) -> dict[str, Any] | None: ...

    def get_many_rendered_fields(self, keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, dict[str, Any]]:
        """Those that there are."""

    def list_rendered_fields(self, key: DagRunKey) -> dict[tuple[str, int], dict[str, Any]]:
        """Of all instances of a run that have some, by (task_id, map_index): one read instead of many."""


class CallbackStore(Protocol):
    """Callbacks that a run owes; `load_run` reads them with it."""

    def get_callback(self, run: DagRunKey, callback_id: str) -> Callback | None: ...

    def list_callbacks(self, run: DagRunKey) -> list[Callback]: ...

    def walk_deadlines(
        self,
        dag_id: str | None = None,
        *,
        first: datetime | None = None,
        last: datetime | None = None,
        ascending: bool = True,
    ) -> Iterator[Callback]:
        """Deadlines of a DAG's runs, or of all runs, in order of (due_at, dag_id, run_id, callback_id), between the moments,
        both included. Read as far as they are asked for; may lag by a moment."""

    def move_callback(self, move: CallbackMove) -> None:
        """Write the fields in which `after` differs from `before`, if the stored (state, dispatch_count, started_at,
        due_at) are `before`'s, or nothing is stored where there is no `before`. Repeating a move that already happened
        is no error; the worker counts there, so that of two that claim it one is stale. Raises StaleCallback."""


class WatcherStore(Protocol):
    """Triggers that watch for events of assets."""

    def get_watcher(self, watcher_id: str) -> Watcher | None: ...

    def list_watchers(self) -> list[Watcher]: ...

    def put_watcher(self, before: Watcher | None, after: Watcher) -> None:
        """Write it if it is as `before` says, or (`None`) new. The same again is no error. Raises StaleWatcher."""

    def delete_watcher(self, before: Watcher) -> None:
        """Raises StaleWatcher; one that is gone is no error."""

    def due_backfills_and_watchers(
        self, until: datetime
    ) -> tuple[list[tuple[int, datetime]], list[tuple[str, datetime]]]:
        """`due_backfills`, and in the same query the watchers that are to be looked after by `until`, earliest first."""
        ...


class LimitStore(Protocol):
    """Pools, and how many slots of each limit are held."""

    def get_dag_and_pools(self, dag_id: str, names: Collection[str]) -> tuple[Dag | None, dict[str, Pool]]:
        """One call. Pools that do not exist are not among them, nor is a default pool that nobody has changed."""

    def get_pools(self, names: Collection[str]) -> dict[str, Pool]: ...

    def list_pools(self) -> list[Pool]:
        """Those that exist, in the order in which they were made; the default pool only if somebody has changed it."""

    def put_pool(self, before: Pool | None, after: Pool) -> None:
        """Make a pool, or write what a person may change of it: `used` stays what it is. Deleted is made anew, and what
        is still held of it counts. Raises AlreadyExists where there is one and `before` is None, Stale where `before`
        is not what is stored."""

    def slots_used(self, limit: str) -> int: ...


class XComStore(Protocol):
    """XCom values of any size up to 50 MB; large ones go to the bucket, unseen by the caller."""

    def put_xcom(self, xcom: XCom) -> None:
        """Store or replace; raises StaleTaskInstance where a later dispatch than `xcom.dispatch_count` pushed the name. Also
        notes the name in the instance's `pushed_keys`/`xcom_lengths` where `xcom.mapped_length` is given, and
        `xcom.skip_decision` in its own; raises StaleTaskInstance then, and stores nothing, unless the instance runs this
        dispatch. Raises Invalid where the value is larger than 50 MB."""

    def create_xcom(self, xcom: XCom) -> None:
        """Store it, and note nothing. Raises AlreadyExists where there is one, Invalid where it is larger than 50 MB."""

    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        """What the scheduler must know of what a person does to an XCom: whether the name is among the instance's
        `pushed_keys`, and whom it skips; `None`: as before. Whatever state the instance is in; one without an item
        notes nothing. The scheduler looks at the run again."""

    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None: ...

    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        """In order of task_id, map_index, name."""

    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        """Delete one, or all of the instance. Deleting what is not there is no error. Raises StaleTaskInstance where
        `dispatch_count` asks for one that a later dispatch pushed."""


class HITLStore(Protocol):
    """Questions that tasks ask people. What moves an instance that awaits input writes the answer with it: `move`."""

    def put_hitl_detail(self, detail: HITLDetail, *, before: HITLDetail | None = None) -> None:
        """Store what a try asks; the same again is no error. `before` is the instance's last question: one of an earlier
        try stays in the history, one of the same try loses its answer."""

    def get_hitl_detail(self, key: TaskInstanceKey, *, until_try: int | None = None) -> HITLDetail | None:
        """The last question of the instance, or the last of its tries up to `until_try`."""

    def list_hitl_details(
        self, *, dag_id: str | None = None, run_id: str | None = None, answered: bool | None = None
    ) -> list[HITLDetail]:
        """The last question of each instance; across runs it may lag by a moment."""

    def walk_hitl_details(
        self, dag_id: str | None = None, *, answered: bool | None = None, ascending: bool = True
    ) -> Iterator[HITLDetail]:
        """As `list_hitl_details` of many runs, in order of `created_at`, read as far as they are asked for."""

    def count_hitl_details(self, dag_id: str | None = None, *, answered: bool | None = None, most: int = 1000) -> int:
        """How many `walk_hitl_details` would read, counted no further than `most`. May lag by a moment."""

    def answer_hitl_detail(
        self, key: TaskInstanceKey, try_number: int, answer: HITLAnswer, *, seen: TaskInstance
    ) -> None:
        """Store the answer, if there is none and the instance still is where it was `seen`: nothing is resumed by it.
        Raises StaleHITLDetail, StaleTaskInstance."""


class DagStore(Protocol):
    """DAGs, their versions, source files, import errors and warnings, and the active bundle."""

    def get_dag(self, dag_id: str) -> Dag | None: ...

    def get_dags(self, dag_ids: Collection[str]) -> list[Dag]:
        """Those that exist, in the order of the ids."""

    def list_dags(self) -> list[Dag]:
        """All DAGs, stale ones too, by dag_id."""

    def put_dag(self, before: Dag | None, after: Dag) -> None:
        """Write the fields in which `after` differs, but never the counts of runs; `before=None` makes it. Raises StaleDag
        where `version_number`, `is_paused`, `is_stale` or `next_run_after` are not `before`'s, unless the fields are
        as `after` wants them already."""

    def delete_dag(self, dag_id: str) -> None:
        """Delete the DAG's versions and warnings, then the DAG. Its runs are the caller's to delete first."""

    def due_dags(self, until: datetime) -> list[tuple[str, datetime]]:
        """dag_id and `next_run_after` of unpaused, fresh DAGs whose next run is due by `until`, earliest first; and of
        DAGs for which events wait that should have been looked at by then."""

    def put_version(self, version: DagVersion) -> None:
        """Store a version; the same one again is no error. Raises AlreadyExists if the number is taken by another."""

    def get_version(self, dag_id: str, version_number: int) -> DagVersion | None: ...

    def get_versions(self, numbers: Collection[tuple[str, int]]) -> dict[tuple[str, int], DagVersion]:
        """Those that exist, by DAG and number."""

    def list_versions(self, dag_id: str) -> list[DagVersion]:
        """Oldest first."""

    def list_source_files(self) -> list[SourceFile]: ...

    def put_source_file(self, file: SourceFile) -> None: ...

    def delete_source_file(self, relative_path: str) -> None: ...

    def list_import_problems(self) -> list[ImportProblem]: ...

    def put_import_problem(self, problem: ImportProblem) -> None: ...

    def delete_import_problem(self, filename: str) -> None: ...

    def list_warnings(self, dag_id: str | None = None) -> list[DagWarning]: ...

    def put_warning(self, warning: DagWarning) -> None: ...

    def delete_warnings(self, dag_id: str) -> None: ...

    def active_bundle(self) -> Bundle | None: ...

    def activate_bundle(self, bundle: Bundle, *, replacing: Bundle | None) -> None:
        """Raises Stale if the active bundle is not `replacing`."""

    def deployment_turn(self) -> DeploymentTurn | None:
        """`None`: there has never been a deployment."""

    def move_deployment_turn(self, before: DeploymentTurn | None, after: DeploymentTurn) -> None:
        """Raises Stale if the turn is not `before`."""

    def set_alive(self, component: str, at: datetime) -> None:
        """Note that `component` (scheduler, triggerer, dag_processor) did its work; `monitor/health` shows it."""

    def last_alive(self) -> dict[str, datetime]: ...


class BackfillStore(Protocol):
    """Backfills. What makes, starts and ends a run of one counts it in the same transaction."""

    def next_backfill_id(self) -> int:
        """A number that no other caller gets."""

    def create_backfill(self, backfill: Backfill, plan: Sequence[Any]) -> None:
        """Store it with its plan, a JSON document of any length. Raises AlreadyExists where the DAG has an active one, or
        the id is taken."""

    def get_backfill(self, backfill_id: int) -> Backfill | None: ...

    def backfill_plan(self, backfill_id: int) -> list[Any]: ...

    def list_backfills(self, dag_id: str) -> list[Backfill]:
        """All of a DAG, the oldest first."""

    def all_backfills(self, *, active: bool = False) -> list[Backfill]:
        """Of all DAGs, in order of their ids, which are numbers without gaps but for those of deleted DAGs; or the active
        ones alone."""

    def due_backfills(self, until: datetime) -> list[tuple[int, datetime]]:
        """Active ones whose `due_at` is at or before `until`, earliest first."""

    def update_backfill(self, before: Backfill, after: Backfill) -> None:
        """Write the fields in which `after` differs, but never the counts, if `made`, `is_paused` and `completed_at` are
        `before`'s. Raises StaleBackfill."""

    def end_backfill(self, before: Backfill, after: Backfill, *, cancels: bool = False) -> None:
        """`update_backfill`, and the DAG has no active backfill any more. Unless `cancels`, only if all its runs have
        ended. Raises StaleBackfill."""

    def add_to_backfill(
        self,
        backfill: Backfill,
        run: DagRun,
        *,
        made: int,
        before: DagRun | None = None,
        callbacks: Sequence[CallbackMove] = (),
    ) -> None:
        """Store a new run, or queue the finished run `before` again, and move `made` on, in one transaction. Raises
        StaleBackfill as `update_backfill` does, AlreadyExists as `create_run` does, StaleDagRun as `update_run` does.
        `callbacks` (deadlines) are stored with it."""

    def delete_backfills(self, dag_id: str) -> None:
        """All of the DAG with their plans, once no run of theirs is left and none is active. Again changes nothing."""


class AssetStore(Protocol):
    def put_asset(self, asset: Asset) -> None:
        """Store or replace by (name, uri); keeps `asset_id` and `created_at` of what is there."""

    def get_asset(self, *, name: str | None = None, uri: str | None = None) -> Asset | None: ...

    def list_assets(self, *, name: str | None = None, uri: str | None = None) -> list[Asset]:
        """All, those of one name, or those of one URI; in order of name and URI."""

    def put_asset_events(self, report_id: str, updates: Sequence[AssetUpdate]) -> None:
        """Store the events of one report and have them wait for the DAGs they go to: all in one transaction, or, where that
        is more than a hundred writes, in several, of which the first stores the report. The same report again changes
        nothing, but writes what was left.

        Raises StaleAssetQueue where a DAG has run for events up to the moment of one of these or a later one: they must be
        given a later moment, or would be passed over."""

    def list_asset_events(
        self,
        *,
        name: str | None = None,
        uri: str | None = None,
        alias: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
        limit: int | None = None,
    ) -> list[AssetEvent]:
        """In order of time, from `after` to `before`, both included. By `uri` alone or by nothing at all: events of
        assets that `put_asset` knows."""

    def walk_asset_events(
        self,
        asset: AssetKey | None = None,
        *,
        source_dag_id: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        ascending: bool = True,
    ) -> Iterator[AssetEvent]:
        """Of one asset, of those that a DAG's tasks sent, or all of them, in order of (timestamp, event_id), between the
        moments, both included. Read as far as they are asked for; may lag by a moment."""

    def count_asset_events(
        self,
        asset: AssetKey | None = None,
        *,
        source_dag_id: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        most: int = 1000,
    ) -> int:
        """How many `walk_asset_events` would read, counted no further than `most`."""

    def put_asset_alias(self, alias: AssetAlias) -> None: ...

    def list_asset_aliases(self) -> list[AssetAlias]:
        """By name."""

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        """Note that events of the asset come through the alias."""

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        """In order of name and URI."""

    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        """`assets_of_alias` of all aliases that have some. May lag by a moment."""


class AssetReferenceStore(Protocol):
    """Which schedules and tasks name which assets."""

    def put_asset_reference(self, reference: AssetReference) -> None:
        """Store once: `created_at` of what is there stays."""

    def delete_asset_reference(self, reference: AssetReference) -> None: ...

    def stored_references(self, references: Iterable[AssetReference]) -> list[AssetReference]:
        """Those of them that are stored, with their `created_at`."""

    def references_to_asset(self, asset: AssetKey) -> list[AssetReference]:
        """By name and URI, by name alone and by URI alone."""

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        """`references_to_asset` of each, read at once. Of many it may lag by a moment."""

    def schedules_on_asset(self, asset: AssetKey) -> list[AssetReference]:
        """Of `references_to_asset`, the schedules. Costs what there is of them."""

    def schedules_on_alias(self, alias: str) -> list[AssetReference]: ...


class AssetQueueStore(Protocol):
    """Events that wait for the DAGs whose schedules name their assets, and the runs made of them."""

    def asset_queue(self, dag_id: str) -> AssetQueue | None: ...

    def asset_queues(self, dag_ids: Collection[str]) -> list[AssetQueue]:
        """Those that there are, in the order of the ids."""

    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        """Oldest first."""

    def create_asset_run(
        self,
        run: DagRun,
        *,
        consuming: AssetQueue | PendingPartition,
        events: Sequence[AssetEvent],
        callbacks: Sequence[CallbackMove] = (),
    ) -> None:
        """Store the run with the events it consumes, and take what it consumes from the queue, in one transaction.
        Raises StaleAssetQueue where events have come since `consuming` was read, AlreadyExists as `create_run` does."""

    def settle(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        """What waits cannot make a run now; look again at `due_at`, or (`None`) when the next event comes. Where events
        have come since `seen` was read nothing happens."""

    def unqueue(
        self, dag_id: str, *, assets: Iterable[AssetKey] | None = None, before: datetime | None = None
    ) -> list[AssetKey]:
        """Forget what waits for the DAG: of these assets alone, queued before that moment alone. The events stay and
        are consumed with the next run. Returns what was forgotten."""

    def drop_partition(self, seen: PendingPartition) -> None:
        """Forget a pending partition. Raises StaleAssetQueue where events have come since it was read."""

    def delete_asset_queues(self, dag_id: str) -> None:
        """Forget all that waits for the DAG, and what it has consumed."""

    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        """What the run was made of, in order of time; nothing for runs that no asset made."""

    def consumed_events_of(self, runs: Sequence[DagRunKey]) -> dict[DagRunKey, list[AssetEvent]]:
        """`consumed_events` of those runs that have some, read at once."""

    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        """Note for each event that the run consumes it. Written before the run: who reads it checks that it exists."""

    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        """event id → runs that were to consume it."""


class StateStores(Protocol):
    """What tasks, watchers and people keep for a task instance (all its tries alike) or for an asset. Writes replace."""

    def put_task_state(self, key: TaskInstanceKey, entry: StateEntry) -> None: ...

    def get_task_state(self, key: TaskInstanceKey, name: str) -> StateEntry | None: ...

    def list_task_state(self, key: TaskInstanceKey) -> list[StateEntry]:
        """By key."""

    def delete_task_state(self, key: TaskInstanceKey, name: str) -> None:
        """Deleting what is not there is no error."""

    def clear_task_state(self, run: DagRunKey, task_id: str, map_index: int | None) -> None:
        """`None`: of all map indexes."""

    def put_asset_state(self, asset: AssetKey, entry: StateEntry) -> None: ...

    def get_asset_state(self, asset: AssetKey, name: str) -> StateEntry | None: ...

    def list_asset_state(self, asset: AssetKey) -> list[StateEntry]:
        """By key."""

    def delete_asset_state(self, asset: AssetKey, name: str) -> None: ...

    def clear_asset_state(self, asset: AssetKey) -> None: ...


class SettingStore(Protocol):
    """Variables and connections: small named JSON documents."""

    def get_setting(self, namespace: str, name: str) -> Any | None: ...

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        """Store or replace, whatever is there."""

    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        """Raises AlreadyExists."""

    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
        """Replace, if `before` is what is stored. Raises Stale."""

    def delete_setting(self, namespace: str, name: str) -> bool:
        """Whether it was there."""

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        """In order of their names."""

    def settings_by_age(self, namespace: str) -> dict[str, Any]:
        """In the order in which they were made."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that is written with something else, if `before` (`None`: nothing) is what is stored."""

    namespace: str
    name: str
    before: Any | None
    after: Any


class ConnectionTestStore(Protocol):
    """Tests of connections, for a day; of one connection one at a time."""

    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
        """Raises AlreadyExists where one of the connection has not ended, but for the test `instead_of`."""

    def get_connection_test(self, test_id: str) -> ConnectionTest | None: ...

    def active_connection_test(self, connection_id: str) -> str | None:
        """The connection's test that was not seen to end."""

    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
        """Write what `before` has become, and with it the setting. Raises Stale where either is not what was seen. Again
        changes nothing."""


class EventLogStore(Protocol):
    """Who did what, for a year."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        """Keep it and return it as it is kept: a microsecond later where another event has its moment. The very same event
        again changes nothing."""

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None: ...

    def logged_events(
        self,
        dag_id: str | None = None,
        *,
        run_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
        limit: int | None = None,
    ) -> list[LoggedEvent]:
        """In order of time, between the moments, which are not included. Those of a DAG may lag by a moment."""

    def walk_logged_events(
        self,
        dag_id: str | None = None,
        *,
        run_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
    ) -> Iterator[LoggedEvent]:
        """As `logged_events`, read as far as they are asked for."""

    def count_logged_events(
        self,
        dag_id: str | None = None,
        *,
        run_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        most: int = 1000,
    ) -> int:
        """How many `logged_events` would list, but no more than `most`. May lag by a moment."""


class Store(
    RunStore,
    BackfillStore,
    CallbackStore,
    LimitStore,
    XComStore,
    HITLStore,
    DagStore,
    AssetStore,
    AssetReferenceStore,
    AssetQueueStore,
    SettingStore,
    ConnectionTestStore,
    EventLogStore,
    StateStores,
    WatcherStore,
    Protocol,
):
    """All of the table."""


class Entry(NamedTuple):
    """One object of a list."""

    etag: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970: when it was uploaded."""


class Objects(Protocol):
    """The bucket."""

    def get(self, key: str) -> bytes:
        """Raises NotFound, or Forbidden where the reader may not know whether it is there."""

    def download(self, key: str, file: BinaryIO) -> None:
        """As `get`, of what need not fit into memory: written to `file`, chunk by chunk."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None: ...

    def put_once(self, key: str, body: bytes | BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        """For content-addressed objects: an existing one is left as it is. A file is sent whole, chunk by chunk."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> dict[str, str]:
        """Key → entity tag (a hash of the content)."""

    def entries(self, prefix: str) -> dict[str, Entry]:
        """As `list`, with sizes."""

    def delete(self, keys: Iterable[str]) -> None: ...


class Queues(Protocol):
    """SQS. Sending returns once SQS has accepted; at-least-once, unordered."""

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        """Send in batches of ten; returns those that SQS refused (they stay `scheduled` and are sent again)."""

    def has_backlog(self) -> bool:
        """Whether tasks' messages wait for a free worker; also where SQS does not say."""

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        """As `send_tasks`, to the same workers."""

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        """To the same workers. Whether SQS accepted it."""

    def send_triggers(self, workloads: Sequence[TriggerWorkload | WatcherWorkload], *, delay: float = 0) -> None: ...

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        """Have the scheduler look again after `delay` seconds (at most 900)."""

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        """`wake` each after its own delay, in batches of ten. Raises Unwell, once all were tried, where SQS refused some."""


class Deployments(Protocol):
    """The state machine deploy_bundle."""

    def start(self, name: str) -> None:
        """Start a deployment. The same name again starts nothing and is no error."""


class NoDeployments:
    """For where nobody deploys."""

    def start(self, name: str) -> None:
        raise NotSupportedYet(f"The deployment {name} cannot be started from here")


class Inventory(Protocol):
    """What the functions that have Airflow consist of. `bundle_version` names the bundle whose `plugins/` count too. Raises
    Unwell where it cannot be asked."""

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:
        """As the REST API shows them, by name."""

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:
        """Where from → why not."""

    def providers(self) -> list[dict[str, Any]]:
        """As the REST API shows them, by name."""

    def configuration(self) -> dict[str, dict[str, str]]:
        """Section → option → value, without secrets."""


class NoInventory:
    """For where no parser can be asked."""

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:  # noqa: ARG002 - the port's signature
        raise self._refusal()

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:  # noqa: ARG002
        raise self._refusal()

    def providers(self) -> list[dict[str, Any]]:
        raise self._refusal()

    def configuration(self) -> dict[str, dict[str, str]]:
        raise self._refusal()

    @staticmethod
    def _refusal() -> NotSupportedYet:
        return NotSupportedYet("What is installed cannot be asked here")


class Timetables(Protocol):
    """What timetables that plugins bring say, asked where their code may run. `bundle_version` names the bundle whose
    `plugins/` they come from. Raises BadRequest with what a timetable raised, Unwell where it cannot be asked."""

    def next_run(
        self, spec: TimetableSpec, bundle_version: str | None, *, last: NextRun | None, allowed: Restriction
    ) -> NextRun | None: ...

    def runs_between(
        self, spec: TimetableSpec, bundle_version: str | None, *, earliest: datetime, latest: datetime
    ) -> list[NextRun]: ...

    def manual_interval(
        self, spec: TimetableSpec, bundle_version: str | None, *, run_after: datetime
    ) -> DataInterval: ...

    def run_id(
        self,
        spec: TimetableSpec,
        bundle_version: str | None,
        *,
        run_type: DagRunType,
        run_after: datetime,
        data_interval: DataInterval | None,
    ) -> str: ...

    def deadline(
        self, reference: Mapping[str, Any], bundle_version: str | None, *, dag_id: str, run_id: str
    ) -> datetime | None:
        """The moment that a plugin's deadline reference says the deadline of a run refers to."""
        ...

    def partition_mapper(self, mapper: Mapping[str, Any], bundle_version: str | None, asked: Mapping[str, Any]) -> Any:
        """What a partition mapper of a plugin (or one that holds something of a plugin's) says. `asked` is one of
        `downstream_keys` (key), `carried_date` (date), `is_satisfied` (key, received) and `date_of` (key); dates are
        text."""
        ...


class NoTimetables:
    """For where no plugin's code may be asked."""

    def next_run(self, spec: TimetableSpec, *_: Any, **__: Any) -> NextRun | None:
        raise self._refusal(spec)

    def runs_between(self, spec: TimetableSpec, *_: Any, **__: Any) -> list[NextRun]:
        raise self._refusal(spec)

    def manual_interval(self, spec: TimetableSpec, *_: Any, **__: Any) -> DataInterval:
        raise self._refusal(spec)

    def run_id(self, spec: TimetableSpec, *_: Any, **__: Any) -> str:
        raise self._refusal(spec)

    @staticmethod
    def _refusal(spec: TimetableSpec) -> NotSupportedYet:
        return NotSupportedYet(f"The timetable {spec.type} comes from a plugin, and no plugin can be asked here")

    def deadline(self, reference: Mapping[str, Any], *_: Any, **__: Any) -> datetime | None:
        raise NotSupportedYet(f"{reference['__class_path']} comes from a plugin, and no plugin can be asked here")

    def partition_mapper(self, mapper: Mapping[str, Any], *_: Any) -> Any:
        raise NotSupportedYet(f"{mapper['__type']} comes from a plugin, and no plugin can be asked here")


class LogReader(Protocol):
    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Structured log lines of one try in order, and a token for what follows (`None` at the end)."""

    def where(self, instance: TaskInstance) -> list[str]:
        """How a person finds the lines without Gust, a line for each way; nothing where there are none."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""

    def sleep(self, seconds: float) -> None:
        """Return when so much time has passed."""


class Cipher(Protocol):
    """Encrypts what is kept secret in the table. Only those who answer people and workers may have one."""

    def encrypt(self, text: str) -> str: ...

    def decrypt(self, token: str) -> str:
        """Raises Unreadable where no key of the stack fits."""


class NoCipher:
    """Of those who have no key, or need none."""

    def encrypt(self, text: str) -> str:  # noqa: ARG002 - the port's signature
        raise NotSupportedYet("This function has no key to encrypt with")

    def decrypt(self, token: str) -> str:  # noqa: ARG002
        raise Unreadable("This function has no key to decrypt with")


class Tokens(Protocol):
    """Signs and checks JWTs; workers' tokens name one dispatch of one try, users' tokens a person.

    The two have different audiences: neither is accepted where the other belongs."""

    def for_dispatch(self, instance: TaskInstance, *, now: datetime) -> str:
        """`in_message`, for the worker that shall run the dispatch, or for the triggerer where the instance is deferred."""

    def for_callback(self, callback: Callback, *, now: datetime) -> str:
        """`in_message`, for the worker that shall run it: valid for one dispatch of one callback."""

    def for_connection_test(self, test_id: str, *, now: datetime) -> str:
        """For the worker that shall test the connection: it gives no access to anything else."""

    def in_message(self, dispatch: Dispatch, *, now: datetime) -> str:
        """For a message: good for starting the dispatch alone, for as long as a message may wait."""

    def for_parser(self, *, now: datetime) -> str:
        """For the parser, for one deployment: it reads variables and connections, and gives no access to anything else."""

    def renewed(self, dispatch: Dispatch, *, now: datetime) -> str:
        """A short-lived token for a dispatch that has begun."""

    def dispatch_of(self, token: str, *, now: datetime) -> Dispatch:
        """What the token speaks for. Raises Forbidden where it has expired or is not one of ours."""

    def for_user(self, user: User, *, now: datetime, lifetime: timedelta, signed_in_at: datetime | None = None) -> str:
        """A token for the public API: Airflow's audience `apache-airflow`, `sub` the name, `role` the role. It
        says since when the person is signed in: since `now` unless given."""

    def user_of(self, token: str, *, now: datetime) -> User:
        """Whom the token names. Raises Unauthorized where it has expired, Forbidden where it is not one of ours."""

    def session_of(self, token: str, *, now: datetime) -> Session:
        """Whom the token names, and since when. Raises as `user_of`."""

    def seal(self, claims: Mapping[str, str], audience: str, *, now: datetime, lifetime: timedelta) -> str:
        """What we hand out and want back unchanged, for one purpose."""

    def unseal(self, token: str, audience: str, *, now: datetime) -> dict[str, str]:
        """What was sealed. Raises Unauthorized where it has expired, Forbidden where it is not of ours."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an OpenID provider has recognised."""

    name: str
    groups: tuple[str, ...] = ()


class IdentityProvider(Protocol):
    """Where people sign in whom AWS does not know."""

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where a browser is sent to. Raises Unwell."""

    def identity(self, code: str, *, verifier: str, redirect_uri: str, nonce: str, now: datetime) -> Identity:
        """Whom the code is for, with which the browser came back. Raises Forbidden where it is not good, Unwell."""
