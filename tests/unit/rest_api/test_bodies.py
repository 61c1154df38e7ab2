"""Rules for bodies of every operation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gust.rest_api.http.request import encode
from tests.unit.rest_api.world import Api, World

RUNS = "/api/v2/dags/etl/dagRuns"


@pytest.mark.parametrize(
    "said", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"]
)
def test_only_what_is_said_to_be_json_is_read_as_json(world: World, api: Api, said: str) -> None:
    """Any page of any site may have a browser send text or a form here."""
    world.dag()
    body = '{"logical_date": null, "dag_run_id": "sneaked_in"}'
    reply = api("POST", RUNS, body, headers={"content-type": said})
    assert reply.status == 422
    assert reply.detail == [
        {
            "type": "model_attributes_type",
            "loc": ["body"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": body,
        }
    ]
    assert world.store.list_runs("etl") == []


@pytest.mark.parametrize(
    "said", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
def test_every_way_to_say_that_it_is_json(world: World, api: Api, said: str) -> None:
    world.dag()
    assert api("POST", RUNS, {"logical_date": None, "conf": {"a": 1}}, headers={"content-type": said}).status == 200
    (logged,) = api.ok("get_event_logs", "GET", "/api/v2/eventLogs?event=trigger_dag_run")["event_logs"]
    assert json.loads(logged["extra"])["conf"] == {"a": 1}


def test_a_mark_of_byte_order_is_no_part_of_the_body(world: World, api: Api) -> None:
    world.dag()
    assert api("POST", RUNS, '\ufeff{"logical_date": null}').status == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_in_json_is_refused_with_its_place(world: World, api: Api, number: str) -> None:
    """It would be in every answer that shows the run, and no browser reads such an answer."""
    world.dag()
    reply = api("POST", RUNS, f'{{"logical_date": null, "conf": {{"rows": [1, {number}]}}}}')
    assert reply.status == 422
    assert [problem["loc"] for problem in reply.detail] == [["body", "conf", "rows", 1]]
    assert world.store.list_runs("etl") == []


def test_a_number_that_is_too_long_to_be_read_is_refused(world: World, api: Api) -> None:
    world.dag()
    reply = api("POST", RUNS, '{"logical_date": null, "conf": {"rows": ' + "9" * 5000 + "}}")
    assert reply.status == 422
    assert [problem["type"] for problem in reply.detail] == ["json_invalid"]


def test_what_is_stored_all_the_same_is_shown_as_null() -> None:
    assert encode({"value": [float("nan"), 1.5, {"é": float("inf")}]}) == '{"value":[null,1.5,{"é":null}]}'


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_a_moment_that_has_none_in_utc(world: World, api: Api, moment: str) -> None:
    world.dag()
    assert api("POST", RUNS, {"logical_date": moment}).status == 422
    assert api("POST", "/api/v2/dags/etl/clearTaskInstances", {"start_date": moment}).status in (200, 422)
    assert api("GET", RUNS, start_date_gte=moment).status in (200, 422)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("pools", {"name": "p", "slots": 2**31}),
        ("connections", {"connection_id": "c", "conn_type": "x", "port": 10**40}),
        ("backfills", {"dag_id": "etl", "from_date": "2026-01-01", "to_date": "2026-01-02", "max_active_runs": 10**40}),
    ],
)
def test_numbers_that_no_column_holds(world: World, api: Api, path: str, body: dict[str, Any]) -> None:
    world.dag()
    reply = api("POST", f"/api/v2/{path}", body)
    assert (reply.status, reply.detail[0]["type"]) == (422, "less_than_equal")


def test_a_note_is_no_longer_than_one_that_is_written_later(world: World, api: Api) -> None:
    world.dag()
    reply = api("POST", RUNS, {"logical_date": None, "note": "n" * 1001})
    assert (reply.status, reply.detail[0]["loc"]) == (422, ["body", "note"])
