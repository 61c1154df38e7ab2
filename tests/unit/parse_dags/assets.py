"""DAGs that wait for assets."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable

orders, prices = Asset("orders", "s3://lake/orders", extra={"team": "sales"}), Asset("prices")

with DAG("waits_for_both", schedule=[orders, prices]):
    EmptyOperator(task_id="go")

with DAG("waits_for_either", schedule=orders | prices):
    EmptyOperator(task_id="go")

with DAG(
    "waits_or_nightly",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 0 * * *", timezone="Europe/Paris"), assets=orders),
):
    EmptyOperator(task_id="go")
