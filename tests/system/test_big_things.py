"""Large results, long logs, and logs that are read while they are written."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gust.model import bucket_keys
from gust.model.keys import DagRunKey
from gust.store import keyspace
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MB = 2**20

BIG = """
    from datetime import datetime
    from airflow.sdk import dag, task

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def big():
        @task
        def makes():
            return "0123456789abcde\\u00e9" * (46 * 2**16)  # 49 MB of UTF-8

        @task
        def takes(text):
            return [len(text), text[-1], text[:3]]

        takes(makes())

        @task
        def makes_too_much():
            return "x" * (51 * 2**20)

        makes_too_much()

    big()
"""


def test_an_xcom_of_fifty_megabytes_goes_from_task_to_task(gust: LocalGust) -> None:
    gust.upload("big.py", BIG)
    gust.await_dag("big")
    run_id = gust.trigger("big")
    gust.await_state("big", run_id, "failed", within=300)

    assert gust.states("big", run_id) == {"makes": "success", "takes": "success", "makes_too_much": "failed"}
    assert gust.xcom("big", run_id, "takes") == [46 * MB, "\u00e9", "012"]
    refusal = gust.log_lines("big", run_id, "makes_too_much")
    assert "50 MB" in str(refusal), "the person learns why"


FAR = """
    import json
    from asgiref.sync import sync_to_async
    from airflow.sdk import DAG, BaseOperator, task
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.triggers.base import BaseTrigger, TaskSuccessEvent

    class Hands(BaseTrigger):
        def __init__(self, run_id):
            super().__init__()
            self.run_id = run_id

        def serialize(self):
            return "far_and_big.Hands", {"run_id": self.run_id}

        async def run(self):
            text = await sync_to_async(BaseXCom.get_one)(
                key="return_value", dag_id="far_and_big", task_id="passes_on", run_id=self.run_id
            )
            yield TaskSuccessEvent(xcoms={"return_value": text})

    class HandsOn(BaseOperator):
        def execute(self, context):
            self.defer(trigger=Hands(context["run_id"]), method_name="execute")

    with DAG("far_and_big", schedule=None):
        @task
        def makes():
            return "0123456789abcdef" * (3 * 2**16)

        @task(queue="fargate")
        def passes_on(text):
            return text

        @task
        def takes(text):
            return len(json.loads(text))  # Airflow, too, stores an XCom of a trigger as JSON in a text

        hands_on = HandsOn(task_id="hands_on")
        passes_on(makes()) >> hands_on
        takes(hands_on.output)
"""


def test_three_megabytes_go_through_a_container_and_a_trigger_and_leave_with_their_run(gust: LocalGust) -> None:
    gust.upload("far_and_big.py", FAR)
    gust.await_dag("far_and_big")
    run_id = gust.trigger("far_and_big")
    gust.await_state("far_and_big", run_id, "success", within=120)
    assert gust.xcom("far_and_big", run_id, "takes") == 3 * MB

    xcoms = f"/api/v2/dags/far_and_big/dagRuns/{run_id}/taskInstances/takes/xcomEntries"
    gust.api.call("POST", xcoms, body={"key": "by_hand", "value": "x" * MB})
    assert gust.xcom("far_and_big", run_id, "takes", key="by_hand") == "x" * MB
    assert len(kept_beside(gust, run_id)) == 3, "the text of two tasks, the trigger's, and what a person wrote"
    gust.api.call("DELETE", f"/api/v2/dags/far_and_big/dagRuns/{run_id}")
    assert kept_beside(gust, run_id) == {}


def kept_beside(gust: LocalGust, run_id: str) -> dict[str, str]:
    """The run's documents in the bucket."""
    return gust.services().objects.list(bucket_keys.documents(keyspace.run_partition(DagRunKey("far_and_big", run_id))))


AWAITS = """
    from airflow.sdk import DAG, Asset, task

    first, second = Asset("first_of_big"), Asset("second_of_big")

    with DAG("awaits_big_events", schedule=[first, second]):
        @task
        def reads(triggering_asset_events=None):
            return sorted(len(event.extra["text"]) for asset in (first, second) for event in triggering_asset_events[asset])

        reads()
"""


def test_a_run_is_made_of_more_events_than_an_item_holds(gust: LocalGust) -> None:
    gust.upload("awaits_big_events.py", AWAITS)
    gust.await_dag("awaits_big_events")
    assets = {row["name"]: row["id"] for row in gust.api.pages("/api/v2/assets", "assets")}
    for name in ("first_of_big", "first_of_big", "second_of_big"):
        body = {"asset_id": assets[name], "extra": {"text": "x" * 150_000}}
        gust.api.call("POST", "/api/v2/assets/events", body=body)

    (run,) = gust.await_runs("awaits_big_events", 1, run_type="asset_triggered")
    gust.await_state("awaits_big_events", run["dag_run_id"], "success")
    assert gust.xcom("awaits_big_events", run["dag_run_id"], "reads") == [150_000] * 3


TALKATIVE = """
    import time
    from datetime import datetime
    from pathlib import Path
    from airflow.sdk import dag, task, get_current_context

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def talkative():
        @task
        def floods():
            for number in range(20_000):
                print(f"{number:06} " + "x" * 500)

        @task
        def waits():
            folder = Path(get_current_context()["dag_run"].conf["folder"])
            print("said before anything else")
            while not (folder / "go on").exists():
                time.sleep(0.05)
            print("said at last")

        floods()
        waits()

    talkative()
"""


def test_a_log_of_ten_megabytes_is_whole_and_in_order(gust: LocalGust, tmp_path: Path) -> None:
    (tmp_path / "go on").touch()
    gust.upload("talkative.py", TALKATIVE)
    gust.await_dag("talkative")
    run_id = gust.trigger("talkative", conf={"folder": str(tmp_path)})
    gust.await_state("talkative", run_id, "success", within=200)

    started = time.monotonic()
    lines = [line["event"] for line in gust.log_lines("talkative", run_id, "floods") if "xxx" in line["event"]]
    print(f"10 MB of log read in {time.monotonic() - started:.1f} s")
    assert [int(line[:6]) for line in lines] == list(range(20_000))


def test_a_log_is_read_while_its_task_runs(gust: LocalGust, tmp_path: Path) -> None:
    gust.upload("talkative.py", TALKATIVE)
    gust.await_dag("talkative")
    run_id = gust.trigger("talkative", conf={"folder": str(tmp_path)})

    gust.await_state("talkative", run_id, "running", task="waits")
    so_far = gust.await_log("talkative", run_id, "waits", "said before anything else")
    assert gust.task_instance("talkative", run_id, "waits")["state"] == "running"
    assert "said at last" not in so_far
    (tmp_path / "go on").touch()
    gust.await_state("talkative", run_id, "success", within=200)
    whole = gust.await_log("talkative", run_id, "waits", "said at last")
    assert whole.count("said before anything else") == 1
