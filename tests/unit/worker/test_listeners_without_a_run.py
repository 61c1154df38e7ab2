"""Hooks of plugins' listeners about assets and import errors: called in a real child, with Airflow's arguments."""

from __future__ import annotations

import json

import attrs
import pytest
from airflow.listeners.types import AssetEvent as ToldEvent
from airflow.serialization.definitions.assets import SerializedAsset

from gust.model.asset import Asset, AssetAlias, AssetEvent
from gust.model.listener import Hook
from gust.model.workload import HookCall, TellListeners
from gust.services.assets.tell_listeners import tell_of_events, tell_of_import_error, tell_of_new_assets
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LISTENER = """
import json
import attrs
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

def tell(hook, value):
    print("told", hook, type(value).__name__, json.dumps(attrs.asdict(value), default=str, sort_keys=True))

class Listener:
    @hookimpl
    def on_asset_created(self, asset):
        tell("created", asset)
    @hookimpl
    def on_asset_alias_created(self, asset_alias):
        tell("alias", asset_alias)
    @hookimpl
    def on_asset_changed(self, asset):
        tell("changed", asset)
    @hookimpl
    def on_asset_event_emitted(self, asset_event):
        tell("emitted", asset_event)
    @hookimpl
    def on_new_dag_import_error(self, filename, stacktrace):
        print("told new", filename.rsplit("/", 1)[1], filename.startswith("/"), stacktrace)
    @hookimpl
    def on_existing_dag_import_error(self, filename, stacktrace):
        print("told existing", filename.rsplit("/", 1)[1], stacktrace)

class Plugin(AirflowPlugin):
    name = "listening"
    listeners = [Listener()]
"""

PRODUCES = """
from airflow.sdk import DAG, Asset, task
with DAG("d"):
    @task(outlets=[Asset(name="a", uri="a", extra={"kept": 1})])
    def make(*, outlet_events):
        outlet_events[Asset(name="a", uri="a")].extra = {"rows": 3}
    make()
"""


def told(whole: Whole, hook: str, kind: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in whole.said(f"told {hook} {kind} ")]


def as_json(value: object) -> object:
    return json.loads(json.dumps(attrs.asdict(value), default=str, sort_keys=True))  # type: ignore[arg-type]


ASSET = SerializedAsset(name="a", uri="a", group="asset", extra={"kept": 1}, watchers=[])


def test_an_event_of_a_task_is_told(whole: Whole) -> None:
    whole.upload(plugins__listening=LISTENER, d=PRODUCES)
    whole.store.put_asset(Asset(name="a", uri="a", extra={"kept": 1}))
    key = whole.trigger()
    whole.work(key)
    whole.tell_listeners()

    expected = ToldEvent(
        asset=ASSET,
        extra={"rows": 3},
        source_dag_id="d",
        source_task_id="make",
        source_run_id="r",
        source_map_index=-1,
        source_aliases=[],
        partition_key=None,
    )
    assert told(whole, "changed", "SerializedAsset") == [as_json(ASSET)]
    assert told(whole, "emitted", "AssetEvent") == [as_json(expected)]


def test_nobody_is_told_where_nobody_listens(whole: Whole) -> None:
    whole.upload(d=PRODUCES)
    whole.store.put_asset(Asset(name="a", uri="a"))
    whole.work(whole.trigger())

    assert [w for w, _ in whole.queues.wakes if w.kind == "tell_listeners"] == []
    assert whole.specs["d"].listeners == ()
    assert len(whole.store.list_asset_events()) == 1


def test_new_assets_and_import_errors_are_told(whole: Whole) -> None:
    whole.upload(plugins__listening=LISTENER, d=PRODUCES)
    version = whole.store.get_dag("d").bundle_version  # type: ignore[union-attr]
    listeners = whole.specs["d"].listeners
    assert set(listeners) == set(Hook)
    new = [Asset(name="a", uri="a", extra={"kept": 1})]
    tell_of_new_assets(
        whole.services, new, [AssetAlias(name="al", group="g")], listeners=listeners, bundle_version=version
    )
    for is_new in (True, False):
        tell_of_import_error(
            whole.services, "x/bad.py", "Oh", is_new=is_new, listeners=listeners, bundle_version=version
        )
    whole.tell_listeners()

    assert told(whole, "created", "SerializedAsset") == [as_json(ASSET)]
    assert told(whole, "alias", "SerializedAssetAlias") == [{"name": "al", "group": "g"}]
    assert whole.said("told new ") == ["bad.py True Oh"]
    assert whole.said("told existing ") == ["bad.py Oh"]


def test_what_the_scheduler_is_sent_can_be_told_apart(whole: Whole) -> None:
    """Its door works off each distinct message of a batch once."""
    one = HookCall(hook="h", about="a", written='{"extra": {"deep": [1]}}')
    messages = [TellListeners(call=call, bundle_version="v") for call in (one, one.model_copy(update={"about": "b"}))]
    assert len({*messages, *messages}) == 2


def test_an_event_that_a_person_creates_is_told(whole: Whole) -> None:
    whole.upload(plugins__listening=LISTENER, d=PRODUCES)
    version = whole.store.get_dag("d").bundle_version  # type: ignore[union-attr]
    event = AssetEvent(event_id="e", name="a", uri="a", timestamp=whole.clock.now(), source_aliases=("al",))
    whole.store.put_asset_alias(AssetAlias(name="al", group="g"))
    tell_of_events(whole.services, [event], listeners=whole.specs["d"].listeners, bundle_version=version)
    whole.tell_listeners()

    (emitted,) = told(whole, "emitted", "AssetEvent")
    assert emitted["source_task_id"] is None
    assert emitted["source_map_index"] is None
    assert emitted["source_aliases"] == [{"name": "al", "group": "g"}]
