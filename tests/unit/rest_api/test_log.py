"""Logs of tries, whole, in parts, and while they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gust.model.dag_run import DagRun
from gust.model.state import TaskInstanceState as S
from tests.unit.rest_api.world import NOW, Api, World

LOGS = "/api/v2/dags/etl/dagRuns/manual__1/taskInstances/extract/logs"


@pytest.fixture
def run(world: World) -> DagRun:
    """`extract` failed its first try and runs its second; both wrote two lines."""
    run = world.run(world.dag())
    world.instance(run, "extract", state=S.UP_FOR_RETRY, try_number=1, start_date=NOW, end_date=NOW, hostname="one")
    world.instance(run, "extract", state=S.RUNNING, try_number=2, start_date=NOW, end_date=None, hostname="two")
    for number in (1, 2):
        world.logs.lines["extract", -1, number] = [
            {"timestamp": "2026-03-04T12:00:00Z", "level": "info", "event": f"{number}.{line}"} for line in (1, 2)
        ]
    return run


def events(answer: Any) -> list[str]:
    return [line["event"] for line in answer["content"]]


def test_a_finished_try_is_given_whole(run: DagRun, api: Api) -> None:
    answer = api.ok("get_log", "GET", f"{LOGS}/1")
    assert answer["continuation_token"] is None
    assert events(answer) == [
        "::group::Log message source details",
        "CloudWatch Logs stream one",
        "::endgroup::",
        "1.1",
        "1.2",
    ]
    assert answer["content"][3] == {"timestamp": "2026-03-04T12:00:00Z", "level": "info", "event": "1.1"}


def test_a_try_that_could_not_say_why_it_ended_has_it_said(world: World, run: DagRun, api: Api) -> None:
    lost = {"state": S.UP_FOR_RETRY, "try_number": 1, "start_date": NOW, "end_date": NOW, "hostname": "one"}
    world.instance(run, "extract", **lost, reason="The worker was silent; the try is lost.")
    last = api.ok("get_log", "GET", f"{LOGS}/1")["content"][-1]
    assert (last["level"], last["event"]) == ("error", "The worker was silent; the try is lost.")


def test_a_running_try_goes_on_behind_its_token(world: World, run: DagRun, api: Api) -> None:
    answer = api.ok("get_log", "GET", f"{LOGS}/2")
    assert events(answer)[-2:] == ["2.1", "2.2"]
    world.logs.lines["extract", -1, 2].append({"event": "2.3"})
    more = api.ok("get_log", "GET", f"{LOGS}/2", token=answer["continuation_token"])
    assert events(more) == ["2.3"]
    world.instance(run, "extract", state=S.SUCCESS, end_date=NOW)
    last = api.ok("get_log", "GET", f"{LOGS}/2", token=more["continuation_token"])
    assert last == {"content": [], "continuation_token": None}


def test_a_long_log_is_read_on_until_it_is_too_much_for_one_answer(world: World, run: DagRun, api: Api) -> None:
    many = [{"event": '\\"' * (500 if number else 100_000), "number": number} for number in range(25_000)]
    world.logs.lines["extract", -1, 1] = many
    seen: list[int] = []
    token, parts = None, 0
    while parts == 0 or token is not None:
        reply = api("GET", f"{LOGS}/1", **({"token": token} if token else {}))
        assert reply.status == 200
        assert len(json.dumps(reply.text)) < 5_900_000
        seen += [line["number"] for line in reply.json["content"] if "number" in line]
        token, parts = reply.json["continuation_token"], parts + 1
    assert seen == list(range(25_000))
    assert parts > 1


def test_lines_of_json(run: DagRun, api: Api) -> None:
    reply = api("GET", f"{LOGS}/2", headers={"accept": "application/x-ndjson"})
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["event"] for line in reply.text.splitlines()][-2:] == ["2.1", "2.2"]
    token = reply.headers["airflow-continuation-token"]
    assert api("GET", f"{LOGS}/2?token={token}", headers={"accept": "application/x-ndjson"}).text == ""
    ended = api("GET", f"{LOGS}/1", headers={"accept": "application/x-ndjson"})
    assert "airflow-continuation-token" not in ended.headers


def test_what_has_no_log(world: World, run: DagRun, api: Api) -> None:
    load = LOGS.replace("extract", "load")
    assert events(api("GET", f"{load}/0").json)[-1] == "No logs available for this task."
    world.instance(run, "load", state=S.UPSTREAM_FAILED)
    assert events(api("GET", f"{load}/0").json)[-1] == "Task did not run because upstream task(s) failed."
    assert api.refused("get_log", 404, "GET", f"{load}/1") == "TaskInstance not found"


@pytest.mark.parametrize("token", ["%%%", "bm90IG91cnM", "é"])
def test_a_token_that_is_none_of_ours_is_refused(run: DagRun, api: Api, token: str) -> None:
    reply = api("GET", f"{LOGS}/2", token=token)
    assert (reply.status, reply.detail) == (400, "Bad Signature. Please use only the tokens provided by the API.")


def test_of_a_map_index(world: World, run: DagRun, api: Api) -> None:
    world.instance(run, "transform", 3, state=S.SUCCESS, try_number=1, start_date=NOW, end_date=NOW, hostname="h")
    world.logs.lines["transform", 3, 1] = [{"event": "mapped"}]
    transform = LOGS.replace("extract", "transform")
    assert events(api.ok("get_log", "GET", f"{transform}/1?map_index=3"))[-1] == "mapped"
    assert api("GET", f"{transform}/1").status == 404
