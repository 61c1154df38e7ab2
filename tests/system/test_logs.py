"""Whole logs of tries on the local stack, compared line by line with real Airflow's logs of the same tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gust.local.stack import running
from tests.environment import of_a_user
from tests.oracle import logs
from tests.oracle.drive import ApiClient, await_dags, import_errors
from tests.oracle.logs import Line
from tests.oracle.server import ROOT

GOLDEN: dict[str, list[Line]] = json.loads(logs.GOLDEN.read_text())["logs"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Line]]]:
    """Every log of the same DAGs on a local stack of their own."""
    home = tmp_path_factory.mktemp("logs")
    dags = home / "dags"
    logs.prepare(dags)
    around = of_a_user(HOME=str(home))
    with running(root=ROOT, data=home / "data", dags=dags, environment=around, paused=True) as stack:
        client = ApiClient(stack.url)
        await_dags(client, {name.partition("/")[0] for name in GOLDEN})
        assert import_errors(client) == {}
        yield logs.logs_of(client, dags)
        client.close()


def test_there_are_the_same_tries(ours: dict[str, list[Line]]) -> None:
    assert sorted(ours) == sorted(GOLDEN)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_log_is_airflows(ours: dict[str, list[Line]], name: str) -> None:
    assert logs.told(ours[name]) == logs.told(GOLDEN[name])
