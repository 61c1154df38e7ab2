"""Airflow's own example DAGs, run on the local stack and compared with real Airflow's results."""

from pathlib import Path

import pytest

from gust.local.stack import running
from tests.environment import of_a_user
from tests.oracle import wheel
from tests.oracle.drive import ApiClient, all_dag_ids, await_dags, import_errors, run_all
from tests.oracle.golden import Golden
from tests.oracle.server import ROOT
from tests.part import part_of

GOLDEN = Golden.load(Path(__file__).parent / "wheel_examples.json")

ALONE = ("example_", "latest_only", "tutorial")
"""Examples about anything but assets have ids that begin so; no other example's outcome hangs on theirs."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The API of a stack of its own over the wheel's examples."""
    dags = tmp_path_factory.mktemp("dags")
    wheel.prepare(dags)
    data = tmp_path_factory.mktemp("data")
    with running(root=ROOT, data=data, dags=dags, paused=True, environment=of_a_user()) as stack:
        client = ApiClient(stack.url)
        await_dags(client, GOLDEN.runs)
        yield client
        client.close()


@pytest.fixture(scope="module")
def looked_at(pytestconfig):
    """The DAGs that run: all; among all tiers those that share assets, and a third of the others (`tests.part`)."""
    alone = [dag_id for dag_id in sorted(GOLDEN.runs) if dag_id.startswith(ALONE) and "asset" not in dag_id]
    code = ("shared/gust/scheduling", "shared/gust/services", "shared/gust/airflow_bridge")
    return GOLDEN.runs.keys() - set(alone) | set(part_of(alone, pytestconfig, 3, *code))


@pytest.fixture(scope="module")
def runs(client, looked_at):
    return run_all(client, wheel.plan(looked_at), say=print, keep_going=True)


def test_every_file_is_imported(client):
    assert import_errors(client) == {}


def test_there_are_the_same_dags(client):
    assert all_dag_ids(client) == sorted(GOLDEN.runs)


@pytest.mark.parametrize("dag_id", sorted(GOLDEN.runs))
def test_it_ends_as_on_airflow(dag_id, runs, looked_at):
    if dag_id not in looked_at:
        pytest.skip("of another part of the DAGs")
    assert GOLDEN.differences(dag_id, runs[dag_id]) == []
