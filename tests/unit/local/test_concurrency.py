"""The warning of `./gust deploy` for an account that runs few functions at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from gust.cli import concurrency

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("limit", [10, 50, 100, 399])
def test_a_small_account_is_told_what_it_can_have(limit: int) -> None:
    said = concurrency.advice(limit, settings="--guided")
    assert said is not None
    assert f"at most {limit} functions" in said
    numbers = dict(part.split("=") for part in said.split() if "Concurrency=" in part)
    tasks, triggers = int(numbers["WorkerConcurrency"]), int(numbers["TriggererConcurrency"])
    assert min(tasks, triggers) >= 2
    assert tasks + triggers <= limit * 6 // 10


def test_an_account_with_room_is_told_nothing() -> None:
    assert concurrency.advice(1000, settings="") is None


def test_who_has_said_how_many_is_told_nothing() -> None:
    assert concurrency.advice(10, settings="--parameter-overrides WorkerConcurrency=4") is None


def test_the_template_has_these_defaults() -> None:
    parameters = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]
    assert parameters["WorkerConcurrency"]["Default"] == concurrency.FOR_TASKS
    assert parameters["TriggererConcurrency"]["Default"] == concurrency.FOR_TRIGGERS


@pytest.mark.parametrize(
    ("arguments", "region"),
    [
        (["--region", "eu-west-1"], "eu-west-1"),
        (["--guided", "--region=eu-west-2"], "eu-west-2"),
        (["--region"], ""),
        ([], None),
    ],
)
def test_the_region_is_the_one_that_is_deployed_to(arguments: list[str], region: str | None) -> None:
    assert concurrency.region_of(arguments) == region
