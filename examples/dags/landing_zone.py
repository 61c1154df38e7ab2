"""Wait for the day's file in S3, then count what is in it.

The sensor is deferred while it waits: a trigger looks into the bucket, no worker does.
"""

import csv
from datetime import timedelta

import pendulum
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import DAG, task

BUCKET = "landing-zone"
KEY = "orders/{{ ds }}.csv"

with DAG(
    dag_id="landing_zone",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    is_paused_upon_creation=True,  # the bucket must exist first
    doc_md=__doc__,
    tags=["example", "aws", "sensor"],
):
    wait_for_orders = S3KeySensor(
        task_id="wait_for_orders",
        bucket_name=BUCKET,
        bucket_key=KEY,
        poke_interval=10,
        timeout=timedelta(hours=6),
        deferrable=True,
    )

    @task
    def count_orders(key: str) -> dict[str, int]:
        """Orders by customer."""
        counts: dict[str, int] = {}
        for row in csv.DictReader(S3Hook().read_key(key, BUCKET).splitlines()):
            counts[row["customer"]] = counts.get(row["customer"], 0) + 1
        return counts

    wait_for_orders >> count_orders(KEY)
