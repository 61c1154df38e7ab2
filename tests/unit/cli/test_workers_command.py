"""`./gust workers`: what it refuses before it asks AWS anything, and how it removes a group."""

from __future__ import annotations

from typing import Any

import pytest

from gust.aws.worker_groups import WorkerGroupError, find_deployment, stack_name
from gust.cli.__main__ import _parser
from gust.cli.workers import add
from tests.unit.cli.cloud import refusal


def no_aws(service: str) -> Any:
    raise AssertionError(f"AWS was asked for {service}")


def test_a_size_of_workers_elsewhere_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = _parser().parse_args(["workers", "add", "onprem", "--elsewhere", "--memory", "4096"])
    assert add(no_aws, options) == 2
    assert "workers elsewhere have the size of their host" in capsys.readouterr().err


@pytest.mark.parametrize("queue", ["default", "fargate", "", "two words", "-x", "ü", "q" * 60])
def test_a_queue_that_no_group_can_have_is_refused(queue: str) -> None:
    with pytest.raises(WorkerGroupError):
        stack_name("gust", queue)


@pytest.mark.parametrize(
    ("queue", "name"), [("large", "gust-workers-large"), ("high_mem.v2", "gust-workers-high-mem-v2")]
)
def test_a_groups_stack_is_named_after_its_queue(queue: str, name: str) -> None:
    assert stack_name("gust", queue) == name


def test_without_a_stack_there_are_no_groups() -> None:
    class NoFunctions:
        def get_function(self, **_: Any) -> Any:
            raise refusal("ResourceNotFoundException")

    with pytest.raises(WorkerGroupError, match="There is no stack 'gust' of Gust here"):
        find_deployment(lambda _: NoFunctions(), "gust")
