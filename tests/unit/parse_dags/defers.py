from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, task
from airflow.triggers.base import StartTriggerArgs


class StartsWaiting(EmptyOperator):
    inherits_from_empty_operator = False
    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.providers.standard.triggers.temporal.TimeDeltaTrigger",
        trigger_kwargs={"delta": timedelta(minutes=5)},
        next_method="execute_complete",
        timeout=timedelta(hours=1),
    )


with DAG("defers", schedule="@once"):
    StartsWaiting(task_id="waiting")
    TimeDeltaSensor(task_id="sensor", delta=timedelta(minutes=1))

    @task.branch
    def branch():
        return "waiting"

    branch()
