"""Links of operators, from the file to the API."""

from __future__ import annotations

import pytest

from gust.model.dag import DagVersion
from gust.model.state import DagRunState
from tests.unit.rest_api import contract
from tests.unit.worker.test_hitl import asked
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FILE = """
from airflow.sdk import DAG, BaseOperator, BaseOperatorLink

class Job(BaseOperatorLink):
    name = "The job"
    def get_link(self, operator, *, ti_key):
        return f"https://jobs.example/{ti_key.task_id}/{ti_key.map_index}/{ti_key.try_number}"

class Nowhere(BaseOperatorLink):
    name = "Nowhere"
    def get_link(self, operator, *, ti_key):
        return ""

class Linked(BaseOperator):
    operator_extra_links = (Job(), Nowhere())
    def __init__(self, *, number=0, **kwargs):
        super().__init__(**kwargs)
        self.number = number
    def execute(self, context):
        return self.number

with DAG("d"):
    Linked(task_id="one")
    Linked.partial(task_id="each").expand(number=[1, 2])
    BaseOperator(task_id="none")
"""


@pytest.fixture
def linked(whole: Whole) -> Whole:
    whole.upload(d=FILE)
    dag = whole.store.get_dag("d")
    assert dag is not None
    key = whole.trigger()
    version = whole.store.get_version("d", 1)
    if version is None:
        serialized = whole.serialized["d"]
        whole.store.put_version(
            DagVersion(
                dag_id="d",
                version_number=1,
                created_at=whole.clock.now(),
                bundle_name="dags-folder",
                bundle_version=dag.bundle_version,
                spec_key=dag.spec_key,
                serialized_key=serialized,
                source_key="",
            )
        )
    assert asked(whole, "GET", "dags/d/dagRuns/r/taskInstances/one/links")[1] == {
        "extra_links": {"Nowhere": None, "The job": None},
        "total_entries": 2,
    }
    assert whole.work(key).state in {DagRunState.SUCCESS, DagRunState.FAILED}
    return whole


def test_an_operators_links_are_those_its_worker_pushed(linked: Whole) -> None:
    status, links = asked(linked, "GET", "dags/d/dagRuns/r/taskInstances/one/links")
    assert status == 200
    contract.check("get_extra_links", 200, links)
    assert links == {
        "extra_links": {"Nowhere": None, "The job": "https://jobs.example/one/-1/1"},
        "total_entries": 2,
    }
    of_each = asked(linked, "GET", "dags/d/dagRuns/r/taskInstances/each/links", query="map_index=1")[1]
    assert of_each["extra_links"]["The job"] == "https://jobs.example/each/1/1"
    assert asked(linked, "GET", "dags/d/dagRuns/r/taskInstances/none/links")[1]["extra_links"] == {}


def test_what_is_not_there_has_no_links(linked: Whole) -> None:
    for path, query, detail in (
        ("one", "map_index=3", "TaskInstance not found"),
        ("two", "", "TaskInstance not found"),
        ("one", "try_number=7", "TaskInstanceHistory not found for try_number=7"),
    ):
        answer = asked(linked, "GET", f"dags/d/dagRuns/r/taskInstances/{path}/links", query=query)
        assert answer == (404, {"detail": detail})
    assert asked(linked, "GET", "dags/d/dagRuns/r/taskInstances/one/links", query="try_number=1")[0] == 200
