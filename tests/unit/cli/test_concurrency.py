"""The warning of `./gust deploy` for an account that runs few functions at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from gust.cli import concurrency

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("limit", [10, 50, 100, 399])
def test_a_small_account_gets_a_part_of_what_it_has(limit: int) -> None:
    fitting = concurrency.fitting(limit)
    tasks, triggers = int(fitting["WorkerConcurrency"]), int(fitting["TriggererConcurrency"])
    assert min(tasks, triggers) >= 2
    assert tasks + triggers <= limit * 6 // 10


def test_an_account_with_room_needs_nothing_else() -> None:
    assert concurrency.fitting(1000) == {}


def test_the_template_has_these_defaults() -> None:
    parameters = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]
    assert parameters["WorkerConcurrency"]["Default"] == concurrency.FOR_TASKS
    assert parameters["TriggererConcurrency"]["Default"] == concurrency.FOR_TRIGGERS
