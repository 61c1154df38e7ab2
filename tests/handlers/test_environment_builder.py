"""The builder's door, on S3 as moto plays it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import boto3
import pytest
from moto import mock_aws

from gust import wiring
from gust.aws import clients
from gust.environment_builder.index_variables import FILE, index_variables
from gust.model import bucket_keys
from gust.model.environment import Build, Built, Recipe
from gust.services.deployments import pins

DOOR = Path(__file__).parents[2] / "functions/environment_builder/app.py"
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 600_000)
RECIPE = Recipe(sources="s", requirements=("==",), python="cpython 3.12", pins=pins.digest())
ASKED = Build(recipe=RECIPE.id, file="team/requirements.txt", uploaded=3.0).model_dump()


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GUST_BUCKET": "bucket",
        "GUST_STORAGE": "2048",
    }.items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    spec = importlib.util.spec_from_file_location("environment_builder_door", DOOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="bucket")
        wiring.bucket().put(bucket_keys.recipe(RECIPE.id), RECIPE.model_dump_json().encode())
        yield module
    clients.client.cache_clear()


def built() -> Built:
    return Built.model_validate_json(wiring.bucket().get(bucket_keys.built(RECIPE.id)))


def test_what_cannot_be_built_is_an_answer_and_no_error(door: ModuleType) -> None:
    answer = door.lambda_handler({"build": ASKED}, CONTEXT)

    assert json.loads(json.dumps(answer))["archive"] == ""
    assert answer["problem"] == built().problem
    assert "requirements.txt" in answer["problem"]
    assert (built().file, built().uploaded) == ("team/requirements.txt", 3.0)


def test_what_an_index_wants_is_in_the_secret_that_the_stack_names(
    door: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index_variables(wiring.package_index_secret(), {}) == {}
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name="index", SecretString='{"TOKEN": "hush"}')
    monkeypatch.setenv("GUST_PACKAGE_INDEX_SECRET", "index")
    assert index_variables(wiring.package_index_secret(), {FILE: "/nowhere"}) == {"TOKEN": "hush"}

    secrets.put_secret_value(SecretId="index", SecretString="hush")
    answer = door.lambda_handler({"build": ASKED}, CONTEXT)
    assert (
        answer["problem"]
        == "The secret that the parameter PackageIndexSecret names is no JSON object of names and texts.\n"
    )


def test_what_killed_it_is_kept(door: ModuleType) -> None:
    error = {"Error": "Lambda.Unknown", "Cause": "Runtime exited with error: signal: killed"}
    door.lambda_handler({"build": ASKED, "error": error}, CONTEXT)

    assert built().problem == "The builder died at it: Runtime exited with error: signal: killed\n"
