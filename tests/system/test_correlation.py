"""One id leads from a request to the log lines of every function that works on its run."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
import pytest

from tests.system.local_gust import PATIENCE, LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DAGS: Final = """
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.sdk import DAG, task

    with DAG("correlated"):
        TriggerDagRunOperator(task_id="triggers", trigger_dag_id="correlated_child", trigger_run_id="child")

    with DAG("correlated_child"):

        @task
        def works(): ...

        works()
"""

ID: Final = "order-4711"


def lines_of(gust: LocalGust, function: str) -> list[dict[str, Any]]:
    text = (gust.stack.logs / f"gust-{function}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"level"')]


def await_lines(gust: LocalGust, function: str, number: int, **wanted: str) -> list[dict[str, Any]]:
    """The function's lines with these values, once there are so many: its output is written when an invocation has ended."""

    def look() -> list[dict[str, Any]] | None:
        found = [line for line in lines_of(gust, function) if wanted.items() <= line.items()]
        return found if len(found) >= number else None

    return gust._await(look, PATIENCE, lambda: f"no {number} lines of {function} with {wanted}")


def test_an_id_given_to_the_api_is_in_the_lines_of_every_function_to_the_childs_worker(gust: LocalGust) -> None:
    gust.upload("correlated.py", DAGS)
    gust.await_dag("correlated")
    answer = httpx.post(
        f"{gust.url}/api/v2/dags/correlated/dagRuns",
        json={"logical_date": None, "dag_run_id": "asked"},
        headers={"X-Request-ID": ID},
    )
    assert answer.headers["x-request-id"] == ID
    gust.await_state("correlated", "asked", "success")
    gust.await_state("correlated_child", "child", "success")

    (asked,) = await_lines(gust, "api", 1, correlation_id=ID)
    assert (asked["method"], asked["dag_id"], asked["status"]) == ("POST", "correlated", 200)
    runs = {("correlated", "asked"), ("correlated_child", "child")}
    decided = await_lines(gust, "scheduler", 4, correlation_id=ID)
    assert {(line["dag_id"], line["run_id"], line["message"]) for line in decided} == {
        (*run, message) for run in runs for message in ("DagRun started", "DagRun finished")
    }
    ran = await_lines(gust, "worker", 2, correlation_id=ID, message="ran")
    assert {
        (line["dag_id"], line["run_id"], line["task_id"], line["map_index"], line["try_number"]) for line in ran
    } == {("correlated", "asked", "triggers", -1, 1), ("correlated_child", "child", "works", -1, 1)}
    asked_by_workers = await_lines(gust, "execution-api", 4, correlation_id=ID)
    assert {line["task_id"] for line in asked_by_workers} == {"triggers", "works"}


def test_a_run_that_no_request_asked_for_has_an_id_of_the_scheduler(gust: LocalGust) -> None:
    gust.upload(
        "correlated_once.py",
        """
        from airflow.sdk import DAG, task

        with DAG("correlated_once", schedule="@once"):

            @task
            def works(): ...

            works()
        """,
    )
    gust.await_dag("correlated_once")
    (run,) = gust.await_runs("correlated_once", 1, run_type="scheduled")
    gust.await_state("correlated_once", run["dag_run_id"], "success")
    (ran,) = await_lines(gust, "worker", 1, dag_id="correlated_once", message="ran")
    decided = await_lines(gust, "scheduler", 2, correlation_id=ran["correlation_id"])
    assert {line["run_id"] for line in decided} == {run["dag_run_id"]}
