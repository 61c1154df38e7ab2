"""Assets: who makes them, whom they start, and what the started run knows of the events that started it."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetAlias, AssetAll, AssetAny, Metadata, asset, task
from outcomes import FAILED, SKIPPED, ending

ORDERS = Asset("orders", uri="s3://shop/orders", group="shop", extra={"team": "sales"})
STOCK = Asset("stock", uri="s3://shop/stock")
PRICES = Asset("prices")
RETURNS = Asset("returns")
BY_ALIAS = AssetAlias("shop_files")


@task
def causes(triggering_asset_events=None):
    """What started the run, an entry for each event."""
    return sorted(
        [event.asset.name, event.asset.uri, event.extra, event.source_dag_id, event.source_task_id, event.source_run_id]
        for events in triggering_asset_events.values()
        for event in events
    )


def consumer(dag_id, schedule):
    with DAG(dag_id, schedule=schedule, start_date=datetime(2025, 1, 1), tags=["watched"]):
        causes()


consumer("on_orders", [ORDERS])
consumer("on_both", ORDERS & STOCK)
consumer("on_either", RETURNS | PRICES)
consumer("on_expression", AssetAll(STOCK, AssetAny(RETURNS, ORDERS)))
consumer("on_alias", BY_ALIAS)
consumer("on_what_never_comes", [ORDERS, RETURNS])


with DAG("makes_orders", schedule=None):

    @task(outlets=[ORDERS])
    def load(outlet_events=None):
        outlet_events[ORDERS].extra = {"rows": 3}

    @task(outlets=[STOCK])
    def count():
        yield Metadata(STOCK, {"counted": True})

    load() >> count() >> EmptyOperator(task_id="after")


with DAG("makes_nothing", schedule=None):
    # Only what ends well makes its assets.
    ending("fails", FAILED, outlets=[RETURNS])
    ending("skips", SKIPPED, outlets=[RETURNS])


with DAG("makes_by_alias", schedule=None):

    @task(outlets=[BY_ALIAS])
    def finds(outlet_events=None):
        outlet_events[BY_ALIAS].add(PRICES, extra={"found": "here"})

    finds()


@asset(uri="s3://shop/report", schedule=None)
def report():
    return "a report"


@asset(schedule=report, tags=["watched"])
def summary(report):
    return "a summary"
