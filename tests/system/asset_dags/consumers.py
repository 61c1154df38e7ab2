# ruff: noqa: DTZ001
"""Asset-triggered DAGs. Each pushes its own run, and the events that the run consumed."""

from datetime import datetime, timedelta

from airflow.sdk import (
    DAG,
    Asset,
    AssetAlias,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    get_current_context,
    task,
)


@task
def tell():
    context = get_current_context()
    events = context["triggering_asset_events"]
    return {
        "given": sorted(
            [asset.name, event.source_dag_run.dag_id if event.source_dag_run else None, event.extra.get("n")]
            for asset, of_asset in events.items()
            for event in of_asset
        ),
        "has_logical_date": context.get("logical_date") is not None,
        "has_interval": context["dag_run"].data_interval_start is not None,
    }


def listens(dag_id, schedule, **fields):
    with DAG(dag_id, schedule=schedule, start_date=datetime(2026, 1, 1), catchup=False, **fields):
        tell()


one, other, third = Asset("one"), Asset("other", uri="s3://lake/other"), Asset("third", group="tables")

listens("on_one", [one])
listens("on_both", [one, other])
listens("on_either", one | other)
listens("on_mixed", (one | other) & third)
listens("on_name", Asset.ref(name="other"))
listens("on_uri", Asset.ref(uri="s3://lake/other"))

listens("on_alias", AssetAlias("alias"))
listens("on_alias_and_asset", AssetAlias("alias") & third)

held = Asset("held")
with DAG("one_at_a_time", schedule=[held], start_date=datetime(2026, 1, 1), max_active_runs=1):

    @task.bash
    def take_time():
        return "sleep 8"

    tell() >> take_time()

listens("on_pause", [Asset("missed")])

listens(
    "on_assets_or_time",
    AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 0 29 2 *", timezone="UTC"), assets=[Asset("or_time")]),
)

listens("catching_up", [Asset("late")], is_paused_upon_creation=True)

listens("after_the_decorator", [Asset("decorated")])
listens("after_one_of_many", [Asset("many_first")], default_args={"retries": 0, "retry_delay": timedelta(seconds=1)})
