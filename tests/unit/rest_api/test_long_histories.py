"""Lists of histories too long to be read whole, held against the same lists read whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from gust.model.dag_run import DagRun
from gust.model.state import DagRunState, TaskInstanceState
from tests.unit.rest_api.conftest import NOW, Api, World

RUNS = 130
STATES = (DagRunState.SUCCESS, DagRunState.SUCCESS, DagRunState.FAILED)


def given_runs(world: World, count: int) -> list[DagRun]:
    """Two DAGs', three at each moment, days apart; oldest first as lists have them."""
    dags = [world.dag("etl"), world.dag("dwh")]
    runs = [
        world.run(
            dags[n % 2],
            f"run_{n:03d}",
            state=DagRunState.RUNNING if n == count - 1 else STATES[n % 3],
            run_after=NOW - timedelta(hours=9 * (count - n) // 3),
        )
        for n in range(count)
    ]
    return sorted(runs, key=lambda run: (run.run_after, run.dag_id, run.run_id))


def pages(api: Api, operation: str, url: str, rows: str, *, cursor: str = "") -> Iterator[dict[str, Any]]:
    """Forward from the cursor to the last page."""
    token: str | None = cursor
    while token is not None:
        found = api.ok(operation, "GET", f"{url}&cursor={token}")
        yield found
        assert len(found[rows]) <= 50
        token = found["next_cursor"]


def ids(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(run["dag_id"], run["dag_run_id"]) for run in found["dag_runs"]]


@pytest.fixture
def runs(world: World) -> list[DagRun]:
    return given_runs(world, RUNS)


@pytest.mark.parametrize("order", ["-run_after", "run_after", "id", "-id"])
@pytest.mark.parametrize(
    ("query", "states"),
    [("", set(DagRunState)), ("&state=failed", {DagRunState.FAILED}), ("&state=success", {DagRunState.SUCCESS})],
)
def test_runs_are_read_forward_and_back_by_cursor(
    runs: list[DagRun], api: Api, order: str, query: str, states: set[DagRunState]
) -> None:
    expected = [(r.dag_id, r.run_id) for r in runs if r.state in states]
    if order.startswith("-"):
        expected.reverse()
    url = f"/api/v2/dags/~/dagRuns?order_by={order}&limit=20{query}"
    forward = list(pages(api, "get_dag_runs", url, "dag_runs"))
    assert [run for found in forward for run in ids(found)] == expected
    back = api.ok("get_dag_runs", "GET", f"{url}&cursor={forward[-1]['previous_cursor']}")
    assert ids(back) == ids(forward[-2])
    assert back["next_cursor"] == forward[-2]["next_cursor"]
    first = api.ok("get_dag_runs", "GET", f"{url}&cursor={forward[1]['previous_cursor']}")
    assert (ids(first), first["previous_cursor"]) == (ids(forward[0]), None)


def test_runs_are_read_by_offset_with_exact_totals(runs: list[DagRun], api: Api) -> None:
    newest = [(r.dag_id, r.run_id) for r in reversed(runs)]
    found = api.ok("get_dag_runs", "GET", "/api/v2/dags/~/dagRuns?order_by=-run_after&limit=10&offset=45")
    assert (ids(found), found["total_entries"], found["total_entries_limit"]) == (newest[45:55], RUNS, None)
    failed = [(r.dag_id, r.run_id) for r in reversed(runs) if r.state is DagRunState.FAILED]
    url = "/api/v2/dags/~/dagRuns?order_by=-run_after&state=failed&limit=10&offset=5"
    found = api.ok("get_dag_runs", "GET", url)
    assert (ids(found), found["total_entries"]) == (failed[5:15], len(failed))


def test_what_is_filtered_otherwise_is_counted_as_far_as_it_was_read(runs: list[DagRun], api: Api) -> None:
    found = api.ok("get_dag_runs", "GET", "/api/v2/dags/~/dagRuns?order_by=-run_after&dag_version=1&limit=10")
    assert len(found["dag_runs"]) == 10
    assert (found["total_entries"], found["total_entries_limit"]) == (11, 11)
    last = api.ok("get_dag_runs", "GET", "/api/v2/dags/~/dagRuns?order_by=-run_after&run_id_pattern=run_00%25&limit=10")
    assert (len(last["dag_runs"]), last["total_entries"], last["total_entries_limit"]) == (10, 10, None)


def test_unfinished_runs_are_found_wherever_they_are(runs: list[DagRun], api: Api) -> None:
    found = api.ok("get_dag_runs", "GET", "/api/v2/dags/~/dagRuns?state=running&state=queued")
    assert ([run_id for _, run_id in ids(found)], found["total_entries"]) == ([f"run_{RUNS - 1:03d}"], 1)


def test_bounds_of_run_after_end_the_walk(runs: list[DagRun], api: Api) -> None:
    first = runs[10].run_after
    url = "/api/v2/dags/~/dagRuns?order_by=run_after&limit=100"
    found = api.ok("get_dag_runs", "GET", url, run_after_gt=first.isoformat())
    assert ids(found)[0] == next((r.dag_id, r.run_id) for r in runs if r.run_after > first)


def test_a_cursor_of_another_order_is_refused(runs: list[DagRun], api: Api) -> None:
    url = "/api/v2/dags/~/dagRuns?limit=5&order_by="
    cursor = api.ok("get_dag_runs", "GET", f"{url}-run_after&cursor=")["next_cursor"]
    assert api("GET", f"{url}run_after&cursor=no").status == 400
    assert api("GET", f"{url}state&order_by=run_after&cursor={cursor}").status == 400


# --- task instances ---------------------------------------------------------------------------------------------------


@pytest.fixture
def instances(world: World) -> list[tuple[str, str, int]]:
    """Of forty runs; (run, task, map index), oldest run first and in the DAG's order."""
    found = []
    for n, run in enumerate(given_runs(world, 40)):
        for task_id in ("extract", "transform", "load"):
            state = TaskInstanceState.FAILED if n % 4 == 0 and task_id == "load" else TaskInstanceState.SUCCESS
            ended = run.run_after + timedelta(minutes=5)
            world.instance(run, task_id, state=state, try_number=1, start_date=run.run_after, end_date=ended)
            found.append((run.run_id, task_id, -1))
    return found


def names(found: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(ti["dag_run_id"], ti["task_id"], ti["map_index"]) for ti in found["task_instances"]]


ALL = "/api/v2/dags/~/dagRuns/~/taskInstances"


@pytest.mark.parametrize("order", ["-run_after", "run_after", "map_index", "-id"])
def test_instances_are_read_forward_and_back_by_cursor(
    instances: list[tuple[str, str, int]], api: Api, order: str
) -> None:
    expected = instances[::-1] if order.startswith("-") else instances
    url = f"{ALL}?order_by={order}&limit=50"
    forward = list(pages(api, "get_task_instances", url, "task_instances"))
    found = [name for page in forward for name in names(page)]
    assert [name for name in found if name in expected] == expected
    back = api.ok("get_task_instances", "GET", f"{url}&cursor={forward[-1]['previous_cursor']}")
    assert names(back) == names(forward[-2])


def test_failed_instances_are_found_without_their_runs(instances: list[tuple[str, str, int]], api: Api) -> None:
    found = api.ok("get_task_instances", "GET", f"{ALL}?state=failed&order_by=-run_after&limit=4")
    failed = [name for n, name in enumerate(instances) if n // 3 % 4 == 0 and name[1] == "load"][::-1]
    assert names(found) == failed[:4]
    of_dag = api.ok("get_task_instances", "GET", "/api/v2/dags/etl/dagRuns/~/taskInstances?state=failed")
    assert {ti["dag_id"] for ti in of_dag["task_instances"]} <= {"etl"}
