"""Tasks that keep things in state stores, and XComs that people change."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import Asset, BaseOperator, dag, task
from airflow.sdk.bases.resumablejobmixin import ResumableJobMixin
from airflow.sdk.exceptions import AirflowFailException

LEDGER = Asset("keeps_ledger", uri="s3://gust/keeps/ledger")


@task
def after(ti=None):
    return ti.try_number


@dag(schedule=None)
def keeps_from_try_to_try():
    @task(retries=2, retry_delay=timedelta(seconds=1))
    def keep(task_state_store=None, ti=None):
        seen = task_state_store.get("seen", [])
        task_state_store.set("seen", [*seen, ti.try_number])
        task_state_store.set("gone", {"a": [1, None]})
        task_state_store.delete("gone")
        if ti.try_number < 3:
            raise ValueError("once more")
        return {"seen": seen, "gone": task_state_store.get("gone")}

    @task
    def elsewhere(task_state_store=None):
        return task_state_store.get("seen", "nothing")

    keep() >> elsewhere()


keeps_from_try_to_try()


@dag(schedule=None)
def keeps_for_each():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def keep(number, task_state_store=None, ti=None):
        before = task_state_store.get("number")
        task_state_store.set("number", number)
        if ti.try_number == 1:
            raise ValueError("once more")
        task_state_store.clear()
        return [before, task_state_store.get("number")]

    keep.expand(number=[10, 20])


keeps_for_each()


@dag(schedule=None)
def keeps_for_an_asset():
    @task(outlets=[LEDGER])
    def write(asset_state_store=None):
        store = asset_state_store[LEDGER]
        store.clear()
        store.set("count", 1)
        store.set("list", [1, {"a": None}])
        return store.get("count")

    @task(inlets=[LEDGER])
    def read(asset_state_store=None):
        store = asset_state_store[LEDGER]
        return [store.get("count"), store.get("list"), store.get("none", "nothing")]

    write() >> read()


keeps_for_an_asset()


class Job(ResumableJobMixin, BaseOperator):
    """Its worker is out of luck at the first try, after the job has begun."""

    def submit_job(self, context):
        return f"job of try {context['ti'].try_number}"

    def get_job_status(self, external_id, context):
        return "RUNNING" if context["ti"].try_number < 3 else "DONE"

    def is_job_active(self, status):
        return status == "RUNNING"

    def is_job_succeeded(self, status):
        return status == "DONE"

    def poll_until_complete(self, external_id, context):
        raise RuntimeError("the worker is out of luck")

    def get_job_result(self, external_id, context):
        return external_id

    def execute(self, context):
        return self.execute_resumable(context)


@dag(schedule=None)
def keeps_a_job():
    Job(task_id="job", retries=2, retry_delay=timedelta(seconds=1))


keeps_a_job()


@dag(schedule=None)
def keeps_what_a_person_stores():
    @task
    def read(task_state_store=None, ti=None):
        found = task_state_store.get("told")
        if ti.try_number == 1:
            raise AirflowFailException("nobody has told")
        return found

    read()


keeps_what_a_person_stores()


@dag(schedule=None)
def edits_what_each_pushed():
    @task
    def each(number):
        return number if number != 3 else None

    @task
    def again(number):
        return number

    @task(trigger_rule="all_done")
    def listed(numbers):
        return list(numbers)

    pushed = each.expand(number=[1, 2, 3])
    listed(again.expand(number=pushed))


edits_what_each_pushed()


@dag(schedule=None)
def edits_what_is_mapped_over():
    @task
    def numbers():
        return [1, 2, 3]

    @task
    def again(number):
        return number

    again.expand(number=numbers())


edits_what_is_mapped_over()


@dag(schedule=None)
def edits_the_branch():
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "left")
    choose >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]


edits_the_branch()
