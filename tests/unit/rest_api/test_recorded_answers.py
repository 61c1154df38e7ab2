"""Our answers are Airflow's: the same requests, in the same order, as recorded from Airflow 3.3.2 (`recorded/`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gust.model.dag_spec import DagSpec
from tests.unit.rest_api.recorded.pool_requests import POOL_REQUESTS
from tests.unit.rest_api.recorded.requests import REQUESTS, Asked
from tests.unit.rest_api.recorded.task_data_requests import TASK_DATA_REQUESTS
from tests.unit.rest_api.world import Api, Reply, World

RECORDED = Path(__file__).parent / "recorded"

VOLATILE = {
    *("id", "queued_at", "created_at", "run_after", "timestamp", "last_parsed", "last_parsed_time"),
    *("last_parse_duration", "access_token", "file_token", "bundle_version"),
    *("next_dagrun_run_after", "next_dagrun_logical_date"),
    *("next_dagrun_data_interval_start", "next_dagrun_data_interval_end"),
    # Airflow's names the account of its API server; a task of ours is run by Lambda.
    "unixname",
}
"""Fields that differ from one recording to the next."""

MOMENTS = {"start_date", "end_date", "duration", "updated_at"}
"""Whether there is one is compared, and not when."""

UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def asked_and_recorded(
    name: str = "answers.jsonl", requests: list[Asked] = REQUESTS
) -> list[tuple[Asked, dict[str, Any]]]:
    recorded = [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]
    assert [answer["asked"] for answer in recorded] == [f"{r.method} {r.url}" for r in requests], "record again"
    return list(zip(requests, recorded, strict=True))


def given_etl(world: World) -> None:
    world.dag(
        "etl",
        spec=DagSpec.model_validate_json((RECORDED / "etl.spec.json").read_text()),
        serialized=(RECORDED / "etl.serialized.json").read_text(),
        source=(RECORDED / "etl.py").read_text(),
        fileloc="etl.py",
        tags=("a", "b"),
        is_paused=True,
        timetable_summary="0 0 * * *",
        timetable_description="At 00:00",
    )


def test_every_answer_is_airflows(world: World, api: Api) -> None:
    given_etl(world)
    differences = []
    for asked, recorded in asked_and_recorded():
        world.clock.advance(1)
        reply = api(asked.method, asked.url, asked.body, headers=asked.headers)
        differences += [f"{recorded['asked']}: {difference}" for difference in compare(reply, recorded)]
    assert not differences, "\n".join(differences)


def test_every_answer_about_pools_is_airflows(world: World, api: Api) -> None:
    differences = []
    for asked, recorded in asked_and_recorded("pool_answers.jsonl", POOL_REQUESTS):
        world.clock.advance(1)
        reply = api(asked.method, asked.url, asked.body, headers=asked.headers)
        differences += [f"{recorded['asked']} {asked.body}: {difference}" for difference in compare(reply, recorded)]
    assert not differences, "\n".join(differences)


def test_every_answer_about_what_belongs_to_a_task_is_airflows(world: World, api: Api) -> None:
    given_etl(world)
    differences = []
    for asked, recorded in asked_and_recorded("task_data_answers.jsonl", TASK_DATA_REQUESTS):
        world.clock.advance(1)
        reply = api(asked.method, asked.url, asked.body, headers=asked.headers)
        differences += [f"{recorded['asked']} {asked.body}: {difference}" for difference in compare(reply, recorded)]
    assert not differences, "\n".join(differences)


def compare(reply: Reply, recorded: dict[str, Any]) -> Iterator[str]:
    if reply.status != recorded["status"]:
        yield f"{reply.status} instead of {recorded['status']}: {reply.text}"
        return
    ours = reply.json if reply.headers.get("content-type") == "application/json" and reply.text else reply.text
    yield from different(recorded["body"], ours, "")


def different(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    match theirs, ours:
        case dict(), dict():
            for key in sorted(theirs.keys() | ours.keys()):
                if key not in theirs or key not in ours:
                    yield f"{path}.{key} is only in {'ours' if key in ours else 'theirs'}"
                elif key == "message" and str(theirs[key]).startswith("Serious error when handling your request"):
                    # Airflow points to its log here; we say what exists already.
                    assert ours[key].endswith("already")
                elif key in MOMENTS and theirs[key] is not None and ours[key] is not None:
                    continue
                elif key not in VOLATILE:
                    yield from different(theirs[key], ours[key], f"{path}.{key}")
        case list(), list() if len(theirs) == len(ours):
            for place, (one, other) in enumerate(zip(theirs, ours, strict=True)):
                yield from different(one, other, f"{path}[{place}]")
        case str(), str() if UUID.sub("", theirs) == UUID.sub("", ours):
            return
        case _ if theirs != ours:
            yield f"{path} is {ours!r} instead of {theirs!r}"
