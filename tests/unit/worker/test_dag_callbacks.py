"""Callbacks of DAGs, from the file to the line that they print."""

import pytest

from gust.model.callback import CallbackState
from gust.model.state import DagRunState
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
from datetime import timedelta
from airflow.sdk import DAG, task, BaseNotifier, Variable
def say(context):
    print("said", context["dag"].dag_id, context["run_id"], context["reason"],
          context["ti"].task_id if "ti" in context else None,
          context["dag_run"].conf if "dag_run" in context else None)
"""


def test_the_success_of_a_run_calls_back_with_the_last_task_that_succeeded(whole: Whole) -> None:
    whole.upload(
        d=HEAD
        + """
with DAG("d", on_success_callback=say, on_failure_callback=lambda c: print("said wrong")):
    @task
    def first(): ...
    @task
    def last(): ...
    first() >> last()
"""
    )
    key = whole.trigger(conf={"day": "monday"})
    run = whole.work(key)

    assert run.state is DagRunState.SUCCESS
    assert whole.said("said ") == ["d r success last {'day': 'monday'}"]
    assert [c.state for c in whole.callbacks(key).values()] == [CallbackState.SUCCESS]
