"""Our answers about backfills are Airflow's, and so are the runs they make, as recorded from Airflow 3.3.2."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from gust.model.dag_spec import DagSpec
from tests.unit.rest_api.recorded.backfill_requests import REQUESTS
from tests.unit.rest_api.test_recorded_answers import RECORDED, VOLATILE, compare
from tests.unit.rest_api.world import Api, World

DIFFERS = {"completed_at", "updated_at"}
"""Fields that Airflow's database or our clock fills; whether they are set is compared."""

CHANCE = re.compile(r"(backfill__[^_]+__[^_]+__|manual__[^_]+__)[A-Za-z0-9]{8}")
MOMENT = re.compile(r"manual__[^_]+")


def test_every_answer_is_airflows(world: World, api: Api) -> None:
    world.clock.set(datetime(2026, 6, 1, tzinfo=UTC))
    for line in (RECORDED / "backfills.spec.json").read_text().splitlines():
        spec = DagSpec.model_validate_json(line)
        world.dag(spec.dag_id, spec=spec, allowed_run_types=spec.allowed_run_types, is_paused=True)
    recorded = [json.loads(line) for line in (RECORDED / "backfill_answers.jsonl").read_text().splitlines()]
    assert [answer["asked"] for answer in recorded] == [f"{r.method} {r.url}" for r in REQUESTS], "record again"
    differences = []
    for asked, theirs in zip(REQUESTS, recorded, strict=True):
        world.clock.advance(1)
        reply = api(asked.method, asked.url, asked.body)
        reply.text = json.dumps(comparable(reply.json))
        expected = theirs | {"body": comparable(theirs["body"])}
        differences += [f"{theirs['asked']} {asked.body}: {difference}" for difference in compare(reply, expected)]
    assert not differences, "\n".join(differences)


def api_moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat().replace("+00:00", "Z")


def comparable(body: Any) -> Any:
    match body:
        case {"partition_date": str(date)} if datetime.fromisoformat(date).utcoffset():
            # Airflow repeats it in the timetable's zone where it has just been made of a key.
            return comparable(body | {"partition_date": api_moment(date)})
        case dict():
            named = {"backfill": body["id"]} if "reprocess_behavior" in body else {}
            return named | {
                key: bool(value) if key in DIFFERS else comparable(value)
                for key, value in body.items()
                if key not in VOLATILE - {"run_after"} and not (key == "run_after" and body["run_type"] == "manual")
            }
        case list():
            return [comparable(one) for one in body]
        case str():
            return MOMENT.sub("manual__", CHANCE.sub(r"\1", body))
    return body
