"""The DAG file of the rehearsal: the commonest things that DAG files say. See `gust.airflow_bridge.rehearsal`."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, chain, task, task_group

with DAG(
    "gust_rehearsal",
    schedule=None,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    params={"size": Param(3, type="integer")},
    tags=["gust"],
):

    @task
    def first(text: str) -> None:
        pass

    @task
    def then(value: object = None) -> object:
        return value

    @task_group  # type: ignore[untyped-decorator]
    def side_by_side() -> list[Any]:
        return [then.override(task_id=f"then_{i}")(i) for i in range(3)]

    chain(first("{{ run_id }}"), side_by_side(), then.expand(value=[1, 2]))
