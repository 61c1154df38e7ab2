"""A caller's numbers, lists and filters make no work without an end: each is bounded, and says so where it is cut."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

import pytest

from gust.http.answer import Problem
from gust.model.state import DagRunState
from gust.ports.clock import ManualClock
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.rest_api.lists import listing
from gust.rest_api.lists.listing import Ordering, Walk
from gust.services.people import clear_task_instances
from tests.unit.rest_api.world import NOW, Api, World


class TickingClock(ManualClock):
    """On which each look at the time takes a second."""

    def now(self) -> datetime:
        return self.advance(1)


def slow_api(world: World) -> Api:
    services = replace(world.services, clock=TickingClock(NOW))
    return Api(build(services, Authenticator(ALL_ADMINS)))


def test_a_walk_that_finds_nothing_ends_with_a_sentence() -> None:
    read = []

    def rows() -> Any:
        for number in range(10 * listing.LOOKED_THROUGH):
            read.append(number)
            yield number

    with pytest.raises(Problem, match="narrow the time range") as refused:
        list(Walk(rows(), lambda _: False, patience=None))
    assert refused.value.status == 400
    assert len(read) == listing.LOOKED_THROUGH + 1
    assert Ordering[int]({}, lambda row: (row,)).resolve([])


def test_an_offset_behind_everything_is_refused_where_it_would_be_read(world: World, api: Api) -> None:
    assert api("GET", "/api/v2/eventLogs", offset=10**9).status == 400


def test_a_run_that_is_named_often_is_read_once(world: World, api: Api) -> None:
    run = world.run(world.dag())
    world.instance(run, "extract")
    reply = api("GET", "/ui/grid/ti_summaries/etl", run_ids=["manual__1"] * 50)
    assert reply.text.count("\n") == 1


def test_the_last_runs_of_a_dag_are_a_hundred_at_most(world: World, api: Api) -> None:
    dag = world.dag()
    for number in range(105):
        world.run(dag, f"r{number}", state=DagRunState.SUCCESS, run_after=NOW + timedelta(minutes=number))
    (row,) = api("GET", "/ui/dags", dag_runs_limit=10**9).json["dags"]
    assert len(row["latest_dag_runs"]) == 100


def test_a_bulk_request_that_runs_out_of_time_says_what_it_did_and_what_it_did_not(world: World) -> None:
    entities = [{"key": f"v{number}", "value": "x"} for number in range(100)]
    reply = slow_api(world)("PATCH", "/api/v2/variables", {"actions": [{"action": "create", "entities": entities}]})
    assert reply.status == 200
    created = reply.json["create"]
    assert 0 < len(created["success"]) < 100
    left = 100 - len(created["success"])
    (error,) = created["errors"]
    assert error == {
        "error": f"Request ran out of time. The last {left} of 100 were not started: send them again",
        "status_code": 503,
    }
    assert len(world.store.list_settings("variables")) == len(created["success"])


def test_a_clear_that_concerns_more_runs_than_can_be_cleared_is_refused(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clear_task_instances, "MOST_RUNS", 3)
    dag = world.dag()
    for number in range(4):
        world.run(dag, f"r{number}", logical_date=NOW + timedelta(days=number), state=DagRunState.SUCCESS)
    url = "/api/v2/dags/etl/clearTaskInstances"
    assert (
        api("POST", url, {"only_failed": False}).detail
        == "The request selects more than 3 runs of etl: choose a shorter time"
    )
    body = {"only_failed": False, "start_date": NOW.isoformat(), "end_date": (NOW + timedelta(days=2)).isoformat()}
    assert api("POST", url, body).status == 200


def test_an_answer_that_only_fits_compressed_says_so_where_it_may_not_be(world: World, api: Api) -> None:
    run = world.run(world.dag())
    world.instance(run, "extract")
    world.xcom(run, "extract", "a" * 20_000_000)
    url = "/api/v2/dags/etl/dagRuns/manual__1/taskInstances/extract/xcomEntries/return_value"
    for refusing in ({}, {"accept-encoding": "identity"}, {"accept-encoding": "br, gzip;q=0"}):
        reply = api("GET", url, headers=refusing)
        assert reply.status == 406
        assert "send 'Accept-Encoding: gzip' (curl --compressed), or request a smaller page" in reply.detail
    for taking in ("gzip", "br, gzip", "*"):
        assert api("GET", url, headers={"accept-encoding": taking}).json["value"] == "a" * 20_000_000


def test_an_answer_that_does_not_even_fit_compressed_says_so(world: World, api: Api) -> None:
    run = world.run(world.dag())
    world.instance(run, "extract")
    world.xcom(run, "extract", token_hex(6_000_000))
    url = "/api/v2/dags/etl/dagRuns/manual__1/taskInstances/extract/xcomEntries/return_value"
    reply = api("GET", url, headers={"accept-encoding": "gzip"})
    assert reply.status == 413
    assert "even with compression: request a smaller page" in reply.detail
