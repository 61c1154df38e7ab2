"""Stacks to break: the shared one of the system tests, and the command itself with all its processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.commanded import CommandedGust
from tests.contract.conftest import aws, clock, dynamodb, measured
from tests.system.conftest import gust

__all__ = ["aws", "clock", "commanded", "dynamodb", "gust", "measured"]


@pytest.fixture
def commanded(tmp_path: Path) -> Iterator[CommandedGust]:
    """Not started yet. Whatever the test leaves is killed."""
    stack = CommandedGust(tmp_path / "data", tmp_path / "dags")
    yield stack
    if hasattr(stack, "process"):
        stack.kill()
