"""DAGs of the scene whose runs do not end."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import Label, dag, task


@dag(schedule=None)
def wait_for_time():
    TimeDeltaSensor(task_id="wait", delta=timedelta(days=2000), deferrable=True) >> EmptyOperator(task_id="after")


@dag(schedule=None, tags=["people"])
def wait_for_people():
    asked = ApprovalOperator(task_id="approve", subject="Shall we ship it?", body="All tests are green.")
    asked >> Label("yes") >> EmptyOperator(task_id="ship")


@dag(schedule=None, is_paused_upon_creation=True)
def wait_for_nothing():
    @task
    def numbers():
        return [1, 2]

    @task
    def each(number):
        return number

    each.expand(number=numbers())


wait_for_time(), wait_for_people(), wait_for_nothing()
