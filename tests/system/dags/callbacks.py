"""Callbacks of tasks: which are called at what end, and what they are told. Each tells it in an XCom."""

from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

KINDS = ("execute", "success", "failure", "retry", "skipped")


def telling(kind):
    def callback(context):
        ti = context["ti"]
        told = [ti.try_number, str(context.get("exception")), context["run_id"], str(context.get("reason"))]
        ti.xcom_push(f"on_{kind}_{ti.try_number}", told)

    return callback


CALLBACKS = {f"on_{kind}_callback": telling(kind) for kind in KINDS}


with DAG("callbacks_of_tasks", schedule=None, default_args=CALLBACKS):

    @task
    def goes_well():
        return 1

    @task
    def fails():
        raise AirflowFailException("on purpose")

    @task
    def is_skipped():
        raise AirflowSkipException("not today")

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def is_retried(ti=None):
        if ti.try_number == 1:
            raise ValueError("not yet")

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def never_works():
        raise ValueError("never")

    @task(on_success_callback=[telling("first"), telling("second")])
    def has_several():
        return 2

    @task(on_success_callback=lambda context: 1 / 0)
    def has_a_broken_one():
        return 3

    goes_well()
    fails()
    is_skipped()
    is_retried()
    never_works()
    has_several()
    has_a_broken_one()
