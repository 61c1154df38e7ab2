"""Lists of histories too long to be read whole, held against the same lists read whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from gust.model.asset import Asset, AssetEvent, AssetUpdate, number_of
from gust.model.dag_run import DagRun
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.logged_event import LoggedEvent
from gust.model.state import DagRunState, TaskInstanceState
from tests.unit.rest_api.world import NOW, Api, World

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


@pytest.mark.parametrize("most", [1, 4, 6, 100])
def test_failed_instances_are_read_by_cursor_beyond_what_is_read_of_them_at_once(
    instances: list[tuple[str, str, int]], api: Api, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    from gust.rest_api.lists import history

    monkeypatch.setattr(history, "FAILURES", most)
    monkeypatch.setattr(history, "FAILURES_AT_ONCE", 2)
    failed = [name for n, name in enumerate(instances) if n // 3 % 4 == 0 and name[1] == "load"][::-1]
    url = f"{ALL}?state=failed&order_by=-run_after&limit=3"
    assert [
        name for found in pages(api, "get_task_instances", url, "task_instances") for name in names(found)
    ] == failed
    forward = list(pages(api, "get_task_instances", url, "task_instances"))
    back = api.ok("get_task_instances", "GET", f"{url}&cursor={forward[2]['previous_cursor']}")
    assert names(back) == names(forward[1])
    read: list[tuple[str, str, int]] = []
    while found := names(api.ok("get_task_instances", "GET", f"{url}&offset={len(read)}")):
        read += found
    assert read == failed


# --- events of assets, questions, deadlines, the event log ------------------------------------------------------------

EVENTS = "/api/v2/assets/events"
MIDDLE = (NOW - timedelta(hours=50)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def events(world: World) -> list[AssetEvent]:
    """Of two assets by two runs' tasks, oldest first."""
    assets = [Asset(name=name, uri=f"s3://lake/{name}", created_at=NOW) for name in ("orders", "users")]
    found = []
    for n in range(120):
        asset = assets[n % 2]
        if n < 2:
            world.store.put_asset(asset)
        event = AssetEvent(
            event_id=f"00000000-0000-4000-8000-{n:012d}",
            name=asset.name,
            uri=asset.uri,
            timestamp=NOW - timedelta(hours=120 - n),
            source_dag_id="etl",
            source_run_id=f"r{n % 3}",
            source_task_id="load" if n % 4 else "extract",
        )
        world.store.put_asset_events(event.event_id, [AssetUpdate(event)])
        found.append(event)
    return found


def moments(found: dict[str, Any]) -> list[str]:
    return [event["timestamp"] for event in found["asset_events"]]


def as_shown(events: list[AssetEvent]) -> list[str]:
    return [event.timestamp.isoformat().replace("+00:00", "Z") for event in events]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", lambda _: True),
        (f"&asset_id={number_of('users', 's3://lake/users')}", lambda e: e.name == "users"),
        ("&source_dag_id=etl&source_run_id=r1", lambda e: e.source_run_id == "r1"),
        ("&source_run_id=r1", lambda e: e.source_run_id == "r1"),
        ("&source_task_id=extract", lambda e: e.source_task_id == "extract"),
        ("&name_pattern=ord", lambda e: e.name == "orders"),
        ("&source_dag_id=etl", lambda _: True),
        (f"&timestamp_gt={MIDDLE}", lambda e: e.event_id[-3:] > "070"),
        (f"&timestamp_lte={MIDDLE}", lambda e: e.event_id[-3:] <= "070"),
    ],
)
def test_events_of_assets_are_read_page_by_page(
    events: list[AssetEvent], api: Api, query: str, wanted: Callable[[AssetEvent], bool]
) -> None:
    expected = as_shown([event for event in events if wanted(event)])
    for order, in_order in (("timestamp", expected), ("-timestamp", expected[::-1])):
        read: list[str] = []
        while True:
            found = api.ok("get_asset_events", "GET", f"{EVENTS}?order_by={order}&limit=15&offset={len(read)}{query}")
            assert found["total_entries"] == len(expected)
            if not moments(found):
                break
            read += moments(found)
        assert read == in_order


def test_events_in_another_order_are_sorted_among_the_newest(events: list[AssetEvent], api: Api) -> None:
    found = api.ok("get_asset_events", "GET", f"{EVENTS}?order_by=-source_task_id&limit=5")
    assert ({event["source_task_id"] for event in found["asset_events"]}, found["total_entries"]) == ({"load"}, 120)
    assert api("GET", f"{EVENTS}?asset_id=12345").json == {"asset_events": [], "total_entries": 0}


def test_the_event_log_is_read_until_the_page_is_full(world: World, api: Api) -> None:
    for n in range(300):
        world.store.log_event(
            LoggedEvent(
                when=NOW - timedelta(minutes=300 - n), event=f"e{n % 3}", owner="ann" if n % 100 == 7 else "bob"
            )
        )
    url = "/api/v2/eventLogs?order_by=-when&limit=2"
    of_ann = api.ok("get_event_logs", "GET", f"{url}&owner=ann")
    assert ([event["owner"] for event in of_ann["event_logs"]], of_ann["total_entries"]) == (["ann", "ann"], 3)
    last = api.ok("get_event_logs", "GET", f"{url}&owner_pattern=an&offset=2")
    assert (len(last["event_logs"]), last["total_entries"]) == (1, 3)
    kinds = api.ok("get_event_logs", "GET", "/api/v2/eventLogs?order_by=event&limit=3&event_pattern=e")
    assert ([event["event"] for event in kinds["event_logs"]], kinds["total_entries"]) == (["e0"] * 3, 300)


QUESTIONS = "/api/v2/dags/~/dagRuns/~/hitlDetails"


@pytest.mark.parametrize("sorted_among", [1000, 5], ids=["few", "many"])
def test_questions_are_read_page_by_page(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch, sorted_among: int
) -> None:
    from gust.rest_api.public import hitl

    monkeypatch.setattr(hitl, "SORTED_QUESTIONS", sorted_among)
    dags = [world.dag("etl"), world.dag("dwh")]
    for n in range(30):
        run = world.run(dags[n % 2], f"run_{n:03d}", run_after=NOW - timedelta(hours=n))
        state = TaskInstanceState.AWAITING_INPUT if n % 3 else TaskInstanceState.SUCCESS
        asks = world.instance(run, "extract", state=state, try_number=1, start_date=NOW)
        detail = HITLDetail(
            key=asks.key, try_number=1, options=["yes"], subject=f"No. {n}", created_at=NOW + timedelta(minutes=n)
        )
        world.store.put_hitl_detail(detail)
        if n % 3 == 0:
            yes = HITLAnswer(chosen_options=["yes"], responded_at=NOW)
            world.store.answer_hitl_detail(asks.key, 1, yes, seen=asks)

    def read(query: str) -> tuple[list[str], set[int]]:
        subjects: list[str] = []
        totals = set()
        while True:
            found = api.ok("get_hitl_details", "GET", f"{QUESTIONS}?limit=4&offset={len(subjects)}{query}")
            if not found["hitl_details"]:
                return subjects, totals
            totals.add(found["total_entries"])
            subjects += [detail["subject"].removeprefix("No. ") for detail in found["hitl_details"]]

    every = [str(n) for n in range(30)]
    assert read("") == (every, {30})
    assert read("&order_by=-created_at") == (every[::-1], {30})
    assert read("&response_received=true") == (every[::3], {10})
    assert read("&dag_id_pattern=dwh&response_received=false")[0] == [s for s in every[1::2] if int(s) % 3]
    assert read("&state=success&order_by=-ti_id")[0] == every[::3][::-1]
    of_dag = api.ok("get_hitl_details", "GET", "/api/v2/dags/dwh/dagRuns/~/hitlDetails?limit=3")
    assert ([detail["subject"] for detail in of_dag["hitl_details"]], of_dag["total_entries"]) == (
        ["No. 1", "No. 3", "No. 5"],
        15,
    )
