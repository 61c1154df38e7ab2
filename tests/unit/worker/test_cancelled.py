"""A task that an API user takes away while its message is on the queue never runs.

`tests/system/test_actions.py` has running and deferred ones, `tests/system/test_fargate.py` containers."""

from __future__ import annotations

import pytest

from gust.model.state import TaskInstanceState as S
from gust.services.people.clear_task_instances import Clear, clear_task_instances
from gust.services.people.set_state import Mark, mark_task_instances
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

DAG = """
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def t():
        print("said runs")
    t()
"""


@pytest.mark.parametrize("by", ["mark", "clear"])
def test_a_queued_task_that_is_taken_away_never_runs(whole: Whole, by: str) -> None:
    whole.upload(d=DAG)
    key = whole.trigger()
    advance(whole.services, key)
    assert whole.state(key, "t") is S.QUEUED
    if by == "mark":
        mark_task_instances(whole.services, key, Mark(tasks=[("t", -1)], state=S.FAILED))
    else:
        clear_task_instances(whole.services, [key], Clear(markers=frozenset({("t", -1)})))
    whole.run_tasks()
    assert whole.said("said ") == []
    whole.work(key)
    assert whole.said("said ") == ([] if by == "mark" else ["runs"])
