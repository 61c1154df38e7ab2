"""The door, with events as a worker's transport sends them, on AWS as moto plays it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gust import bootstrap
from gust.aws import clients
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import transition
from gust.services.context import Services
from gust.store.keyspace import TABLE_DEFINITION

EVENTS = Path(__file__).parent / "events"
DOOR = Path(__file__).parents[2] / "functions/execution_api/app.py"
RUN = DagRunKey("etl", "scheduled__2026-03-01T00:00:00+00:00")


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GUST_TABLE": "table",
        "GUST_BUCKET": "bucket",
        "GUST_SIGNING_KEYS": "signing-key",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    with mock_aws():
        boto3.client("dynamodb").create_table(TableName="table", **TABLE_DEFINITION)
        boto3.client("s3").create_bucket(Bucket="bucket")
        boto3.client("ssm").put_parameter(Name="signing-key", Value="k" * 32, Type="SecureString")
        yield bootstrap.from_environment()
    clients.client.cache_clear()


@pytest.fixture
def door(services: Services) -> ModuleType:
    spec = importlib.util.spec_from_file_location("execution_api_door", DOOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def queued(services: Services) -> TaskInstance:
    now = datetime.now(UTC)
    services.store.put_dag(None, Dag(dag_id=RUN.dag_id, version_number=1))
    services.store.create_run(
        DagRun(
            dag_id=RUN.dag_id,
            run_id=RUN.run_id,
            run_type=DagRunType.SCHEDULED,
            state=DagRunState.RUNNING,
            run_after=now,
            queued_at=now,
            start_date=now,
            version_number=1,
            spec_key="",
        )
    )
    new = TaskInstance(dag_id=RUN.dag_id, run_id=RUN.run_id, task_id="extract")
    scheduled = transition.schedule(new, at=now, retries=0)
    services.store.move(scheduled)
    accepted = transition.queue(scheduled.after, at=now)
    services.store.move(accepted)
    return accepted.after


def event(name: str, token: str) -> dict[str, Any]:
    recorded = json.loads((EVENTS / f"execution_api_{name}.json").read_text())
    recorded["headers"]["authorization"] = f"Bearer {token}"
    return dict(recorded)


def test_a_try_starts_and_lives(door: ModuleType, services: Services, queued: TaskInstance) -> None:
    token = services.tokens.for_dispatch(queued, now=datetime.now(UTC))
    answer = door.lambda_handler(event("run", token), None)
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    assert json.loads(answer["body"])["dag_run"]["run_id"] == RUN.run_id
    started = services.store.get_instance(queued.key)
    assert started is not None
    assert (started.state, started.hostname, started.pid) == (S.RUNNING, "2026/03/01/[$LATEST]0123456789abcdef", 17)

    assert door.lambda_handler(event("heartbeat", token), None)["statusCode"] == 403
    exchanged = answer["headers"]["Refreshed-API-Token"]
    assert door.lambda_handler(event("heartbeat", exchanged), None)["statusCode"] == 204
    alive = services.store.get_instance(queued.key)
    assert alive is not None
    assert alive.heartbeat_at is not None
    assert datetime.now(UTC) - alive.heartbeat_at < timedelta(minutes=1)


def test_a_forged_token_changes_nothing(door: ModuleType, services: Services, queued: TaskInstance) -> None:
    answer = door.lambda_handler(event("run", "forged"), None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (403, {"detail": "Invalid auth token"})
    assert services.store.get_instance(queued.key) == queued
