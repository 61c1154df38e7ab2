"""Five layers of eight tasks, each waiting for all of the layer above.

Tasks do nothing, so that everything measured is scheduling.
"""

from itertools import pairwise

import pendulum
from airflow.sdk import DAG, cross_downstream, task

with DAG("bench_mesh", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), max_active_tasks=1_000):

    @task
    def nothing():
        pass

    layers = [[nothing.override(task_id=f"task_{layer}_{i}")() for i in range(8)] for layer in range(5)]
    for upper, lower in pairwise(layers):
        cross_downstream(upper, lower)
