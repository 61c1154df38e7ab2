"""Layers of a worker group on other processors than the stack's."""

from __future__ import annotations

from typing import Any

import pytest

from gust.cli import ROOT, artifacts
from gust.cli.aws import AwsError
from gust.cli.workers import PLATFORMS, layers_for


class Cloud:
    """CloudFormation with the template of the stack, STS, and S3 where everything has been uploaded already."""

    class meta:  # noqa: N801  as boto3 calls it
        region_name = "eu-west-1"

    def __init__(self, keys: dict[str, str]) -> None:
        resources = {
            name: {"Properties": {"ContentUri": {"Bucket": "artifacts", "Key": key}}} for name, key in keys.items()
        }
        self.template: Any = {"Resources": resources}
        self.asked_for: list[str] = []

    def __call__(self, service: str) -> Any:
        return self

    def get_template(self, **_: Any) -> Any:
        return {"TemplateBody": self.template}

    def get_caller_identity(self) -> Any:
        return {"Account": "123456789012"}

    def head_bucket(self, **_: Any) -> Any:
        return {}

    def head_object(self, **asked: Any) -> Any:
        self.asked_for.append(asked["Key"])
        return {"Metadata": {}, "ContentLength": 1}


@pytest.fixture(scope="module")
def of_stack() -> dict[str, str]:
    return {layer.resource: layer.key for layer in artifacts.layers_of_a_worker(ROOT, "")}


def test_workers_on_the_stacks_processors_have_its_layers(of_stack: dict[str, str]) -> None:
    cloud = Cloud(of_stack)
    assert set(layers_for(cloud, "gust", "arm64", print).values()) == {""}
    assert cloud.asked_for == []


def test_others_have_layers_of_their_own_under_names_of_their_own(of_stack: dict[str, str]) -> None:
    cloud = Cloud(of_stack)
    given = layers_for(cloud, "gust", "x86_64", print)
    assert given["LayersBucket"] == "gust-artifacts-123456789012-eu-west-1"
    assert [given["RuntimeLayerKey"], given["AirflowLayerKey"]] == cloud.asked_for
    assert not set(cloud.asked_for) & set(of_stack.values())


def test_another_version_than_the_stacks_is_refused(of_stack: dict[str, str]) -> None:
    cloud = Cloud(of_stack | {"RuntimeLayer": "layers/runtime-older.zip"})
    with pytest.raises(AwsError, match=r"another version of Gust .* run \./gust deploy first"):
        layers_for(cloud, "gust", "x86_64", print)
    assert cloud.asked_for == []


def test_a_stack_that_sam_has_deployed_names_no_versions_and_is_believed(of_stack: dict[str, str]) -> None:
    cloud = Cloud({})
    cloud.template = "AWSTemplateFormatVersion: 2010-09-09"
    assert layers_for(cloud, "gust", "x86_64", print)["RuntimeLayerKey"].startswith("layers/runtime-")


def test_a_layer_is_built_for_the_platform_that_its_name_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same name as `tests/aws_like` builds and runs on a machine of that kind."""
    monkeypatch.setenv("LAYER_PLATFORM", "x86_64-manylinux_2_28")
    assert PLATFORMS["x86_64"] is not None
    built_here = artifacts.made_of(ROOT, "b", artifacts.source_template(ROOT)).packages
    keys = {package.key for package in built_here}
    assert {layer.key for layer in artifacts.layers_of_a_worker(ROOT, PLATFORMS["x86_64"])} <= keys
