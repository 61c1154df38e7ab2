"""Our answers about settings, the event log and the rest equal Airflow 3.3.2's (`recorded/`)."""

from __future__ import annotations

import json

import pytest

from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from tests.unit.rest_api.recorded.requests import Asked
from tests.unit.rest_api.recorded.settings_requests import (
    CONNECTION_REQUESTS,
    EVENT_REQUESTS,
    OTHER_REQUESTS,
    VARIABLE_REQUESTS,
)
from tests.unit.rest_api.test_recorded_answers import RECORDED, asked_and_recorded, compare
from tests.unit.rest_api.world import Api, World


def given_etl(world: World) -> None:
    world.dag(
        "etl",
        spec=DagSpec.model_validate_json((RECORDED / "etl.spec.json").read_text()),
        serialized=(RECORDED / "etl.serialized.json").read_text(),
        source=(RECORDED / "etl.py").read_text(),
        fileloc="etl.py",
        tags=("a", "b"),
        is_paused=True,
    )


@pytest.mark.parametrize(
    ("name", "requests"),
    [
        ("variable_answers.jsonl", VARIABLE_REQUESTS),
        ("connection_answers.jsonl", CONNECTION_REQUESTS),
    ],
)
def test_every_answer_is_airflows(world: World, api: Api, name: str, requests: list[Asked]) -> None:
    given_etl(world)
    differences = []
    for asked, recorded in asked_and_recorded(name, requests):
        world.clock.advance(1)
        reply = api(asked.method, asked.url, asked.body, headers=asked.headers)
        differences += [f"{recorded['asked']} {asked.body}: {difference}" for difference in compare(reply, recorded)]
    assert not differences, "\n".join(differences)


def test_the_event_log_is_airflows(world: World, api: Api) -> None:
    """Of what else is answered on the way the status alone is compared: other tests look at it."""
    given_etl(world)
    differences = []
    for asked, recorded in asked_and_recorded("event_answers.jsonl", EVENT_REQUESTS):
        world.clock.advance(1)
        reply = api(asked.method, asked.url, json.dumps(asked.body) if asked.body is not None else None)
        if "/eventLogs" in asked.url:
            found = [d for d in compare(reply, recorded) if not d.split(" ")[0].endswith((".event_log_id", ".when"))]
            differences += [f"{recorded['asked']}: {difference}" for difference in found]
        elif recorded["status"] not in (reply.status, 500):
            differences.append(f"{recorded['asked']} {asked.body}: {reply.status} instead of {recorded['status']}")
    assert not differences, "\n".join(differences)


def test_every_other_answer_is_airflows(world: World, api: Api) -> None:
    given_etl(world)
    world.inventory.errors.clear()
    differences = []
    for asked, recorded in asked_and_recorded("other_answers.jsonl", OTHER_REQUESTS):
        world.clock.advance(1)
        if asked.method == "POST" and asked.url.endswith("/xcomEntries"):
            run = world.store.get_run(DagRunKey("etl", "one"))
            assert run is not None
            world.xcom(run, "extract", asked.body["value"], name=asked.body["key"])
            continue
        headers = {"host": "127.0.0.1", **(asked.headers or {})}
        reply = api(asked.method, asked.url, asked.body, headers=headers)
        differences += [f"{recorded['asked']}: {difference}" for difference in compare(reply, recorded)]
        if reply.headers.get("location") != recorded.get("location"):
            differences.append(f"{recorded['asked']} leads to {reply.headers.get('location')}")
    assert not differences, "\n".join(differences)
