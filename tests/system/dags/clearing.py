"""What people do to runs and tasks: clear, mark, and clear again. The requests are in tests/oracle/features.py."""

import time
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, dag, task, task_group
from airflow.sdk.exceptions import AirflowFailException


def empty(task_id, **kwargs):
    return EmptyOperator(task_id=task_id, **kwargs)


@task
def fails_first(ti=None):
    if ti.try_number == 1:
        raise AirflowFailException("the first time")
    return ti.try_number


@task
def tried(ti=None):
    return ti.try_number


@task
def sleeps_first(ti=None):
    if ti.try_number == 1:
        time.sleep(60)
    return ti.try_number


@dag(schedule=None)
def clear_what_failed():
    before = tried.override(task_id="before")()
    before >> fails_first() >> tried.override(task_id="after")() >> empty("last")
    before >> tried.override(task_id="aside")()


clear_what_failed()


@dag(schedule=None)
def clear_with_relatives():
    tried.override(task_id="first")() >> tried.override(task_id="second")() >> tried.override(task_id="third")()
    tried.override(task_id="aside")()


clear_with_relatives()


@dag(schedule=None)
def clear_with_retries_left():
    @task(retries=2, retry_delay=timedelta(seconds=1))
    def fails_thrice(ti=None):
        if ti.try_number <= 3:
            raise ValueError(ti.try_number)
        if ti.try_number <= 5:
            raise ValueError("again")
        return ti.try_number

    fails_thrice()


clear_with_retries_left()


@dag(schedule=None)
def clear_one_mapped():
    @task
    def each(number, ti=None):
        return [number, ti.try_number]

    @task
    def together(values):
        return list(values)

    together(each.expand(number=[10, 20, 30]))


clear_one_mapped()


def clear_length(first, then):
    @task
    def numbers(ti=None):
        return list(range(first if ti.try_number == 1 else then))

    @task
    def double(number, ti=None):
        return [number * 2, ti.try_number]

    @task
    def together(values):
        return list(values or [])

    @task_group
    def group(number):
        double.override(task_id="in_group")(number) >> empty("end")

    some = numbers()
    together(double.expand(number=some))
    group.expand(number=some) >> empty("after", trigger_rule="none_failed")


for first, then in ((2, 4), (3, 1), (2, 0)):
    with DAG(f"clear_length_{first}_to_{then}", schedule=None):
        clear_length(first, then)


with DAG("clear_what_was_skipped", schedule=None):
    # A cleared task is skipped again where its branch still says so.
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "left")
    choose >> [empty("left"), empty("right")] >> empty("join", trigger_rule="none_failed_min_one_success")
    stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False)
    stop >> empty("stopped") >> empty("stopped_too")


with DAG("clear_the_branch", schedule=None):
    choose = BranchPythonOperator(
        task_id="choose", python_callable=lambda ti: "left" if ti.try_number == 1 else "right"
    )
    choose >> [empty("left"), empty("right")] >> empty("join", trigger_rule="none_failed_min_one_success")


@dag(schedule=None)
def clear_while_running():
    tried.override(task_id="done")()
    sleeps_first() >> empty("after")


clear_while_running()


@dag(schedule=None)
def clear_the_run():
    tried.override(task_id="well")() >> fails_first() >> empty("after")


clear_the_run()


@dag(schedule=None)
def clear_what_failed_in_the_run():
    tried.override(task_id="well")() >> fails_first() >> empty("after")
    empty("beside")


clear_what_failed_in_the_run()


@dag(schedule=None)
def clear_setup_and_teardown():
    made = empty("make").as_setup()
    made >> fails_first() >> tried.override(task_id="remove")().as_teardown(setups=made)


clear_setup_and_teardown()


@dag(schedule=None)
def mark_failed_as_success():
    fails_first() >> empty("after") >> empty("last")


mark_failed_as_success()


@dag(schedule=None)
def mark_success_as_failed():
    tried() >> empty("after") >> empty("last")


mark_success_as_failed()


@dag(schedule=None)
def mark_with_downstream():
    fails_first() >> empty("after") >> empty("last")


mark_with_downstream()


@dag(schedule=None)
def mark_running_as_success():
    sleeps_first() >> empty("after")


mark_running_as_success()


@dag(schedule=None)
def mark_running_as_failed():
    sleeps_first() >> empty("after")


mark_running_as_failed()


@dag(schedule=None)
def mark_one_mapped():
    @task
    def each(number):
        if number == 1:
            raise AirflowFailException

    each.expand(number=[0, 1, 2]) >> empty("after")


mark_one_mapped()


for state in ("success", "failed"):

    @dag(dag_id=f"mark_run_as_{state}", schedule=None)
    def mark_run():
        tried.override(task_id="done")() >> sleeps_first() >> empty("after")

    mark_run()
