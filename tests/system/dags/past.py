"""Tasks that look at the run before: several scheduled runs each, one after the other."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

DAYS = {
    "schedule": "@daily",
    "start_date": datetime(2025, 1, 1),
    "end_date": datetime(2025, 1, 4),
    "catchup": True,
}
"""Four runs. One that waits for a past which will never come right does not end."""


def empty(task_id, **kwargs):
    return EmptyOperator(task_id=task_id, **kwargs)


def fail_on(*days):
    def work(logical_date):
        if logical_date.day in days:
            raise AirflowFailException(f"bad day: {logical_date.day}")
        return logical_date.day

    return work


def skip_on(*days):
    def work(logical_date):
        if logical_date.day in days:
            raise AirflowSkipException(f"free day: {logical_date.day}")

    return work


with DAG("depends_on_past_and_goes_well", **DAYS):
    PythonOperator(task_id="work", python_callable=fail_on(), depends_on_past=True) >> empty("after")


with DAG("depends_on_past_that_failed", **DAYS):
    PythonOperator(task_id="work", python_callable=fail_on(2), depends_on_past=True) >> empty("after")
    empty("independent")


with DAG("depends_on_past_that_was_skipped", **DAYS):
    PythonOperator(task_id="work", python_callable=skip_on(2), depends_on_past=True) >> empty(
        "after", depends_on_past=True
    )


with DAG("past_of_some_tasks", **DAYS):
    # The run goes on without what waits: only `follows` depends on what was.
    fails = PythonOperator(task_id="fails", python_callable=fail_on(3))
    fails >> empty("follows", depends_on_past=True, trigger_rule="all_done")
    fails >> empty("does_not_care", trigger_rule="all_done")


with DAG("does_not_ignore_its_first_past", **DAYS | {"end_date": datetime(2025, 1, 2)}):
    empty("first", depends_on_past=True)
    empty("strict", depends_on_past=True, ignore_first_depends_on_past=False)


with DAG("waits_for_downstream", **DAYS):
    # `first` of a day waits until what follows from it has ended well the day before.
    first = PythonOperator(task_id="first", python_callable=fail_on(), wait_for_downstream=True)
    first >> PythonOperator(task_id="second", python_callable=skip_on(2)) >> empty("third")


with DAG("waits_for_downstream_that_failed", **DAYS | {"end_date": datetime(2025, 1, 3)}):
    first = empty("first", wait_for_downstream=True)
    first >> PythonOperator(task_id="second", python_callable=fail_on(2)) >> empty("third")


with DAG("past_before_skipping", **DAYS | {"end_date": datetime(2025, 1, 3)}):
    choose = BranchPythonOperator(
        task_id="choose", python_callable=lambda logical_date: "odd" if logical_date.day % 2 else "even"
    )
    choose >> empty("odd", depends_on_past=True, wait_for_past_depends_before_skipping=True)
    choose >> empty("even", depends_on_past=True)


with DAG("mapped_past", **DAYS | {"end_date": datetime(2025, 1, 3)}):

    @task(depends_on_past=True)
    def each(x, logical_date=None):
        if (x, logical_date.day) == (1, 2):
            raise AirflowFailException
        return x

    each.expand(x=[0, 1])


with DAG("previous_runs_in_the_context", **DAYS | {"max_active_runs": 1}):

    @task
    def look_back(ti=None, prev_data_interval_start_success=None, prev_data_interval_end_success=None, **context):
        day = context["logical_date"].day
        ti.xcom_push("day", day)
        seen = {
            "success": [str(prev_data_interval_start_success), str(prev_data_interval_end_success)],
            "pulled": ti.xcom_pull(task_ids="look_back", key="day", include_prior_dates=True),
            "previous_ti": str(ti.get_previous_ti() and ti.get_previous_ti().run_id),
            "previous_run": str(ti.get_previous_dagrun() and ti.get_previous_dagrun().run_id),
        }
        ti.xcom_push("seen", seen)
        if day == 2:
            raise AirflowFailException

    look_back()


with DAG("latest_only_and_the_past", **DAYS | {"end_date": datetime(2025, 1, 2)}):
    LatestOnlyOperator(task_id="latest_only") >> empty("recent", depends_on_past=True) >> empty("after")
