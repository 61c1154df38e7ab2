"""One task after the other. Tasks do nothing, so that everything measured is scheduling."""

import pendulum
from airflow.sdk import DAG, chain, task

with DAG("bench_chain", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), max_active_tasks=1_000):

    @task
    def nothing():
        pass

    chain(*(nothing.override(task_id=f"task_{i:02}")() for i in range(30)))
