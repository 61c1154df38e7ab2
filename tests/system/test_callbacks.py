"""Everything that a run may call or tell, through every real part: the lines stand in the task log group."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from tests.system.local_gust import PATIENCE, LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LISTENER = """
    from airflow.listeners import hookimpl
    from airflow.plugins_manager import AirflowPlugin

    class Listener:
        @hookimpl
        def on_dag_run_running(self, dag_run, msg):
            print("called listener running", dag_run.run_id, msg)

        @hookimpl
        def on_dag_run_success(self, dag_run, msg):
            print("called listener success", dag_run.run_id, msg)

        @hookimpl
        def on_dag_run_failed(self, dag_run, msg):
            print("called listener failed", dag_run.run_id, msg)

        @hookimpl
        def on_task_instance_success(self, previous_state, task_instance):
            print("called listener ti", task_instance.task_id)

    class Listening(AirflowPlugin):
        name = "listening"
        listeners = [Listener()]

    async def late(context):
        print("called deadline async", context["dag_run"]["dag_run_id"])
"""

LOUD = """
    import os
    import time
    from datetime import timedelta
    from airflow.sdk import DAG, AsyncCallback, BaseNotifier, DeadlineAlert, DeadlineReference, SyncCallback, task

    def say(what):
        def callback(context):
            print("called", what, context["task_instance"].task_id, context["task_instance"].try_number)
        return callback

    def dag_said(context):
        print("called dag", context["run_id"], context["reason"], context["ti"].task_id)

    def late(context):
        print("called deadline sync", context["dag_run"]["dag_run_id"])

    class Tell(BaseNotifier):
        template_fields = ("text",)

        def __init__(self, text):
            super().__init__()
            self.text = text

        def notify(self, context):
            print("called notifier", self.text)

    KINDS = ("execute", "success", "failure", "retry", "skipped")
    ALL = {f"on_{kind}_callback": [lambda context: 1 / 0, say(kind)] for kind in KINDS}

    with DAG(
        "loud",
        on_success_callback=[dag_said, Tell("{{ run_id }}")],
        on_failure_callback=dag_said,
        deadline=[
            DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=3), SyncCallback(late)),
            DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=3), AsyncCallback("listening.late")),
            DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=3), SyncCallback(late), name="far"),
        ],
    ):
        @task(retries=1, retry_delay=timedelta(seconds=1), **ALL)
        def dies(**context):
            if context["ti"].try_number == 1:
                os._exit(9)
            time.sleep(4)  # beyond the deadline, however fast all else goes
            if context["dag_run"].conf.get("fails"):
                raise ValueError("on purpose")

        dies()
"""


def called(gust: LocalGust) -> Counter[str]:
    """What was printed with `called` before it, and how often."""
    client = gust.stack.client("logs")
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=gust.stack.outputs["TaskLogGroup"])
    lines = (json.loads(event["message"]).get("event", "") for page in pages for event in page["events"])
    return Counter(str(line).removeprefix("called ") for line in lines if str(line).startswith("called "))


def await_called(gust: LocalGust, wanted: dict[str, int], *, within: float = PATIENCE) -> None:
    until = time.monotonic() + within
    while (seen := called(gust)) != wanted and time.monotonic() < until:
        time.sleep(0.5)
    assert seen == wanted


def test_all_callbacks_of_a_run(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.upload("plugins/listening.py", LISTENER)
    own_gust.upload("loud.py", LOUD)
    own_gust.await_dag("loud")

    run_id = own_gust.trigger("loud", run_id="well")
    own_gust.await_state("loud", run_id, "success")
    wanted = {
        "execute dies 1": 1,
        "retry dies 1": 1,
        "execute dies 2": 1,
        "success dies 2": 1,
        "dag well success dies": 1,
        "notifier well": 1,
        "listener running well started": 1,
        "listener ti dies": 1,
        "listener success well success": 1,
        "deadline sync well": 1,
        "deadline async well": 1,
    }
    await_called(own_gust, wanted)

    run_id = own_gust.trigger("loud", run_id="badly", conf={"fails": True})
    own_gust.await_state("loud", run_id, "failed")
    wanted |= {
        "execute dies 1": 2,
        "retry dies 1": 2,
        "execute dies 2": 2,
        "failure dies 2": 1,
        "dag badly task_failure dies": 1,
        "listener running badly started": 1,
        "listener failed badly task_failure": 1,
        "deadline sync badly": 1,
        "deadline async badly": 1,
    }
    await_called(own_gust, wanted)
