# ruff: noqa: DTZ001
"""DAGs that run for partitions of assets: mappers, windows and wait policies."""

from datetime import datetime

from airflow.sdk import (
    DAG,
    AllowedKeyMapper,
    Asset,
    ChainMapper,
    DayWindow,
    FanOutMapper,
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    ProductMapper,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    WeekWindow,
    asset,
    get_current_context,
    task,
)


@task
def tell():
    context = get_current_context()
    return {
        "key": context["partition_key"],
        "date": str(context["partition_date"]),
        "given": sorted(
            [event.asset.name, event.partition_key, event.extra.get("n")]
            for of_asset in context["triggering_asset_events"].values()
            for event in of_asset
        ),
    }


def listens(dag_id, assets, **mappers):
    timetable = PartitionedAssetTimetable(assets=assets, **mappers)
    with DAG(dag_id, schedule=timetable, start_date=datetime(2026, 1, 1), catchup=False):
        tell()


left, right = Asset("left"), Asset("right")
regions = Asset("regions")
hours = Asset("hours")

listens("by_identity", left)
listens("by_both", left & right)
listens("by_day", left, default_partition_mapper=StartOfDayMapper(timezone="Europe/Berlin"))
listens("by_month", left, default_partition_mapper=StartOfMonthMapper())
listens("by_quarter", left, default_partition_mapper=StartOfQuarterMapper())
listens(
    "by_two_mappers",
    left & right,
    partition_mapper_config={left: StartOfHourMapper(), right: StartOfHourMapper(input_format="%Y/%m/%d %H")},
)
listens("by_allowed", regions, default_partition_mapper=AllowedKeyMapper(["eu", "us"]))
listens(
    "by_segments",
    regions,
    default_partition_mapper=RollupMapper(upstream_mapper=FixedKeyMapper("world"), window=SegmentWindow(["eu", "us"])),
)
listens(
    "by_count",
    hours,
    default_partition_mapper=RollupMapper(
        upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%dT%H"), window=DayWindow(), wait_policy=MinimumCount(2)
    ),
)
listens(
    "by_fan_out",
    left,
    default_partition_mapper=FanOutMapper(
        upstream_mapper=StartOfWeekMapper(), window=WeekWindow(), max_downstream_keys=7
    ),
)
listens(
    "by_product",
    Asset("pairs"),
    default_partition_mapper=ProductMapper(ChainMapper(StartOfDayMapper(), IdentityMapper()), AllowedKeyMapper(["eu"])),
)
listens(
    "by_too_many",
    left,
    default_partition_mapper=FanOutMapper(
        upstream_mapper=StartOfWeekMapper(), window=WeekWindow(), max_downstream_keys=3
    ),
)

with DAG("whole", schedule=[left], start_date=datetime(2026, 1, 1)):
    tell()


@asset(schedule=PartitionedAtRuntime())
def at_runtime(self, context):
    context["outlet_events"][self].add_partitions(["p1", "p2"])


listens("by_runtime", Asset("at_runtime"))
