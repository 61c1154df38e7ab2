# ruff: noqa: DTZ001 - keys name moments without a zone
"""Partition mappers, windows and wait policies give the same results as Airflow's own classes, for any key, in any zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.partition_mappers import base, window
from airflow.partition_mappers.allowed_key import AllowedKeyMapper
from airflow.partition_mappers.base import PartitionMapper, RollupMapper
from airflow.partition_mappers.chain import ChainMapper
from airflow.partition_mappers.fixed_key import FixedKeyMapper
from airflow.partition_mappers.identity import IdentityMapper
from airflow.partition_mappers.product import ProductMapper
from airflow.partition_mappers.temporal import (
    FanOutMapper,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
)
from airflow.partition_mappers.wait_policy import MinimumCount, WaitForAll
from airflow.partition_mappers.window import (
    DayWindow,
    HourWindow,
    MonthWindow,
    QuarterWindow,
    SegmentWindow,
    WeekWindow,
    Window,
    YearWindow,
)
from airflow.serialization.definitions.assets import SerializedAsset, SerializedAssetAll, SerializedAssetNameRef
from airflow.serialization.encoders import encode_partition_mapper
from airflow.timetables.base import compute_rollup_fingerprint
from airflow.timetables.simple import PartitionedAssetTimetable
from hypothesis import given, settings
from hypothesis import strategies as st

from gust.model.asset import AssetKey, PartitionEvent, PendingPartition
from gust.model.dag_spec import TimetableSpec
from gust.scheduling.partition_mapper import AssetMapper, UnknownMapper, mappers_of

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"]
FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%Y/%m/%d %H", "%Y-%m-%dT%H:%M:%S%z"]
PERIODS = [
    StartOfHourMapper, StartOfDayMapper, StartOfWeekMapper, StartOfMonthMapper, StartOfQuarterMapper, StartOfYearMapper,
]  # fmt: skip
PERIOD_OF_WINDOW = {
    HourWindow: StartOfHourMapper,
    DayWindow: StartOfDayMapper,
    WeekWindow: StartOfWeekMapper,
    MonthWindow: StartOfMonthMapper,
    QuarterWindow: StartOfQuarterMapper,
    YearWindow: StartOfYearMapper,
}

moments = st.datetimes(datetime(1995, 1, 1), datetime(2040, 1, 1)) | st.sampled_from(
    # Both changes of the clock in Berlin and New York, and midnights that Brazil did not have.
    [datetime(2024, 3, 31, 2, 30), datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 10, 2, 0), datetime(2018, 11, 4)]
)


@st.composite
def periods(draw: st.DrawFn) -> PartitionMapper:
    return draw(st.sampled_from(PERIODS))(
        timezone=draw(st.sampled_from(ZONES)), input_format=draw(st.sampled_from(FORMATS))
    )


windows = st.builds(
    lambda kind, direction: kind(direction=direction),
    st.sampled_from(sorted(PERIOD_OF_WINDOW, key=lambda kind: kind.__name__)),
    st.sampled_from(Window.Direction),
)


@st.composite
def fan_outs(draw: st.DrawFn) -> PartitionMapper:
    its_window = draw(windows)
    upstream = PERIOD_OF_WINDOW[type(its_window)](
        timezone=draw(st.sampled_from(ZONES)), input_format=draw(st.sampled_from(FORMATS))
    )
    downstream = draw(st.none() | periods() | st.just(IdentityMapper()))
    if isinstance(its_window, HourWindow) and downstream is None:
        downstream = IdentityMapper()
    return FanOutMapper(upstream_mapper=upstream, window=its_window, downstream_mapper=downstream)


@st.composite
def rollups(draw: st.DrawFn) -> RollupMapper:
    policy = draw(
        st.sampled_from([WaitForAll(), MinimumCount(2), MinimumCount(-1), MinimumCount(-100), MinimumCount(80)])
    )
    if draw(st.booleans()):
        segments = SegmentWindow(draw(st.lists(st.sampled_from("abc"), min_size=1)))
        return RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=segments, wait_policy=policy)
    its_window = draw(windows)
    upstream = PERIOD_OF_WINDOW[type(its_window)](
        timezone=draw(st.sampled_from(ZONES)), input_format=draw(st.sampled_from(FORMATS))
    )
    return RollupMapper(upstream_mapper=upstream, window=its_window, wait_policy=policy)


plain = st.sampled_from([IdentityMapper(), FixedKeyMapper("f"), AllowedKeyMapper(["a", "2024-03-31"])])
single = plain | periods()
mappers = st.one_of(
    single,
    fan_outs(),
    rollups(),
    st.builds(ChainMapper, single | fan_outs(), single),
    st.builds(ChainMapper, single, single, fan_outs()),
    st.builds(ProductMapper, single | fan_outs(), single, delimiter=st.sampled_from("|,")),
)


@st.composite
def keys(draw: st.DrawFn) -> str:
    moment = draw(moments)
    zone = UTC if draw(st.booleans()) else None
    formed = st.sampled_from(FORMATS).map((moment.replace(tzinfo=zone)).strftime)
    return draw(formed | st.sampled_from(["a", "b", "", "x|y"]) | st.tuples(formed, formed).map("|".join))


def ours(mapper: PartitionMapper) -> AssetMapper:
    return AssetMapper(encode_partition_mapper(mapper))


def outcome(of: Any) -> Any:
    """What comes of it, or that it fails: the messages are for people."""
    try:
        return of()
    except Exception as problem:
        return "refused" if not isinstance(problem, UnknownMapper) else problem


@settings(max_examples=600, deadline=None)
@given(mapper=mappers, key=keys())
def test_a_key_counts_for_the_same_keys_which_stand_for_the_same_moments(mapper: PartitionMapper, key: str) -> None:
    theirs = outcome(lambda: mapper.to_downstream(key))
    expected = [theirs] if isinstance(theirs, str) and theirs != "refused" else theirs
    mapped = outcome(lambda: ours(mapper).downstream_keys(key))
    assert mapped == expected
    for downstream_key in mapped if isinstance(mapped, list) else [key]:
        date = outcome(lambda k=downstream_key: mapper.to_partition_date(k))
        if isinstance(date, datetime):
            date = date.astimezone(UTC)  # a moment in the hour that comes twice equals none of another zone (PEP 495)
        assert outcome(lambda k=downstream_key: ours(mapper).mapper.date_of(k)) == date


@settings(max_examples=400, deadline=None)
@given(mapper=rollups(), key=keys(), data=st.data())
def test_a_rollup_waits_for_the_same_keys(mapper: RollupMapper, key: str, data: st.DataObject) -> None:
    downstream = outcome(lambda: mapper.to_downstream(key))
    expected = outcome(lambda: mapper.to_upstream(downstream))
    assert outcome(lambda: ours(mapper).mapper.expected(downstream)) == expected  # type: ignore[attr-defined]
    if expected == "refused":
        assert not ours(mapper).is_satisfied(downstream, set())
        return
    received = set(data.draw(st.lists(st.sampled_from([*sorted(expected), "surplus"])))) | (
        set(expected) if data.draw(st.booleans()) else set()
    )
    result = mapper.wait_policy.is_satisfied_by_keys(matched=received, expected=expected)
    assert ours(mapper).is_satisfied(downstream, received) == (result.satisfied and not result.unreachable)


@pytest.mark.parametrize(
    "mapper", [IdentityMapper(), StartOfDayMapper(), ChainMapper(IdentityMapper(), IdentityMapper())]
)
def test_the_same_mappers_carry_the_date_of_the_run_that_the_event_comes_from(mapper: PartitionMapper) -> None:
    date = datetime(2026, 3, 4, tzinfo=UTC)
    assert ours(mapper).carried_date(date) == mapper.carry_partition_date(date)


def test_how_many_keys_one_may_make() -> None:
    assert ours(IdentityMapper()).max_downstream_keys == 1000
    assert ours(IdentityMapper(max_downstream_keys=3)).max_downstream_keys == 3


def test_every_mapper_and_window_of_airflow_is_known() -> None:
    """One that a later Airflow brings would fail here and not in somebody's DAG."""
    known = {type(mapper) for mapper in (kind() for kind in PERIODS)} | {
        IdentityMapper, AllowedKeyMapper, FixedKeyMapper, ChainMapper, ProductMapper, FanOutMapper, RollupMapper,
    }  # fmt: skip
    brought = {kind for kind in _all_kinds(PartitionMapper) if kind.__module__.startswith(base.__package__)}
    assert {kind for kind in brought if not kind.__name__.startswith("_")} == known
    assert {kind for kind in _all_kinds(Window) if kind.__module__ == window.__name__} == {
        *PERIOD_OF_WINDOW,
        SegmentWindow,
    }


def _all_kinds(of: type) -> set[type]:
    return {kind for direct in of.__subclasses__() for kind in (direct, *_all_kinds(direct))}


# --- a timetable's mappers --------------------------------------------------------------------------------------------


def serialized(name: str, uri: str = "") -> SerializedAsset:
    return SerializedAsset(name=name, uri=uri or name, group="asset", extra={}, watchers=[])


A, B = serialized("a"), serialized("b", "s3://b")


def timetable(default: PartitionMapper | None = None, **of: PartitionMapper) -> PartitionedAssetTimetable:
    named = {"a": A, "b": B, "c": SerializedAssetNameRef("c")}
    return PartitionedAssetTimetable(
        assets=SerializedAssetAll([A, B, SerializedAssetNameRef("c")]),
        partition_mapper_config={named[name]: mapper for name, mapper in of.items()},
        default_partition_mapper=default or IdentityMapper(),
    )


def spec_of(theirs: PartitionedAssetTimetable) -> TimetableSpec:
    return TimetableSpec(
        type="airflow.timetables.simple.PartitionedAssetTimetable",
        data=theirs.serialize(),
        asset_expression=theirs.asset_condition.as_expression(),
        partitioned=True,
    )


def test_each_asset_has_the_mapper_that_airflow_gives_it() -> None:
    theirs = timetable(StartOfDayMapper(), a=StartOfHourMapper(), c=StartOfYearMapper())
    mappers = mappers_of(spec_of(theirs))
    for name, uri in (("a", "a"), ("b", "s3://b"), ("c", "anywhere"), ("unheard of", "a")):
        expected = encode_partition_mapper(theirs.get_partition_mapper(name=name, uri=uri))
        assert mappers.of_asset(AssetKey(name, uri)).encoding == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (timetable(), timetable()),
        (timetable(), timetable(StartOfDayMapper())),
        (timetable(a=StartOfDayMapper()), timetable(a=StartOfDayMapper(timezone="Europe/Berlin"))),
        (timetable(c=StartOfDayMapper()), timetable()),
        (timetable(a=IdentityMapper()), timetable()),
    ],
)
def test_a_fingerprint_changes_when_airflows_does(
    before: PartitionedAssetTimetable, after: PartitionedAssetTimetable
) -> None:
    same = compute_rollup_fingerprint(before) == compute_rollup_fingerprint(after)
    assert (mappers_of(spec_of(before)).fingerprint == mappers_of(spec_of(after)).fingerprint) == same


def partition(key: str, *received: tuple[str, str, str], date: datetime | None = None) -> PendingPartition:
    now = datetime(2026, 3, 4, tzinfo=UTC)
    events = tuple(
        PartitionEvent(name, uri, source, now + timedelta(seconds=n), str(n))
        for n, (name, uri, source) in enumerate(received)
    )
    return PendingPartition(
        dag_id="d", partition_key=key, fingerprint="f", created_at=now, received=events, partition_date=date
    )


def test_a_partition_has_the_date_that_its_mappers_agree_on() -> None:
    carried = datetime(2020, 1, 1, tzinfo=UTC)
    utc, berlin = StartOfDayMapper(), StartOfDayMapper(timezone="Europe/Berlin")
    of_a, of_b = ("a", "a", "2026-03-04T05:06:07"), ("b", "s3://b", "2026-03-04T05:06:07")
    day = datetime(2026, 3, 4, tzinfo=UTC)

    def date_of(theirs: PartitionedAssetTimetable, key: str, *received: Any) -> datetime | None:
        return mappers_of(spec_of(theirs)).date_of(partition(key, *received, date=carried))

    assert date_of(timetable(), "key", of_a, of_b) == carried, "no mapper tells"
    assert date_of(timetable(a=utc), "2026-03-04", of_a, of_b) == day, "one tells"
    assert date_of(timetable(a=utc, b=utc), "2026-03-04", of_a, of_b) == day
    assert date_of(timetable(a=utc, b=berlin), "2026-03-04", of_a, of_b) is None, "they differ"
    assert date_of(timetable(a=utc, b=berlin), "2026-03-04", of_a) == day, "the other has not come"
    assert date_of(timetable(a=utc), "no date", of_a) is None, "one fails"


def test_a_mapper_of_a_plugin_is_named_and_never_satisfied() -> None:
    mapper = AssetMapper({"__type": "plugins.mine.Mapper", "__var": {}})
    with pytest.raises(UnknownMapper, match=r"plugins\.mine\.Mapper"):
        mapper.downstream_keys("a")
    assert not mapper.is_satisfied("a", {"a"})
