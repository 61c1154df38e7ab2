"""The DAG that the recorded answers are about. Ours."""

from datetime import datetime

from airflow.sdk import Param, dag, task


@dag(
    dag_id="etl",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - as people write it
    params={"n": Param(3, type="integer", minimum=1), "s": "x"},
    tags=["b", "a"],
    doc_md="  What it does",
    default_args={"retries": 2},
)
def etl():
    @task(pool="slow", pool_slots=2)
    def extract():
        return [1, 2]

    @task
    def transform(x):
        return x

    @task.bash
    def load():
        return "echo"

    transform.expand(x=extract()) >> load()


etl()
