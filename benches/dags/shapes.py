"""The DAGs that are measured: no-op tasks, so that everything measured is scheduling."""

from itertools import pairwise

import pendulum
from airflow.sdk import DAG, chain, cross_downstream, task


@task
def nothing():
    pass


def dag_of(dag_id):
    return DAG(
        dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        max_active_tasks=1_000,
        tags=["bench"],
    )


with dag_of("bench_chain"):
    chain(*(nothing.override(task_id=f"task_{i:02}")() for i in range(30)))

with dag_of("bench_fan_out"):
    root = nothing.override(task_id="root")()
    root >> [nothing.override(task_id=f"task_{i:02}")() for i in range(100)]

with dag_of("bench_mesh"):
    layers = [[nothing.override(task_id=f"task_{layer}_{i}")() for i in range(8)] for layer in range(5)]
    for upper, lower in pairwise(layers):
        cross_downstream(upper, lower)

with dag_of("bench_warm_up"):
    nothing.override(task_id="first")() >> [nothing.override(task_id=f"task_{i}")() for i in range(8)]
