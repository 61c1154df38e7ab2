"""Unreadable messages, in every queue and in the stream, do not delay readable ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POISON = [
    "",
    "{",
    "null",
    "[]",
    "\u2622",
    '{"kind": "task"}',
    '{"kind": "wake_run", "dag_id": null}',
    json.dumps({"Records": [{"s3": None}]}),
    json.dumps({"kind": "task", "token": "x" * 200_000}),
]
QUEUES = ["TasksQueue", "TriggersQueue", "WakesQueue"]

BROKEN_ITEMS = [
    {"pk": "RUN#", "sk": "#RUN", "state": "queued"},
    {"pk": "RUN#only_a_dag", "sk": "#RUN", "state": "queued"},
    {"pk": "RUN#ghost#run", "sk": "#RUN", "state": "queued"},
    {"pk": "RUN#ghost#run", "sk": "#TI#no_map_index", "edge": "succeed"},
    {"pk": "RUN#ghost#another", "sk": "#TI#task#-1", "edge": "succeed", "state": "a state of mind"},
]
"""They pass the stream's filter and are no items of ours."""

EVERY_QUEUE = """
    from datetime import datetime, timedelta
    from airflow.sdk import dag, task, get_current_context
    from airflow.providers.standard.sensors.filesystem import FileSensor

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def every_queue():
        @task(retries=1, retry_delay=timedelta(seconds=2))
        def woken():
            if get_current_context()["ti"].try_number == 1:
                raise RuntimeError("once")

        triggered = FileSensor(
            task_id="triggered", filepath="{{{{ dag_run.conf['file'] }}}}", fs_conn_id="fs_root", deferrable=True,
            poke_interval=1,
        )
        woken() >> triggered

    every_queue()
"""


@pytest.fixture
def poisoned(gust: LocalGust, monkeypatch: pytest.MonkeyPatch) -> LocalGust:
    gust.upload("every_queue.py", EVERY_QUEUE.replace("{{{{", "{{").replace("}}}}", "}}"))
    gust.await_dag("every_queue")
    gust.services().store.put_setting("connections", "fs_root", {"conn_type": "fs", "extra": '{"path": "/"}'})
    sqs, dynamodb = gust.stack.client("sqs"), gust.stack.client("dynamodb")
    for name in QUEUES:
        url = gust.queue_url(name)
        for body in POISON:
            sqs.send_message(QueueUrl=url, MessageBody=body or " ")
    for item in BROKEN_ITEMS:
        typed = {name: {"S": value} for name, value in item.items()}
        dynamodb.put_item(TableName=gust.stack.outputs["TableName"], Item=typed)
    return gust


def test_a_run_goes_its_way_through_poisoned_queues(poisoned: LocalGust, tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    run_id = poisoned.trigger("every_queue", conf={"file": str(tmp_path / "here")})
    poisoned.await_state("every_queue", run_id, "success", within=200)
    assert [each["state"] for each in poisoned.tries("every_queue", run_id, "woken")] == ["failed", "success"]

    poisoned.upload("after_the_poison.py", "from airflow.sdk import DAG\nwith DAG('after_the_poison'): pass\n")
    poisoned.await_dag("after_the_poison")

    health = poisoned.api.call("GET", "/api/v2/monitor/health")
    assert {part["status"] for part in health.values()} == {"healthy"}
