"""Tasks' entries in their state store and in their assets', from the file to the end."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aws_lambda_powertools.logging import Logger

from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.supervisor import STOP_BEFORE_LIMIT
from gust.aws.memory import MemoryContainers
from gust.execution_api.app import ExecutionApi
from gust.model.asset import Asset, AssetKey
from gust.model.place import Limit, Workers
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.scheduling.transition import Transition
from gust.services.people.clear_task_instances import Clear, clear_task_instances
from gust.services.scheduler.advance import advance
from gust.services.worker.clear_task_state import OPTION
from tests.unit.worker.test_hitl import asked
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
from datetime import timedelta
from airflow.sdk import DAG, Asset, BaseOperator, task
from airflow.sdk.bases.resumablejobmixin import ResumableJobMixin
from airflow.sdk.execution_time.context import NEVER_EXPIRE
"""


def uploaded(whole: Whole, body: str) -> None:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    whole.upload(d=f"{HEAD}\nwith DAG('d'):\n{lines}\n")


KEEPS = """
@task(retries=1, retry_delay=timedelta(0))
def keep(**context):
    store = context["task_state_store"]
    print("said", store.get("seen", "nothing"), store.get("large") is None)
    store.set("seen", {"try": context["ti"].try_number})
    store.set("for ever", 1, retention=NEVER_EXPIRE)
    store.set("an hour", 1, retention=timedelta(hours=1))
    store.set("gone", 1)
    store.delete("gone")
    if context["ti"].try_number == 1:
        raise ValueError("again")
keep()
"""


def test_what_one_try_keeps_the_next_one_finds(whole: Whole) -> None:
    uploaded(whole, KEEPS)
    key = whole.trigger()
    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["nothing True", "{'try': 1} True"]

    status, kept = asked(whole, "GET", "dags/d/dagRuns/r/taskInstances/keep/state-store")
    assert status == 200
    entries = {entry["key"]: entry for entry in kept["task_state_store"]}
    assert kept["total_entries"] == len(entries) == 3
    assert entries["seen"]["value"] == {"try": 2}
    assert entries["for ever"]["expires_at"] is None
    left = {
        name: datetime.fromisoformat(entries[name]["expires_at"]) - datetime.now(tz=UTC) for name in ("seen", "an hour")
    }
    assert timedelta(days=29) < left["seen"] <= timedelta(days=30)
    assert timedelta(minutes=59) < left["an hour"] <= timedelta(hours=1)


def test_success_empties_it_where_that_is_wanted(whole: Whole) -> None:
    whole.options = {OPTION: "True"}
    uploaded(whole, KEEPS)
    key = whole.trigger()
    kept = []
    move = whole.store.move

    def watched(change: Transition) -> None:
        kept.append(len(whole.store.list_task_state(change.before.key)))
        move(change)

    whole.store.move = watched  # type: ignore[method-assign]
    assert whole.work(key).state is DagRunState.SUCCESS
    assert kept[-1] == 3
    assert whole.store.list_task_state(key.task_instance("keep")) == []


def test_a_job_is_resumed_by_what_was_kept_of_it(whole: Whole) -> None:
    uploaded(
        whole,
        """
class Job(ResumableJobMixin, BaseOperator):
    external_id_key = "job"
    def submit_job(self, context):
        print("said submitted")
        return "job-1"
    def get_job_status(self, external_id, context):
        return "RUNNING"
    def is_job_active(self, status):
        return status == "RUNNING"
    def is_job_succeeded(self, status):
        return status == "DONE"
    def poll_until_complete(self, external_id, context):
        print("said polls", external_id)
        if context["ti"].try_number == 1:
            raise RuntimeError("the worker is out of luck")
    def get_job_result(self, external_id, context):
        return external_id
    def execute(self, context):
        return self.execute_resumable(context)
Job(task_id="job", retries=1, retry_delay=timedelta(0))
""",
    )
    key = whole.trigger()
    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["submitted", "polls job-1", "polls job-1"]


def test_a_job_that_outlives_a_lambda_worker_is_resumed_in_a_container(whole: Whole) -> None:
    """The limit ends the first try; the container that follows submits no second job."""
    containers = MemoryContainers()
    whole.services = replace(whole.services, workers=Workers(has_fargate=True), containers=containers)
    whole.api = ExecutionApi(whole.services, log=Logger(service="promoted", stream=io.StringIO()))
    uploaded(
        whole,
        """
import time
class Job(ResumableJobMixin, BaseOperator):
    external_id_key = "job"
    def submit_job(self, context):
        print("said submitted")
        return "job-1"
    def get_job_status(self, external_id, context):
        return "RUNNING"
    def is_job_active(self, status):
        return status == "RUNNING"
    def is_job_succeeded(self, status):
        return status == "DONE"
    def poll_until_complete(self, external_id, context):
        print("said polls", external_id)
        if context["ti"].try_number == 1:
            time.sleep(600)
    def get_job_result(self, external_id, context):
        return external_id
    def execute(self, context):
        return self.execute_resumable(context)
Job(task_id="job", retries=1, retry_delay=timedelta(0))
""",
    )
    key = whole.trigger()
    advance(whole.services, key)
    (message,) = whole.queues.tasks
    run_try(message, whole.ports(remaining=STOP_BEFORE_LIMIT + 12))
    assert whole.instance(key, "job").outgrew is Limit.TIME

    advance(whole.services, key)
    (start,) = containers.started.values()
    assert start.workload.place.endswith("an earlier try took longer than Lambda can give.")
    run_try(start.workload, whole.ports(remaining=None))
    assert whole.state(key, "job") is S.SUCCESS
    assert whole.said("said ") == ["submitted", "polls job-1", "polls job-1"]


def test_an_assets_store_outlives_the_run(whole: Whole) -> None:
    uploaded(
        whole,
        """
orders = Asset("orders", uri="s3://bucket/orders")

@task(outlets=[orders])
def advance(**context):
    store = context["asset_state_store"][orders]
    print("said", store.get("watermark", 0))
    store.set("watermark", store.get("watermark", 0) + 1)
advance()
""",
    )
    whole.store.put_asset(Asset(name="orders", uri="s3://bucket/orders", created_at=datetime.now(tz=UTC)))
    for run_id in ("one", "two"):
        key = whole.trigger(run_id=run_id)
        assert whole.work(key).state is DagRunState.SUCCESS, whole.log.lines
    assert whole.said("said ") == ["0", "1"]
    (entry,) = whole.store.list_asset_state(AssetKey("orders", "s3://bucket/orders"))
    assert entry.value == 2
    assert entry.last_updated_by == {
        "kind": "task", "dag_id": "d", "run_id": "two", "task_id": "advance", "map_index": -1,
    }  # fmt: skip


def test_a_cleared_task_finds_what_it_kept(whole: Whole) -> None:
    uploaded(whole, KEEPS)
    key = whole.trigger()
    whole.work(key)
    clear_task_instances(whole.services, [key], Clear())
    whole.work(key)
    assert whole.state(key, "keep") is S.SUCCESS
    assert whole.said("said ")[-1] == "{'try': 2} True"
