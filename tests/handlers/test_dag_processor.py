"""The doors of deployer and parser, on AWS as moto plays it: what the state machine would call."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gust import bootstrap
from gust.aws import clients
from gust.services.context import Services
from gust.store.keyspace import TABLE_DEFINITION
from tests.environment import of_a_user

ROOT = Path(__file__).parents[2]
DOOR = ROOT / "functions/dag_processor/app.py"
PARSER = ROOT / "functions/parser/app.py"
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GUST_TABLE": "table",
        "GUST_BUCKET": "bucket",
        "GUST_DAGS_ARE_PAUSED_AT_CREATION": "false",
        "GUST_SIGNING_KEYS": "signing-key",
        "GUST_EXECUTION_API_FUNCTION": "execution-api",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    with mock_aws():
        boto3.client("dynamodb").create_table(TableName="table", **TABLE_DEFINITION)
        boto3.client("s3").create_bucket(Bucket="bucket")
        boto3.client("ssm").put_parameter(Name="signing-key", Value="k" * 32, Type="SecureString")
        # In the hour after midnight the first run of a daily DAG is due at once.
        wakes = boto3.client("sqs").create_queue(QueueName="wakes")
        monkeypatch.setenv("GUST_WAKE_QUEUE_URL", wakes["QueueUrl"])
        yield bootstrap.from_environment()
    clients.client.cache_clear()


@pytest.fixture
def door(services: Services) -> ModuleType:
    return loaded(DOOR)


@pytest.fixture
def parser(services: Services) -> ModuleType:
    return loaded(PARSER)


def loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"door_of_{file.parent.name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_state_machine(door: ModuleType, parser: ModuleType, deployment: str = "test") -> int:
    """What deploy_bundle.asl.json does. Returns how many times something was new."""
    times = 0
    while True:
        taken: dict[str, Any] = door.lambda_handler({"step": "snapshot", "deployment": deployment}, CONTEXT)
        if not taken["changed"]:
            return times
        times += 1
        for batch in taken["batches"]:
            parsed = parser.lambda_handler({"plan": taken["plan"], "batch": batch}, CONTEXT)
            assert parsed == {"plan": taken["plan"], "batch": batch, "finished": True}
        door.lambda_handler({"step": "activate", "plan": taken["plan"], "deployment": deployment}, CONTEXT)


def test_a_file_in_the_bucket_becomes_a_dag(door, parser, services):
    text = "from airflow.sdk import DAG\nwith DAG('etl', schedule='@daily', tags=['new']): ...\n"
    services.objects.put("dags/etl.py", text.encode())
    services.objects.put("dags/broken.py", b"# airflow dag\n1/0\n")
    assert run_state_machine(door, parser) == 1
    dag = services.store.get_dag("etl")
    assert dag is not None
    assert (dag.tags, dag.is_paused, dag.version_number, dag.fileloc) == (("new",), False, 1, "/dags/etl.py")
    version = services.store.get_version("etl", 1)
    assert version is not None
    assert services.objects.get(version.source_key).decode() == text
    assert json.loads(services.objects.get(version.serialized_key))["dag"]["dag_id"] == "etl"
    assert services.objects.exists(f"bundles/{dag.bundle_version}.zip")
    assert [problem.filename for problem in services.store.list_import_problems()] == ["broken.py"]

    services.objects.put("dags/helper.py", b"A = 1\n")
    assert run_state_machine(door, parser) == 1
    assert [v.version_number for v in services.store.list_versions("etl")] == [1]
    assert run_state_machine(door, parser) == 0


def test_an_unknown_step_is_our_bug(door):
    with pytest.raises(ValueError, match="no step 'dance'"):
        door.lambda_handler({"step": "dance"}, CONTEXT)


def test_the_parser_tells_what_is_installed(parser):
    answer = parser.lambda_handler({"inventory": "providers", "bundle_version": None}, CONTEXT)
    assert "apache-airflow-providers-standard" in {provider["package_name"] for provider in answer["answer"]}


def test_the_door_starts_without_airflow(services):
    """Snapshot and activation must not pay for Airflow's import."""
    program = f"""
import sys
sys.modules["airflow"] = None
sys.path.insert(0, {str(ROOT / "shared")!r})
sys.path.insert(0, {str(DOOR.parent)!r})
import app
app.services()
"""
    ours = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "GUST_"))}
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=of_a_user(**ours))  # noqa: S603 - our own program


def test_the_state_machine_names_only_what_the_template_gives():
    text = (ROOT / "statemachines/deploy_bundle.asl.json").read_text()
    machine = json.loads(text)
    map_state = machine["States"]["ParseBatches"]["ItemProcessor"]
    for states in (machine, map_state):
        targets = {states["StartAt"]}
        for state in states["States"].values():
            targets |= {state.get("Next"), state.get("Default")}
            targets |= {rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])]}
        assert targets - {None} == set(states["States"])
    template = (ROOT / "template.yaml").read_text()
    for name in ("DagProcessorFunctionArn", "ParseFunctionArn"):
        assert f"${{{name}}}" in text
        assert f"{name}: !GetAtt" in template
