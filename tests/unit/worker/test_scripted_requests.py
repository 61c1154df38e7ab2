"""The workers of `benches.paths` make the requests of real ones: of each path, in order, with what they carry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benches.paths import PURE_WAIT, Script, event_of
from gust.model.asset import Asset
from gust.model.state import DagRunState
from gust.model.workload import TriggerWorkload
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

TRIGGER = """
import asyncio
from airflow.triggers.base import BaseTrigger, TriggerEvent

class Mine(BaseTrigger):
    def __init__(self, moment=None):
        super().__init__()

    def serialize(self):
        return "triggers_of_folder.Mine", {}

    async def run(self):
        await asyncio.sleep(30.0)
        yield TriggerEvent(1)
"""

DAGS = """
from datetime import datetime, timedelta, timezone
from airflow.sdk import DAG, Asset, BaseOperator, task
from airflow.sdk.bases.sensor import BaseSensorOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from triggers_of_folder import Mine

class Waits(BaseOperator):
    template_fields = ("what",)

    def __init__(self, what="", **kwargs):
        super().__init__(**kwargs)
        self.what = what

    def execute(self, context):
        at = datetime.now(timezone.utc) + timedelta(seconds=30)
        self.defer(trigger=Mine() if self.what == "polls" else DateTimeTrigger(moment=at), method_name="resume")

    def resume(self, context, event=None):
        pass

class Pokes(BaseSensorOperator):
    template_fields = ("what",)
    what = ""

    def poke(self, context):
        return context["task_reschedule_count"] > 0

with DAG("plain"):
    @task
    def task_00():
        pass
    task_00()

with DAG("mapped"):
    @task
    def many():
        return [0]

    @task
    def each(x):
        pass
    each.expand(x=many())

with DAG("polls"):
    Waits(task_id="task_00", what="polls")

with DAG("waits"):
    Waits(task_id="task_00")

with DAG("pokes"):
    Pokes(task_id="task_00", mode="reschedule", poke_interval=30)

with DAG("makes"):
    @task(outlets=[Asset("orders", "s3://lake/orders")])
    def task_00():
        pass
    task_00()

with DAG("calls", on_success_callback=lambda context: None):
    @task
    def task_00():
        pass
    task_00()
"""

FIRST = frozenset({"task_00"})
SCRIPTS = {
    "plain": Script(),
    "mapped": Script(gives={"many": 1}, takes={"each": "many"}),
    "polls": Script(defers=FIRST, trigger="triggers_of_folder.Mine"),
    "waits": Script(defers=FIRST, trigger=PURE_WAIT),
    "pokes": Script(pokes=FIRST),
    "makes": Script(outlets={"makes": ("orders",)}),
    "calls": Script(),
}


class Recorder(Whole):
    """Notes the requests. Fields that a worker sent alone, on a machine so busy that its task took more than a second, are
    noted with the report, as if it had carried them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.requests: list[str] = []
        self.at_work = ""
        self._were_sent_alone = False

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        if event["rawPath"].endswith("/rtif"):
            self._were_sent_alone = True
        else:
            is_told = event.get("carried") or (self._were_sent_alone and event["rawPath"].endswith("/state"))
            self.requests.append(told(event) + (" + rtif" if is_told else ""))
            self._were_sent_alone = self._were_sent_alone and not is_told
        answer = super().invoke(event)
        assert answer["statusCode"] < 300, answer
        return answer

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str,
        body: Any = None,
        carried: Any = None,
        query: str = "",
        **names: str,
    ) -> Any:
        event = event_of(method, path, token, body, names) | {"rawQueryString": query}
        if carried is not None:
            event["carried"] = event_of("PUT", "/task-instances/{id}/rtif", token, carried, {"id": self.at_work})
        return self.invoke(event)


def told(event: dict[str, Any]) -> str:
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", event["rawPath"].removeprefix("/execution"))
    path = re.sub(r"/xcoms/[^/]+/[^/]+", "/xcoms/DAG/RUN", path)
    return f"{event['requestContext']['http']['method']} {path}?{event.get('rawQueryString') or ''}"


def test_scripted_workers_ask_what_real_ones_ask(whole: Whole) -> None:
    world = Recorder(whole.root)
    world.upload(triggers_of_folder=TRIGGER, d=DAGS)
    world.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    for dag_id, script in SCRIPTS.items():
        real, scripted = played(world, dag_id, None), played(world, dag_id, script)
        assert scripted == real, dag_id


def played(world: Recorder, dag_id: str, script: Script | None) -> list[str]:
    """The requests of a run, by real workers or by a script."""
    world.requests = []
    key = world.trigger(dag_id, "real" if script is None else "scripted")
    for _ in range(4):
        advance(world.services, key)
        while world.queues.tasks or world.queues.callbacks or world.queues.triggers:
            if script is None:
                world.run_tasks()
                world.run_callbacks()
                world.run_triggers()
            else:
                run(world, script)
            advance(world.services, key)
        world.clock.advance(31)
    assert world.run(key).state is DagRunState.SUCCESS, dag_id
    return world.requests


def run(world: Recorder, script: Script) -> None:
    tasks, world.queues.tasks = world.queues.tasks, []
    callbacks, world.queues.callbacks = world.queues.callbacks, []
    triggers, world.queues.triggers = world.queues.triggers, []
    for workload in tasks:
        script.run(world, workload)
    for callback in callbacks:
        script.call(world, callback)
    for trigger, delay in triggers:
        world.clock.advance(delay)
        assert isinstance(trigger, TriggerWorkload)
        script.wait(world, trigger)
