"""Our own DAGs, a file for each feature of Airflow's scheduling, compared with real Airflow's results."""

from dataclasses import replace
from pathlib import Path

import pytest

from gust.local.stack import running
from tests.environment import of_a_user
from tests.oracle import features
from tests.oracle.drive import ApiClient, all_dag_ids, await_dags, import_errors, run_all
from tests.oracle.golden import Golden, dag_of
from tests.oracle.server import ROOT
from tests.part import part_of

GOLDEN = Golden.load(Path(__file__).parent / "features.json")
DAG_IDS = GOLDEN.about["dags"]
TOGETHER = {"subclassing.py": "triggering.py"}
"""A file → the file whose DAGs it triggers. The DAGs of all other files need those of their own file alone."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The API of a stack of its own over these DAGs."""
    dags = tmp_path_factory.mktemp("dags")
    features.prepare(dags)
    data = tmp_path_factory.mktemp("data")
    with running(root=ROOT, data=data, dags=dags, paused=True, environment=of_a_user()) as stack:
        client = ApiClient(stack.url)
        await_dags(client, DAG_IDS)
        yield client
        client.close()


@pytest.fixture(scope="module")
def looked_at(client, pytestconfig):
    """The DAGs that run: all; among all tiers those of a quarter of the files (`tests.part`)."""
    files = {
        row["dag_id"]: TOGETHER.get(row["relative_fileloc"], row["relative_fileloc"])
        for row in client.pages("/api/v2/dags", "dags")
    }
    part = part_of(
        sorted(set(files.values())),
        pytestconfig,
        4,
        "shared/gust/scheduling",
        "shared/gust/services",
        "shared/gust/airflow_bridge",
        "tests/system/dags",
    )
    return {dag_id for dag_id, file in files.items() if file in part}


@pytest.fixture(scope="module")
def runs(client, looked_at):
    # Some wait for several things one after the other, and all of them for a place: a busy machine takes its time.
    plan = replace(features.plan(client, at_once=24), timeout=600).of(looked_at.__contains__)
    return run_all(client, plan, say=print, keep_going=True)


def test_every_file_is_imported(client):
    assert import_errors(client) == {}


def test_there_are_the_same_dags(client):
    assert all_dag_ids(client) == DAG_IDS


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_there_are_the_same_runs(dag_id, runs, looked_at):
    if dag_id not in looked_at:
        pytest.skip("of another part of the files")
    assert sorted(name for name in runs if dag_of(name) == dag_id) == GOLDEN.runs_of(dag_id)


@pytest.mark.parametrize("name", sorted(GOLDEN.runs))
def test_it_ends_as_on_airflow(name, runs, looked_at):
    if dag_of(name) not in looked_at:
        pytest.skip("of another part of the files")
    if name not in runs:
        pytest.fail("there is no such run")
    assert GOLDEN.differences(name, runs[name]) == []
