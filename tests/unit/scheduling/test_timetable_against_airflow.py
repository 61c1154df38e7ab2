"""Timetables give the same results as Airflow's classes: next runs, manual intervals, run ids, in any zone and through
DST."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pendulum
import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables import interval, simple, trigger
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.timetables.base import DataInterval as AirflowInterval
from airflow.timetables.base import Timetable as AirflowTimetable
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.simple import ContinuousTimetable, NullTimetable, OnceTimetable
from airflow.timetables.trigger import (
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.utils.types import DagRunType as AirflowRunType
from dateutil.relativedelta import FR, relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from gust.model.dag_spec import TimetableSpec
from gust.model.state import DagRunType
from gust.scheduling import timetable
from gust.scheduling.timetable import DataInterval, NextRun

EXPRESSIONS = [
    "0 0 * * *",
    "0 10 * * 1-5",
    "30 2 * * *",
    "30 * * * *",
    "*/15 * * * *",
    "15,45 */2 * * *",
    "0 */6 * * *",
    "5 4 * * sun",
    "0 0 1 * *",
    "0 0 1 */3 *",
    "0 0 31 * *",
    "0 0 29 2 *",
    "0 12 13 * 5",
    "0 0 * * 5#2",
    "0 0 L * *",
    "30 1-3 * * *",
    "59 23 * * *",
    "*/10 * * * * 30",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@quarterly",
    "@yearly",
]
ZONES = [
    "UTC",
    "Asia/Kolkata",
    "Europe/Zurich",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
]
DELTAS = [
    timedelta(minutes=1),
    timedelta(minutes=7),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=3, seconds=5),
    relativedelta(days=2),
    relativedelta(hours=5, minutes=3),
    relativedelta(months=1),
    relativedelta(years=1, months=2),
]
INTERVALS = [timedelta(), timedelta(hours=1), timedelta(days=1), relativedelta(months=1), relativedelta(weekday=FR(-1))]

AROUND_CLOCK_CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
]

crons = st.builds(
    CronTriggerTimetable,
    st.sampled_from(EXPRESSIONS),
    timezone=st.sampled_from(ZONES),
    interval=st.sampled_from(INTERVALS),
    run_immediately=st.sampled_from([False, True, timedelta(minutes=20), timedelta(days=2)]),
)
partitions = st.builds(
    CronPartitionTimetable,
    st.sampled_from(EXPRESSIONS),
    timezone=st.sampled_from(ZONES),
    run_offset=st.sampled_from([None, 0, 1, -1, 3, -2]),
    run_immediately=st.sampled_from([False, True, timedelta(minutes=20)]),
    key_format=st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y%m%d", "%Y-%m-%d %H %z"]),
)
timetables = st.one_of(
    crons,
    st.builds(CronDataIntervalTimetable, st.sampled_from(EXPRESSIONS), timezone=st.sampled_from(ZONES)),
    st.builds(
        MultipleCronTriggerTimetable,
        st.sampled_from(EXPRESSIONS),
        st.sampled_from(EXPRESSIONS),
        timezone=st.sampled_from(ZONES),
        interval=st.sampled_from(INTERVALS),
        run_immediately=st.booleans(),
    ),
    partitions,
    st.builds(DeltaTriggerTimetable, st.sampled_from(DELTAS), interval=st.sampled_from(INTERVALS)),
    st.builds(DeltaDataIntervalTimetable, st.sampled_from(DELTAS)),
    st.builds(NullTimetable),
    st.builds(OnceTimetable),
    st.builds(ContinuousTimetable),
)
anywhere = st.datetimes(
    min_value=datetime(2017, 1, 1),  # noqa: DTZ001 - hypothesis wants it naive
    max_value=datetime(2028, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
near_a_clock_change = st.builds(
    lambda base, minutes: base + timedelta(minutes=minutes),
    st.sampled_from(AROUND_CLOCK_CHANGES),
    st.integers(min_value=-60 * 30, max_value=60 * 30),
)
moments = st.one_of(
    near_a_clock_change, anywhere, anywhere.map(lambda at: at.replace(minute=0, second=0, microsecond=0))
)
# Steps of months from a start date years ago are counted one by one, in Airflow and here: keep starts near.
offsets = st.one_of(
    st.none(), st.integers(min_value=-60 * 24 * 40, max_value=60 * 24 * 40).map(lambda m: timedelta(minutes=m))
)


@settings(max_examples=300, deadline=None)
@given(tested=timetables, now=moments, from_now=offsets, until=offsets, catchup=st.booleans())
def test_a_whole_series_of_runs(tested, now, from_now, until, catchup):
    """From no run at all on: each run is what Airflow makes of the one before, while time goes on."""
    earliest = None if from_now is None else now + from_now
    latest = None if until is None else now + until
    spec = spec_of(tested)
    last: NextRun | None = None
    for step in range(4):
        at = now + step * timedelta(minutes=61)
        expected = airflow_next(tested, last, earliest=earliest, latest=latest, catchup=catchup, now=at)
        actual = timetable.next_dagrun(spec, last=last, earliest=earliest, latest=latest, catchup=catchup, now=at)
        assert actual == expected
        if actual is None:
            return
        last = actual


@settings(max_examples=60, deadline=None)
@given(
    tested=timetables.filter(lambda one: not isinstance(one, ContinuousTimetable)), start=moments, days=st.floats(0, 5)
)
def test_there_are_never_fewer_runs_than_is_said_without_counting(tested, start, days):
    spec, end = spec_of(tested), start + timedelta(days=days)
    runs = timetable.runs_between(spec, start, end, now=end)
    assert timetable.fewest_between(spec, start, end) <= sum(1 for _ in runs)


@settings(max_examples=150, deadline=None)
@given(tested=timetables, run_after=moments)
def test_manual_intervals(tested, run_after):
    expected = tested.infer_manual_data_interval(run_after=pendulum.instance(run_after))
    actual = timetable.infer_manual_data_interval(spec_of(tested), run_after=run_after)
    assert (actual.start, actual.end) == (expected.start, expected.end)
    assert actual.start.utcoffset() == timedelta()


@settings(max_examples=100, deadline=None)
@given(old=crons, tested=timetables, now=moments, catchup=st.booleans())
def test_a_schedule_that_has_changed(old, tested, now, catchup):
    """The last run was another timetable's."""
    before = airflow_next(old, None, earliest=now - timedelta(days=3), catchup=True, now=now)
    expected = airflow_next(tested, before, catchup=catchup, now=now)
    actual = timetable.next_dagrun(spec_of(tested), last=before, earliest=None, latest=None, catchup=catchup, now=now)
    assert actual == expected


@pytest.mark.parametrize("restrict", [True, False])
@pytest.mark.parametrize("catchup", [True, False])
def test_listed_events(restrict, catchup):
    days = [pendulum.datetime(2026, 3, day, 9) for day in (5, 1, 20)]
    tested = EventsTimetable(days, restrict_to_events=restrict)
    spec = spec_of(tested)
    for day in range(1, 25):
        now = datetime(2026, 3, day, tzinfo=UTC)
        manual = tested.infer_manual_data_interval(run_after=pendulum.instance(now))
        assert timetable.infer_manual_data_interval(spec, run_after=now) == DataInterval(manual.start, manual.end)
        last: NextRun | None = None
        for _ in range(4):
            with mock.patch("airflow.timetables.events.timezone.utcnow", lambda now=now: now):
                expected = airflow_next(tested, last, catchup=catchup, now=now)
            actual = timetable.next_dagrun(spec, last=last, earliest=None, latest=None, catchup=catchup, now=now)
            assert actual == expected
            if actual is None:
                break
            last = actual


@pytest.mark.parametrize("offset", [19800, -3600])
def test_zones_that_are_an_offset(offset):
    tested = CronTriggerTimetable("0 10 * * *", timezone=pendulum.FixedTimezone(offset))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    actual = timetable.next_dagrun(spec_of(tested), last=None, earliest=now, latest=None, catchup=True, now=now)
    assert actual == airflow_next(tested, None, earliest=now, catchup=True, now=now)


def test_an_expression_that_never_fires_has_no_next_run():
    spec = spec_of(CronTriggerTimetable("0 0 30 2 *", timezone="UTC"))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert timetable.next_dagrun(spec, last=None, earliest=None, latest=None, catchup=True, now=now) is None


@settings(max_examples=50, deadline=None)
@given(run_type=st.sampled_from(["scheduled", "manual", "backfill"]), run_after=moments)
def test_run_ids(run_type, run_after):
    tested = CronTriggerTimetable("0 0 * * *", timezone="UTC")
    at = pendulum.instance(run_after)
    expected = tested.generate_run_id(run_type=AirflowRunType(run_type), run_after=at, data_interval=None)
    assert timetable.generate_run_id(DagRunType(run_type), run_after=run_after) == expected


def test_what_can_be_computed():
    assert timetable.can_be_computed(spec_of(CronTriggerTimetable("0 0 * * *", timezone="UTC")))
    assert timetable.can_be_computed(spec_of(CronPartitionTimetable("0 0 * * *", timezone="UTC")))
    assert not timetable.can_be_computed(TimetableSpec(type="my_plugin.Moonrise"))


# --- the oracle -------------------------------------------------------------------------------------------------------


def spec_of(tested: AirflowTimetable) -> TimetableSpec:
    encoded = json.loads(json.dumps(encode_timetable(tested)))
    return TimetableSpec(type=encoded["__type"], data=encoded["__var"])


def airflow_next(
    tested: AirflowTimetable,
    last: NextRun | None,
    *,
    earliest: datetime | None = None,
    latest: datetime | None = None,
    catchup: bool,
    now: datetime,
) -> NextRun | None:
    # As the scheduler has it: out of the serialized DAG.
    restored = decode_timetable(encode_timetable(tested))
    restriction = TimeRestriction(instance(earliest), instance(latest), catchup)
    with airflow_clock(now):
        try:
            info = restored.next_dagrun_info_v2(last_dagrun_info=last and airflow_info(last), restriction=restriction)
        except ValueError:
            # SerializedDAG.next_dagrun_info logs what goes wrong and goes on without a next run.
            return None
    return info and plain_info(info)


def airflow_info(run: NextRun) -> DagRunInfo:
    covered = run.data_interval
    return DagRunInfo(
        pendulum.instance(run.run_after),
        covered and AirflowInterval(pendulum.instance(covered.start), pendulum.instance(covered.end)),
        instance(run.partition_date),
        run.partition_key,
    )


def plain_info(info: DagRunInfo) -> NextRun:
    covered = info.data_interval
    return NextRun(
        plain(info.run_after),
        covered and DataInterval(plain(covered.start), plain(covered.end)),
        info.partition_date and plain(info.partition_date),
        info.partition_key,
    )


def airflow_clock(now: datetime) -> ExitStack:
    """Airflow's timetables read the clock themselves."""
    clock: Any = lambda: now
    stack = ExitStack()
    stack.enter_context(mock.patch.object(trigger, "utcnow", clock))
    stack.enter_context(mock.patch.object(interval, "utcnow", clock))
    stack.enter_context(mock.patch.object(simple.timezone, "utcnow", clock))
    stack.enter_context(mock.patch.object(trigger, "time", SimpleNamespace(time=now.timestamp)))
    return stack


def instance(at: datetime | None) -> pendulum.DateTime | None:
    return None if at is None else pendulum.instance(at)


def plain(at: datetime) -> datetime:
    return datetime.fromisoformat(at.isoformat()).astimezone(UTC)
