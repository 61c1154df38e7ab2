"""Stacks for system tests: one for all that do not mind company, and stacks of one's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.system.local_gust import LocalGust

TEAM_A: Final = "arn:aws:iam::000000000000:role/teams/gust-team-a"
"""The role that the shared stack's access document gives to the DAG files in `team_a/`. It keeps the queue `payroll` for
those in `payroll/`."""
TEAM_B: Final = "arn:aws:iam::000000000000:role/teams/gust-team-b"
"""Likewise for `team_b/`; but the stack may not assume it."""


@pytest.fixture(scope="session")
def gust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGust]:
    """A running local stack with an empty DAG folder, shared by the session: use DAG ids of your own."""
    home = tmp_path_factory.mktemp("gust")
    parameters = {"AccessParameter": "/gust/access", "TaskRoleArns": TEAM_A}
    stack = LocalGust(home / "data", home / "dags", parameters=parameters, means_to_refuse=TEAM_B)
    stack.start()
    document = json.dumps(
        {
            "tasks": [{"path": f"team_{name}/*", "role": role} for name, role in (("a", TEAM_A), ("b", TEAM_B))],
            "queues": [{"queue": "payroll", "path": "payroll/*"}],
        }
    )
    stack.stack.client("ssm").put_parameter(Name="/gust/access", Type="String", Value=document)
    yield stack
    stack.stop()


@pytest.fixture
def own_gust(tmp_path: Path) -> Iterator[LocalGust]:
    """A stack for one test, not started: for those that kill it, or need it as nobody has touched it."""
    stack = LocalGust(tmp_path / "data", tmp_path / "dags")
    yield stack
    if hasattr(stack, "stack"):
        stack.stop()
