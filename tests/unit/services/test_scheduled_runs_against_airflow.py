"""Whole lists of runs: Airflow's DAG model and timetables and ours, for the same DAG as time passes.

Airflow's side is its own `DagModel.calculate_dagrun_date_fields`, `next_run_info_from_dag_model`, `generate_run_id` and
`_time_restriction`; the loop around them is its scheduler's: a run at a time while one is due and there is room.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pendulum
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun as AirflowRun
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.sdk.bases.operator import BaseOperator
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables import events as airflow_events
from airflow.utils.types import DagRunType as AirflowRunType
from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from gust.airflow_bridge.dag_spec import build_spec
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunState
from gust.scheduling.timetable import DataInterval, NextRun
from gust.services import specs
from gust.services.backfills.backfill_plan import planned_runs
from gust.services.people.pause_dag import set_paused
from gust.services.runs import create_dag_run
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.runs.load_past import last_automated_run
from gust.services.runs.next_run import with_next_run
from tests.unit.scheduling.test_timetable_against_airflow import airflow_clock, plain, plain_info
from tests.world import World

ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
CRONS = [
    "0 * * * *",
    "30 2 * * *",
    "*/20 1-3 * * *",
    "15 */6 * * *",
    "0 0 * * 1-5",
    "0 12 L * *",
    "0 9 * * 5#2",
    "@daily",
]
ENDS_OF_SUMMER_TIME = [datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 10, 31, 20, tzinfo=UTC)]
BEGINNINGS = [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 3, 7, 20, tzinfo=UTC)]
ELSEWHEN = [datetime(2026, 2, 27, 23, 30, tzinfo=UTC), datetime(2026, 6, 1, 12, 0, 1, tzinfo=UTC)]

zones, crons = st.sampled_from(ZONES), st.sampled_from(CRONS)
deltas = st.sampled_from([timedelta(hours=1), timedelta(hours=7), timedelta(days=1), relativedelta(days=1)])
lengths = st.sampled_from([timedelta(), timedelta(hours=1), timedelta(days=1)])
schedules = st.one_of(
    st.sampled_from([None, "@once", "@continuous", "@hourly", "@daily", "@weekly", "30 2 * * *", "*/20 * * * *"]),
    deltas.filter(lambda delta: isinstance(delta, timedelta)),
    st.builds(CronTriggerTimetable, crons, timezone=zones, interval=lengths),
    st.builds(CronDataIntervalTimetable, crons, timezone=zones),
    st.builds(MultipleCronTriggerTimetable, crons, crons, timezone=zones, interval=lengths),
    st.builds(DeltaTriggerTimetable, deltas, interval=lengths),
    st.builds(DeltaDataIntervalTimetable, deltas),
    st.builds(CronPartitionTimetable, crons, timezone=zones, run_offset=st.sampled_from([0, 1, -2])),
    st.builds(
        lambda cron, zone: AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(cron, timezone=zone), assets=[Asset("a")]
        ),
        crons,
        zones,
    ),
)
offsets = st.none() | st.integers(-72, 48).map(lambda hours: timedelta(hours=hours))


@dataclass
class Life:
    """A DAG, and how time goes on."""

    schedule: Any
    begins: datetime
    start: timedelta | None
    end: timedelta | None
    task_start: timedelta | None
    task_end: timedelta | None
    catchup: bool
    max_active_runs: int
    steps: list[timedelta] = field(default_factory=list)

    @property
    def catches_up(self) -> bool:
        """Airflow takes no DAG that catches up from nowhere."""
        return self.catchup and self.start is not None

    def dag(self) -> DAG:
        def at(offset: timedelta | None) -> datetime | None:
            return None if offset is None else self.begins + offset

        start = self.start
        if self.schedule == "@continuous":
            # Unless it begins in the past it makes one run and no more (docs/airflow-differences.md).
            start = -abs(self.start or timedelta()) - timedelta(hours=1)
        arguments: dict[str, Any] = {"schedule": self.schedule, "catchup": self.catches_up}
        arguments["max_active_runs"] = 1 if self.schedule == "@continuous" else self.max_active_runs
        with DAG("etl", start_date=at(start), end_date=at(self.end), **arguments) as dag:
            BaseOperator(task_id="extract", start_date=at(self.task_start), end_date=at(self.task_end))
        dag.relative_fileloc = "etl.py"
        return dag


lives = st.builds(
    Life,
    schedule=schedules,
    begins=st.builds(
        lambda base, minutes: base + timedelta(minutes=minutes),
        st.sampled_from([*ENDS_OF_SUMMER_TIME, *BEGINNINGS, *ELSEWHEN]),
        st.integers(0, 8 * 60),
    ),
    start=offsets,
    end=st.none() | st.integers(-24, 72).map(lambda hours: timedelta(hours=hours)),
    task_start=offsets,
    task_end=st.none() | st.integers(0, 48).map(lambda hours: timedelta(hours=hours)),
    catchup=st.booleans(),
    max_active_runs=st.integers(1, 20),
    steps=st.lists(st.integers(1, 900).map(lambda minutes: timedelta(minutes=minutes)), min_size=1, max_size=6),
)
often = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@often
@given(life=lives)
def test_the_list_of_runs_is_airflows(life: Life) -> None:
    theirs, ours = Airflow(life.dag()), Gust(life.dag(), life.begins)
    with clock_at(life.begins):
        theirs.parse()
    now = life.begins
    for step in life.steps:
        now += step
        with clock_at(now):
            theirs.make_due_runs(now)
        ours.world.clock.set(now)
        ours.make_due_runs()
        assert ours.runs == theirs.runs
    assert ours.next_fields() == theirs.next_fields()


@often
@given(life=lives, paused_for=st.integers(1, 40).map(lambda hours: timedelta(hours=hours)))
def test_the_list_of_runs_after_a_pause_is_airflows(life: Life, paused_for: timedelta) -> None:
    """Airflow's parser goes on computing the next run while the DAG is paused."""
    theirs, ours = Airflow(life.dag()), Gust(life.dag(), life.begins)
    with clock_at(life.begins):
        theirs.parse()
        theirs.make_due_runs(life.begins)
    ours.make_due_runs()
    set_paused(ours.world.services, "etl", True)
    now = life.begins + paused_for
    ours.world.clock.set(now)
    ours.make_due_runs()
    set_paused(ours.world.services, "etl", False)
    ours.make_due_runs()
    with clock_at(now):
        theirs.parse()
        theirs.make_due_runs(now)
    assert ours.runs == theirs.runs


@often
@given(life=lives, other=schedules)
def test_the_list_of_runs_after_a_new_schedule_is_airflows(life: Life, other: Any) -> None:
    theirs, ours = Airflow(life.dag()), Gust(life.dag(), life.begins)
    with clock_at(life.begins):
        theirs.parse()
        theirs.make_due_runs(life.begins)
    ours.make_due_runs()
    now = life.begins + life.steps[0]
    new = replace(life, schedule=other).dag()
    ours.world.clock.set(now)
    ours.replace_dag(new)
    ours.make_due_runs()
    with clock_at(now):
        theirs.replace_dag(new)
        theirs.parse()
        theirs.make_due_runs(now)
    assert ours.runs == theirs.runs


@often
@given(life=lives, hours=st.integers(0, 60), length=st.integers(0, 80), zone=st.sampled_from([0, 9, -5]))
def test_the_plan_of_a_backfill_is_airflows(life: Life, hours: int, length: int, zone: int) -> None:
    dag = life.dag()
    serialized = airflow_dag(dag)
    if not serialized.timetable.periodic:
        return
    theirs_zone = pendulum.FixedTimezone(zone * 3600)
    first = pendulum.instance(life.begins - timedelta(hours=hours)).in_timezone(theirs_zone)
    last = first + timedelta(hours=length)
    with clock_at(life.begins):
        from airflow.models.backfill import _get_info_list

        with mock.patch("airflow.models.backfill.timezone.utcnow", return_value=life.begins):
            expected = [
                plain_info(info)
                for info in _get_info_list(from_date=first, to_date=last, reverse=False, dag=serialized)
            ]
    ours = Gust(dag, life.begins)
    bounds = datetime.fromisoformat(first.isoformat()), datetime.fromisoformat(last.isoformat())
    services, stored = ours.world.services, ours.world.dag()
    assert list(planned_runs(services, stored, ours.spec, *bounds, now=life.begins)) == expected


# --- Airflow ----------------------------------------------------------------------------------------------------------

Made = tuple[Any, ...]
CHANCE = re.compile(r"__[A-Za-z0-9]{8}$")


def airflow_dag(dag: DAG) -> Any:
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def clock_at(now: datetime) -> ExitStack:
    stack = airflow_clock(now)
    stack.enter_context(mock.patch.object(airflow_events.timezone, "utcnow", return_value=now))
    return stack


class Airflow:
    def __init__(self, dag: DAG) -> None:
        self.model = DagModel(dag_id="etl")
        self.made: list[AirflowRun] = []
        self.runs: list[Made] = []
        self.replace_dag(dag)

    def replace_dag(self, dag: DAG) -> None:
        self.dag = airflow_dag(dag)

    def parse(self) -> None:
        """What the DAG processor does of a DAG that it has parsed, with the run that its queries would find."""
        partitioned = self.dag.timetable.partitioned
        candidates = [run for run in self.made if (run.partition_key is not None) == partitioned]

        def newest(run: AirflowRun) -> Any:
            return (run.partition_date, run.run_after) if partitioned else run.logical_date

        reference = max(candidates, key=newest, default=None) if self.dag.timetable.can_be_scheduled else None
        self.model.calculate_dagrun_date_fields(self.dag, reference_run=reference)

    def make_due_runs(self, now: datetime) -> None:
        """A run that exists takes up no room: the scheduler comes again a second later."""
        room = self.dag.max_active_runs
        while room:
            due = self.model.next_dagrun_create_after
            if due is None or due > now:
                return
            info = self.dag.timetable.next_run_info_from_dag_model(dag_model=self.model)
            run_id = self.dag.timetable.generate_run_id(
                run_type=AirflowRunType.SCHEDULED,
                run_after=info.run_after,
                data_interval=info.data_interval,
                partition_key=info.partition_key,
            )
            run = AirflowRun(
                dag_id="etl",
                run_id=run_id,
                logical_date=info.logical_date,
                data_interval=info.data_interval,
                run_after=info.run_after,
                run_type=AirflowRunType.SCHEDULED,
                partition_key=info.partition_key,
                partition_date=info.partition_date,
            )
            if any(other.logical_date == run.logical_date and run.logical_date is not None for other in self.made):
                [run] = [other for other in self.made if other.logical_date == run.logical_date]
            else:
                room -= 1
                self.made.append(run)
                self.runs.append((CHANCE.sub("", run_id), plain_info(info)))
            before = self.next_fields()
            self.model.calculate_dagrun_date_fields(self.dag, reference_run=run)
            if self.next_fields() == before:
                reject()  # Airflow is stuck on a run that exists, and Gust is not (docs/airflow-differences.md)

    def next_fields(self) -> list[datetime | None]:
        fields = (
            self.model.next_dagrun,
            self.model.next_dagrun_data_interval_start,
            self.model.next_dagrun_data_interval_end,
            self.model.next_dagrun_create_after,
            self.model.next_dagrun_partition_date,
        )
        return [None if moment is None else plain(moment) for moment in fields]


# --- ours -------------------------------------------------------------------------------------------------------------


class Gust:
    def __init__(self, dag: DAG, now: datetime) -> None:
        self.world = World()
        self.world.clock.set(now)
        self.spec = spec_of(dag)
        self.world.given_dag(self.spec)
        self.runs: list[Made] = []

    def replace_dag(self, dag: DAG) -> None:
        """As a deployment does it."""
        self.spec = spec_of(dag)
        before = self.world.dag()
        self.world.objects.put("specs/new.json", self.spec.model_dump_json().encode())

        specs._kept.pop("specs/new.json", None)
        last = last_automated_run(self.world.services, "etl", partitioned=self.spec.timetable.partitioned)
        after = replace(before, spec_key="specs/new.json", max_active_runs=self.spec.max_active_runs, version_number=2)
        after = with_next_run(self.world.services, after, self.spec, last=last, now=self.world.clock.now())
        self.world.store.put_dag(before, after)

    def make_due_runs(self) -> None:
        """As many as there is room for; then all of them end. Time leaps here: no parser looks at what waits meanwhile, on
        neither side."""
        with mock.patch.object(create_dag_run, "REPARSED_EVERY", timedelta(days=10_000)):
            made = create_due_runs(self.world.services, "etl")
        for run in made:
            start, end = run.data_interval_start, run.data_interval_end

            covered = DataInterval(start, end) if start and end else None
            info = NextRun(run.run_after, covered, run.partition_date, run.partition_key)
            assert run.logical_date == info.logical_date
            self.runs.append((CHANCE.sub("", run.run_id), info))
            running = replace(run, state=DagRunState.RUNNING)
            self.world.store.start_run(run, running, max_active_runs=99)
            self.world.store.finish_run(running, replace(running, state=DagRunState.SUCCESS))

    def next_fields(self) -> list[datetime | None]:
        dag = self.world.dag()
        return [
            dag.next_logical_date,
            dag.next_data_interval_start,
            dag.next_data_interval_end,
            dag.next_run_after,
            dag.next_partition_date,
        ]


def spec_of(dag: DAG) -> DagSpec:
    """As it is read from the bucket."""
    spec, _ = build_spec(json.dumps(DagSerialization.to_dict(dag)), bundle_name="dags-folder")
    return DagSpec.model_validate_json(spec.model_dump_json())
