"""Asset-triggered runs on the local stack, compared step by step with real Airflow's runs of the same story."""

import json

import pytest

from gust.local.stack import running
from tests.environment import of_a_user
from tests.oracle import asset_story
from tests.oracle.drive import ApiClient, all_dag_ids, await_dags, import_errors
from tests.oracle.server import ROOT

GOLDEN = json.loads(asset_story.GOLDEN.read_text())

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The story as the local stack has it, told until it ends."""
    dags = tmp_path_factory.mktemp("dags")
    asset_story.prepare(dags)
    with running(root=ROOT, data=tmp_path_factory.mktemp("data"), dags=dags, environment=of_a_user()) as stack:
        client = ApiClient(stack.url)
        await_dags(client, GOLDEN["about"]["dags"])
        assert import_errors(client) == {}
        assert all_dag_ids(client) == GOLDEN["about"]["dags"]
        yield asset_story.tell(client, silence=2, expected=GOLDEN["story"], say=print)
        client.close()


def test_the_story_is_the_recorded_one():
    assert [step.name for step in asset_story.STORY] == sorted(
        GOLDEN["story"], key=[step.name for step in asset_story.STORY].index
    )


RUNS_OTHERWISE = {"one run at a time": [1, 2, 3], "what waits goes with the next": [4]}
"""Step → the events of its runs, together. Airflow makes no run of the event that comes last while the only run that may be
is busy; it waits for the next one (docs/airflow-differences.md). How many runs there are hangs on how long each takes."""


@pytest.mark.parametrize("step", asset_story.STORY, ids=lambda step: step.name)
def test_it_goes_as_on_airflow(step, told):
    if step.name in RUNS_OTHERWISE:
        runs = told[step.name]["one_at_a_time"]["runs"]
        assert [event["extra"]["n"] for run in runs for event in run["events"]] == RUNS_OTHERWISE[step.name]
        assert {run["state"] for run in runs} == {"success"}
        return
    answers, found = GOLDEN["story"][step.name], told[step.name]
    assert sorted(found) == sorted(answers)
    assert {name: seen for name, seen in found.items() if seen not in answers[name]} == {}
