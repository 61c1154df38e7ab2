"""A file that a watcher sees makes a run, and listeners are told of it, through every real part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.local_gust import PATIENCE, LocalGust
from tests.system.test_callbacks import called

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLUGIN = """
    import asyncio
    from pathlib import Path
    from airflow.listeners import hookimpl
    from airflow.plugins_manager import AirflowPlugin
    from airflow.triggers.base import BaseEventTrigger, TriggerEvent

    class Inbox(BaseEventTrigger):
        def __init__(self, folder):
            super().__init__()
            self.folder = folder

        def serialize(self):
            return "inbox.Inbox", {"folder": self.folder}

        async def run(self):
            while True:
                for path in sorted(Path(self.folder).glob("*")):
                    path.unlink()
                    yield TriggerEvent({"file": path.name})
                await asyncio.sleep(5)

    class Listener:
        @hookimpl
        def on_asset_created(self, asset):
            print("called created", asset.name)

        @hookimpl
        def on_asset_event_emitted(self, asset_event):
            print("called emitted", asset_event.asset.name, asset_event.extra["payload"]["file"])

        @hookimpl
        def on_new_dag_import_error(self, filename, stacktrace):
            print("called broken", filename.rsplit("/", 1)[1], "ZeroDivisionError" in stacktrace)

    class Listening(AirflowPlugin):
        name = "listening"
        listeners = [Listener()]
"""

DAG = """
    from airflow.sdk import DAG, Asset, AssetWatcher, task
    from airflow.plugins_manager import get_plugin_info  # the plugins' folder is on the path once they are looked up
    from inbox import Inbox

    letters = Asset("letters", watchers=[AssetWatcher(name="inbox", trigger=Inbox({folder!r}))])
    with DAG("reader", schedule=[letters]):
        @task
        def read(*, triggering_asset_events):
            return [event.extra["payload"]["file"] for event in triggering_asset_events[letters]]
        read()
"""


def runs(gust: LocalGust) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gust.api.call("GET", "/api/v2/dags/reader/dagRuns")["dag_runs"]
    return found


def await_runs(gust: LocalGust, number: int, *, within: float = PATIENCE) -> list[dict[str, Any]]:
    until = time.monotonic() + within
    while len(seen := runs(gust)) < number and time.monotonic() < until:
        time.sleep(0.5)
    assert len(seen) == number
    return seen


def test_a_watcher_and_its_listeners(own_gust: LocalGust, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    own_gust.start()
    own_gust.upload("plugins/inbox.py", PLUGIN)
    own_gust.upload("reader.py", DAG.format(folder=str(folder)))
    own_gust.await_dag("reader")
    own_gust.await_plugin("listening")
    own_gust.upload("broken.py", "from airflow.sdk import dag\n1 / 0")

    (folder / "first").touch()
    (run,) = await_runs(own_gust, 1)
    own_gust.await_state("reader", run["dag_run_id"], "success")
    (folder / "second").touch()
    await_runs(own_gust, 2)

    wanted = {"created letters": 1, "emitted letters first": 1, "emitted letters second": 1, "broken broken.py True": 1}
    until = time.monotonic() + PATIENCE
    while (seen := called(own_gust)) != wanted and time.monotonic() < until:
        time.sleep(0.5)
    assert seen == wanted

    own_gust.pause("reader")
    time.sleep(12)  # two polls: nothing tells of a watcher that has stopped
    (folder / "unseen").touch()
    own_gust.pause("reader", paused=False)
    await_runs(own_gust, 3)
