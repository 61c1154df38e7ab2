"""Watchers of assets, from the DAG file to the runs that their events make; the triggers run in real children."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from gust.model.asset import Asset, AssetUpdate
from gust.model.dag import Dag
from gust.model.history_query import AssetEventSource
from gust.model.workload import WakeWatcher, WatcherWorkload
from gust.services.assets.asset_references import change_references
from gust.services.assets.watchers import change_watchers, look_after_watcher, wake_watchers
from gust.services.scheduler.tick import tick
from gust.store import items
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

TRIGGERS = """
import asyncio
from pathlib import Path
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

class Files(BaseEventTrigger):
    def __init__(self, folder, every=60.0):
        super().__init__()
        self.folder, self.every = folder, every
    def serialize(self):
        return "watch.Files", {"folder": self.folder, "every": self.every}
    async def run(self):
        while True:
            for path in sorted(Path(self.folder).glob("*")):
                name = path.name
                yield TriggerEvent({"file": name})
                path.unlink()
            await asyncio.sleep(self.every)

class Ticks(BaseEventTrigger):
    def serialize(self):
        return "watch.Ticks", {}
    async def run(self):
        number = 0
        while True:
            await asyncio.sleep(60)
            number += 1
            yield TriggerEvent(number)

class Counts(BaseEventTrigger):
    def serialize(self):
        return "watch.Counts", {}
    async def run(self):
        while True:
            seen = await self.asset_state_store.aget("seen") or 0
            await self.asset_state_store.aset("seen", seen + 1)
            yield TriggerEvent(seen)
            await asyncio.sleep(60)

class Large(BaseEventTrigger):
    def serialize(self):
        return "watch.Large", {}
    async def run(self):
        yield TriggerEvent("x" * 900_000)
        yield TriggerEvent("small")
        await asyncio.sleep(60)

class Breaks(BaseEventTrigger):
    def serialize(self):
        return "watch.Breaks", {}
    async def run(self):
        raise ValueError("no such queue")
        yield

class Shared(BaseEventTrigger):
    def __init__(self, prefix):
        super().__init__()
        self.prefix = prefix
    def serialize(self):
        return "watch.Shared", {"prefix": self.prefix}
    def shared_stream_key(self):
        return ("one",)
    @classmethod
    async def open_shared_stream(cls, kwargs):
        while True:
            for name in ("us-1", "eu-1"):
                yield name
            await asyncio.sleep(60)
    async def filter_shared_stream(self, stream):
        async for name in stream:
            if name.startswith(self.prefix):
                yield TriggerEvent(name)
    async def run(self):
        raise AssertionError("its stream is shared")
        yield
"""


def consumer(trigger: str, dag_id: str = "d", *, assets: str = "one", **_: str) -> str:
    named = ", ".join(
        f"Asset('{name}', watchers=[AssetWatcher(name='w', trigger={trigger})])" for name in assets.split()
    )
    return f"""
from airflow.sdk import DAG, Asset, AssetWatcher
from watch import Breaks, Counts, Files, Large, Shared, Ticks
with DAG('{dag_id}', schedule=[{named}]):
    pass
"""


def given(whole: Whole, trigger: str, dag_id: str = "d", *, assets: str = "one") -> None:
    whole.upload(watch=TRIGGERS, **{dag_id: consumer(trigger, dag_id, assets=assets)})
    for name in assets.split():
        whole.store.put_asset(Asset(name=name, uri=name))
    activate(whole, dag_id)


def activate(whole: Whole, dag_id: str = "d") -> None:
    """What `activate_bundle` does of it."""
    before = dag_of(whole, dag_id)
    spec = whole.specs[dag_id]
    change_references(whole.services, None, spec, at=whole.clock.now())
    change_watchers(whole.services, dag_id, None, spec, bundle_version=before.bundle_version)
    whole.store.put_dag(before, replace(before, has_watchers=bool(spec.watchers)))
    wake_watchers(whole.services, dag_of(whole, dag_id))
    wake(whole)


def dag_of(whole: Whole, dag_id: str = "d") -> Dag:
    dag = whole.store.get_dag(dag_id)
    assert dag is not None
    return dag


def set_paused(whole: Whole, is_paused: bool, dag_id: str = "d") -> None:
    dag = dag_of(whole, dag_id)
    whole.store.put_dag(dag, replace(dag, is_paused=is_paused))
    if not is_paused:
        wake_watchers(whole.services, dag_of(whole, dag_id))
        wake(whole)


def wake(whole: Whole) -> None:
    wakes, whole.queues.wakes = whole.queues.wakes, []
    for each, _ in wakes:
        if isinstance(each, WakeWatcher):
            look_after_watcher(whole.services, each.watcher_id)


def lives(whole: Whole, number: int) -> None:
    for _ in range(number):
        assert whole.queues.triggers, "it is neither running nor parked"
        whole.run_triggers()


def events(whole: Whole, asset: str = "one") -> list[object]:
    return [event.extra["payload"] for event in whole.store.list_asset_events(AssetEventSource(name=asset))]


def test_what_it_sees_becomes_events_and_it_goes_on_watching(whole: Whole, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a").touch()
    given(whole, f"Files({str(folder)!r})")
    lives(whole, 1)
    assert events(whole) == [{"file": "a"}]
    assert list(folder.glob("*")) == [], "what it does after an event is done"

    lives(whole, 2)
    (folder / "b").touch()
    (folder / "c").touch()
    lives(whole, 1)
    assert events(whole) == [{"file": "a"}, {"file": "b"}, {"file": "c"}]
    (stored, *_) = whole.store.list_asset_events(AssetEventSource(name="one"))
    assert stored.extra == {"from_trigger": True, "payload": {"file": "a"}}
    assert (stored.source_dag_id, stored.source_task_id) == (None, None)


def test_the_dag_waits_for_its_event(whole: Whole) -> None:
    given(whole, "Ticks()")
    lives(whole, 2)
    queue = whole.store.asset_queue("d")
    assert queue is not None
    assert events(whole) == [1]


def test_it_is_parked_at_its_sleeps_and_fires_once_for_each(whole: Whole) -> None:
    given(whole, "Ticks()")
    began = whole.clock.now()
    lives(whole, 4)
    assert events(whole) == [1, 1, 1]
    assert whole.clock.now() - began >= timedelta(minutes=3)


def test_it_remembers_in_the_state_store_of_its_asset(whole: Whole) -> None:
    given(whole, "Counts()")
    lives(whole, 3)
    assert events(whole) == [0, 1, 2]


def test_triggers_that_share_a_stream_each_get_their_part(whole: Whole) -> None:
    given(whole, "Shared('eu')")
    lives(whole, 1)
    assert events(whole) == ["eu-1"]


def test_one_that_breaks_is_started_again_after_a_while(whole: Whole) -> None:
    given(whole, "Breaks()")
    lives(whole, 1)
    ((workload, delay),) = whole.queues.triggers
    assert isinstance(workload, WatcherWorkload)
    assert 10 < delay <= 30, "of which the time that it took to say so has passed"
    assert whole.log.has("The watcher broke")
    assert events(whole) == []


def test_an_event_that_is_too_large_keeps_none_back(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_large(report_id: str, updates: Sequence[AssetUpdate]) -> None:
        for update in updates:
            items.document("extra", update.event.extra)
        put(report_id, updates)

    put = whole.store.put_asset_events
    monkeypatch.setattr(whole.store, "put_asset_events", refuse_large)
    given(whole, "Large()")
    lives(whole, 1)
    assert events(whole) == ["small"]
    assert whole.log.has("The event cannot be kept")


def test_dags_and_assets_that_name_the_same_trigger_share_it(whole: Whole) -> None:
    given(whole, "Ticks()", "d", assets="one two")
    given(whole, "Ticks()", "other", assets="one")
    assert len(whole.queues.triggers) == 1
    lives(whole, 2)
    assert (events(whole, "one"), events(whole, "two")) == ([1], [1])

    set_paused(whole, is_paused=True, dag_id="d")
    lives(whole, 1)
    assert (events(whole, "one"), events(whole, "two")) == ([1, 1], [1])


def test_it_rests_while_no_dag_is_active(whole: Whole) -> None:
    given(whole, "Ticks()")
    set_paused(whole, is_paused=True)
    lives(whole, 1)
    assert whole.queues.triggers == []
    (watcher,) = whole.store.list_watchers()
    assert watcher.due_at is None

    set_paused(whole, is_paused=False)
    assert len(whole.queues.triggers) == 1
    lives(whole, 2)
    assert events(whole) == [1]


def test_it_goes_with_the_last_dag_that_names_it(whole: Whole) -> None:
    given(whole, "Ticks()")
    change_watchers(whole.services, "d", whole.specs["d"], None)
    assert whole.store.list_watchers() == []
    lives(whole, 1)
    assert whole.queues.triggers == []


def test_a_message_that_comes_twice_runs_once(whole: Whole) -> None:
    given(whole, "Counts()")
    whole.queues.triggers *= 2
    whole.run_triggers()
    assert events(whole) == [0]
    assert len(whole.queues.triggers) == 1


def test_a_message_that_is_lost_is_sent_again(whole: Whole) -> None:
    given(whole, "Counts()")
    (lost,) = whole.queues.triggers
    whole.queues.triggers.clear()
    look_after_watcher(whole.services, lost[0].watcher_id)  # type: ignore[union-attr]
    assert whole.queues.triggers == [], "it may still come"

    whole.clock.advance(121)
    assert tick(whole.services) == 1
    wake(whole)
    lives(whole, 1)
    assert events(whole) == [0]
    whole.queues.triggers = [lost]
    whole.run_triggers()
    assert events(whole) == [0], "the message that was late counts no more"


def test_waking_one_that_runs_or_is_parked_changes_nothing(whole: Whole) -> None:
    given(whole, "Ticks()")
    lives(whole, 1)
    before = whole.store.list_watchers()
    activate(whole)
    assert whole.store.list_watchers() == before
    assert len(whole.queues.triggers) == 1


def test_a_dag_without_watchers_reads_nothing_of_them(whole: Whole) -> None:
    whole.upload(d="from airflow.sdk import DAG, Asset\nwith DAG('d', schedule=[Asset('one')]): pass")

    def refuse(*_: object) -> None:
        raise AssertionError("nobody has watchers")

    whole.store.list_watchers = refuse  # type: ignore[method-assign, assignment]
    change_watchers(whole.services, "d", whole.specs["d"], whole.specs["d"])
    wake_watchers(whole.services, dag_of(whole))
    assert whole.queues.wakes == []


def test_it_runs_with_the_packages_of_a_folder_that_wants_it(whole: Whole, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a").touch()
    whole.environments = {"team": {"watch.py": TRIGGERS}}
    whole.upload(team__d=consumer(f"Files({str(folder)!r})"))
    whole.store.put_asset(Asset(name="one", uri="one"))
    activate(whole)

    lives(whole, 1)

    assert events(whole) == [{"file": "a"}]


CLICKS = """
import json
from pathlib import Path
from types import SimpleNamespace
from airflow.providers.amazon.aws.triggers.kinesis import KinesisTrigger

class Stream:
    exceptions = SimpleNamespace(**dict.fromkeys(
        ("InvalidArgumentException", "ExpiredIteratorException", "ProvisionedThroughputExceededException"), KeyError
    ))
    def __init__(self, path):
        self.path = Path(path)
        self.looks = json.loads(self.path.read_text())
    async def get_async_conn(self):
        return self
    async def __aenter__(self):
        return self
    async def __aexit__(self, *error):
        pass
    def get_paginator(self, name):
        return self
    async def paginate(self, StreamName):
        yield {"Shards": [{"ShardId": "s"}]}
    async def get_shard_iterator(self, Timestamp, **asked):
        self.looks.append(Timestamp.isoformat())
        self.path.write_text(json.dumps(self.looks))
        return {"ShardIterator": "i"}
    async def get_records(self, **asked):
        if len(self.looks) in (2, 3):
            raise ValueError("the stream does not answer")
        return {"Records": [], "MillisBehindLatest": 0, "NextShardIterator": "n"}

class Clicks(KinesisTrigger):
    @property
    def hook(self):
        return Stream(self.stream_name)
"""


def test_a_stream_is_read_from_the_last_complete_look_on_whatever_comes_between(whole: Whole, tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.amazon.aws.triggers.kinesis")
    looks = tmp_path / "looks"
    looks.write_text("[]")
    whole.upload(watch=TRIGGERS, clicks=CLICKS, d=f"from clicks import Clicks\n{consumer(f'Clicks({str(looks)!r})')}")
    whole.store.put_asset(Asset(name="one", uri="one"))
    spans: list[tuple[datetime, datetime]] = []

    def live(what: Callable[[], object], delay: float) -> None:
        begin = whole.clock.now() + timedelta(seconds=delay)
        what()
        spans.append((begin, whole.clock.now()))

    live(lambda: activate(whole), 0)
    for number in range(5):
        ((workload, delay),) = whole.queues.triggers
        if number == 2:
            whole.queues.triggers.clear()
            whole.clock.advance(200)
            assert isinstance(workload, WatcherWorkload)
            look_after_watcher(whole.services, workload.watcher_id)
            delay = 0
        live(partial(lives, whole, 1), delay)

    asked = [datetime.fromisoformat(moment) + timedelta(seconds=2) for moment in json.loads(looks.read_text())]
    read_from = [[begin <= moment <= end for begin, end in spans].index(True) for moment in asked]
    assert read_from == [0, 1, 1, 1, 4], "a life that breaks or is lost moves nothing"
