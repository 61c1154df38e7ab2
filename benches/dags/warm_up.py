"""A first run, to have everything loaded and cached. Tasks do nothing, so that everything measured is scheduling."""

import pendulum
from airflow.sdk import DAG, task

with DAG("bench_warm_up", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), max_active_tasks=1_000):

    @task
    def nothing():
        pass

    nothing.override(task_id="first")() >> [nothing.override(task_id=f"task_{i}")() for i in range(8)]
