"""Our own examples, AWS included, run on the local stack and compared with real Airflow's results."""

from pathlib import Path

import pytest

from gust.local.stack import running
from tests.environment import of_a_user
from tests.oracle import ours
from tests.oracle.drive import ApiClient, all_dag_ids, await_dags, import_errors, run_all
from tests.oracle.golden import Golden
from tests.oracle.server import ROOT

GOLDEN = Golden.load(Path(__file__).parent / "golden" / "examples.json")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The API of a stack of its own over our examples, with the AWS resources they use."""
    data = tmp_path_factory.mktemp("data")
    with running(root=ROOT, data=data, dags=ROOT / "examples" / "dags", environment=of_a_user()) as stack:
        ours.create_resources(stack.client)
        client = ApiClient(stack.url)
        await_dags(client, GOLDEN.runs)
        yield client
        client.close()


@pytest.fixture(scope="module")
def runs(client):
    return run_all(client, ours.plan(GOLDEN.runs), say=print, keep_going=True)


def test_every_file_is_imported(client):
    assert import_errors(client) == {}
    assert all_dag_ids(client) == sorted(GOLDEN.runs)


def test_what_needs_aws_resources_starts_paused(client):
    paused = {row["dag_id"] for row in client.pages("/api/v2/dags", "dags") if row["is_paused"]}

    assert paused >= {"weekday_settlement", "landing_zone"}


@pytest.mark.parametrize("dag_id", sorted(GOLDEN.runs))
def test_it_ends_as_on_airflow(dag_id, runs):
    assert GOLDEN.differences(dag_id, runs[dag_id]) == []
