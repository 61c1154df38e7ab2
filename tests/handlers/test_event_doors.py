"""The doors of events, on AWS as moto plays it: a message of a rule makes a run, and the stream's records make events."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gust import bootstrap
from gust.aws import clients
from gust.aws.memory import MemoryEventBus
from gust.errors import ServiceUnavailable
from gust.model.event_rule import EventFile, EventRule
from gust.model.watched_stream import StreamRecord
from gust.store.keyspace import TABLE_DEFINITION

ROOT = Path(__file__).parents[2]
PATTERN = {"source": ["shop"]}

QUEUE = "arn:aws:sqs:us-east-1:123456789012:gust-EventsQueue"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GUST_TABLE": "table",
        "GUST_BUCKET": "bucket",
        "GUST_STACK": "gust",
        "GUST_METRICS": "Stack",
        "GUST_TELL_EVENTS": "All",
        "GUST_HAS_ALERTS": "false",
        "GUST_EVENTS_QUEUE_ARN": QUEUE,
        "AIRFLOW__API__BASE_URL": "https://gust.example.com",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    bootstrap.metrics.cache_clear()
    with mock_aws():
        boto3.client("dynamodb").create_table(TableName="table", **TABLE_DEFINITION)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield
    clients.client.cache_clear()
    bootstrap.metrics.cache_clear()


def door(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_door", ROOT / f"functions/{name}/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_bad_message_fails_alone_and_a_refused_event_is_measured(
    aws: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = EventRule(line=1, pattern=PATTERN, dag_id="gone")
    receiver = door("events")
    receiver.services.store.put_event_file(EventFile.of("events.yaml", [rule]))
    event = {"id": "e1", "time": "2026-03-01T08:00:00Z", "source": "shop", "detail-type": "Placed", "detail": {}}
    bodies = {"good": json.dumps({"pattern": rule.pattern_id, "event": event}), "bad": "{"}
    records = [{"messageId": n, "body": b, "eventSourceARN": QUEUE} for n, b in bodies.items()]
    answer = receiver.lambda_handler({"Records": records}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert '"EventsRefused":[1' in capsys.readouterr().out.replace(" ", "")
    assert [entry.event for entry in receiver.services.store.logged_events()] == ["event_refused"]


def test_the_receiver_learns_how_often_a_message_has_come(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = door("events")
    told: list[int] = []
    monkeypatch.setattr(receiver, "receive_events", lambda services, messages, delivery: told.append(delivery) or [])
    record = {"messageId": "m", "body": "{}", "eventSourceARN": QUEUE}
    again = record | {"messageId": "n", "attributes": {"ApproximateReceiveCount": "3"}}
    receiver.lambda_handler({"Records": [record, again]}, None)
    assert told == [3]


def test_records_of_a_stream_and_words_about_it_reach_their_verbs(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/clicks"
    receiver = door("events")
    taken: list[Any] = []
    monkeypatch.setattr(receiver, "take_records", lambda services, arn, records: taken.append((arn, records)))
    about = {"sequenceNumber": "17", "partitionKey": "k", "data": "eA==", "approximateArrivalTimestamp": 1772352000.5}
    record = {"eventID": "shardId-000000000001:17", "kinesis": about, "eventSourceARN": arn}
    assert receiver.lambda_handler({"Records": [record]}, None) == {}
    moment = datetime(2026, 3, 1, 8, 0, 0, 500_000, tzinfo=UTC)
    assert taken == [(arn, [StreamRecord("shardId-000000000001", "17", "k", "eA==", moment)])]
    receiver.lambda_handler({"watch_stream": arn}, None)
    assert receiver.services.store.watched_sources() == {arn}
    receiver.lambda_handler({"unwatch_stream": arn}, None)
    assert receiver.services.store.watched_sources() == frozenset()


def a_record(state: str, sequence: int = 1) -> dict[str, Any]:
    keys = {"pk": {"S": "RUN#etl#r"}, "sk": {"S": "#RUN"}}
    change = {
        "Keys": keys,
        "ApproximateCreationDateTime": 1772352000.0,
        "SequenceNumber": str(sequence),
        "NewImage": keys | {"state": {"S": state}, "run_type": {"S": "manual"}},
    }
    return {"eventID": f"id{sequence}", "eventSource": "aws:dynamodb", "dynamodb": change}


class Refusing(MemoryEventBus):
    def tell(self, announcements: Any) -> None:
        raise ServiceUnavailable("EventBridge refused 1 of 1 events")


def test_the_announcer_tells_of_records_and_drops_what_it_cannot_read(aws: None) -> None:
    announcing, bus = door("announcer"), MemoryEventBus()
    services = bootstrap.from_environment()
    announcing.announcer.services = replace(services, event_bus=bus)
    unreadable = {"eventID": "x", "dynamodb": {"Keys": {}}}
    announcing.lambda_handler({"Records": [a_record("queued"), unreadable, a_record("failed", 2)]}, None)
    assert [each.detail["state"] for each in bus.told] == ["queued", "failed"]
    announcing.announcer.services = replace(services, event_bus=Refusing())
    with pytest.raises(ServiceUnavailable):
        announcing.lambda_handler({"Records": [a_record("queued")]}, None)
