"""Runs that end before their tasks would: by the first failure, or by the clock."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task, task_group
from airflow.sdk.exceptions import AirflowException
from outcomes import FAILED, SUCCESS, await_states, end, ending


def empty(task_id, **kwargs):
    return EmptyOperator(task_id=task_id, **kwargs)


def break_down(ti, once=None):
    """Fail; after the first try only once other tasks have these states."""
    if ti.try_number > 1:
        await_states(once or {})
    raise AirflowException("on purpose")


with DAG("fail_fast", schedule=None, fail_fast=True):
    done = empty("done")
    # By then the other two run, and one has not begun.
    fails = ending("fails", FAILED, once={"runs": "running", "runs_too": "running"})
    done >> [fails, ending("runs", SUCCESS, after=60), ending("runs_too", SUCCESS, after=60)]
    fails >> empty("after")


with DAG("fail_fast_with_teardown", schedule=None, fail_fast=True):
    made = empty("make").as_setup()
    removed = ending("remove", SUCCESS).as_teardown(setups=made)
    made >> ending("work", FAILED, once={"other_work": "running"}) >> empty("more") >> removed
    made >> ending("other_work", SUCCESS, after=60) >> removed


with DAG("fail_fast_after_retry", schedule=None, fail_fast=True):
    # A try that is followed by another stops nothing.
    PythonOperator(
        task_id="twice",
        python_callable=break_down,
        op_kwargs={"once": {"long": "running"}},
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
    ending("meanwhile", SUCCESS) >> ending("long", SUCCESS, after=60)


with DAG("fail_fast_in_mapped", schedule=None, fail_fast=True):

    @task_group
    def each(outcome, once):
        task(end, task_id="ended")(outcome, once=once) >> empty("then")

    # The first ends, and what follows from it, before the second fails.
    first, second = {"outcome": SUCCESS, "once": {}}, {"outcome": FAILED, "once": {"each.then_0": SUCCESS}}
    each.expand_kwargs([first, second]) >> empty("after")


with DAG("takes_too_long", schedule=None, dagrun_timeout=timedelta(seconds=45)):
    ending("quick", SUCCESS) >> ending("slow", SUCCESS, after=60) >> empty("never")
    empty("first") >> empty("second")


with DAG("waits_too_long", schedule=None, dagrun_timeout=timedelta(seconds=45)):
    PythonOperator(task_id="tries", python_callable=break_down, retries=1, retry_delay=timedelta(minutes=5))
    empty("quick")
