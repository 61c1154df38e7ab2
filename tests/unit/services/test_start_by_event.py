"""Events start DAGs and are events of assets as `events.yaml` says: each once, and none is dropped in silence."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from gust.errors import Invalid
from gust.model.asset import Asset
from gust.model.event_rule import EventFile, EventRule
from gust.model.history_query import AssetEventSource
from gust.model.keys import DagRunKey
from gust.model.measurement import Measurement
from gust.services.events import event_template
from gust.services.events.receive_events import receive_events
from gust.services.events.start_by_event import Matched, run_id_of, start_by_events
from tests.world import World, chain

PATTERN = {"source": ["shop"]}


class Measured:
    """Implements `ports.Metrics`."""

    def __init__(self) -> None:
        self.added: list[Measurement] = []

    def add(self, measurements: Iterable[Measurement]) -> None:
        self.added += measurements


def a_world() -> World:
    world = World()
    world.services = replace(world.services, metrics=Measured())
    return world


def given_rules(world: World, *rules: dict[str, Any], filename: str = "events.yaml") -> str:
    """Returns the pattern's id."""
    read = [EventRule(line=number, pattern=PATTERN, **rule) for number, rule in enumerate(rules, 1)]
    world.store.put_event_file(EventFile.of(filename, read))
    return read[0].pattern_id


def an_event(event_id: str = "e1", **detail: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "source": "shop",
        "detail-type": "Order Placed",
        "time": "2026-03-01T08:00:00Z",
        "detail": detail,
    }


def receive(world: World, pattern_id: str, *events: dict[str, Any]) -> int:
    """Returns how many entries were refused."""
    bodies = [json.dumps({"pattern": pattern_id, "event": event}) for event in events]
    before = len(measured(world))
    assert receive_events(world.services, {str(number): body for number, body in enumerate(bodies)}) == []
    return len(measured(world)) - before


def measured(world: World) -> list[Measurement]:
    assert isinstance(world.services.metrics, Measured)
    return world.services.metrics.added


def logged(world: World) -> list[tuple[str, str | None, str]]:
    entries = world.store.logged_events()
    return [(entry.event, entry.dag_id, json.loads(entry.extra or "{}")["reason"]) for entry in entries]


def run_ids(world: World, dag_id: str = "etl") -> set[str]:
    return {run.run_id for run in world.store.list_runs(dag_id)}


@pytest.fixture
def world() -> World:
    world = a_world()
    world.given_dag(chain("t"))
    return world


def test_an_event_starts_a_run_with_conf_and_date_of_its_own(world: World) -> None:
    conf = {"order": "{% detail.order %}", "who": "{% $uppercase(detail.by) %}", "fixed": [1, "{% detail.none %}"]}
    known = given_rules(world, {"dag_id": "etl", "conf": conf, "logical_date": "{% time %}"})
    assert receive(world, known, an_event(order=7, by="ann")) == 0
    run = world.run(DagRunKey("etl", "event__e1"))
    assert run.conf == {"order": 7, "who": "ANN", "fixed": [1, None]}
    assert run.logical_date is not None
    assert run.logical_date.isoformat() == "2026-03-01T08:00:00+00:00"
    assert run.triggering_user_name == "events.yaml:1"


def test_a_conf_may_be_the_whole_detail(world: World) -> None:
    known = given_rules(world, {"dag_id": "etl", "conf": "{% detail %}"})
    receive(world, known, an_event(order=7))
    run = world.run(DagRunKey("etl", "event__e1"))
    assert (run.conf, run.logical_date) == ({"order": 7}, None)


def test_doubled_and_reordered_deliveries_start_each_run_once(world: World) -> None:
    chance = random.Random(49)  # noqa: S311 - a test's choices
    known = given_rules(world, {"dag_id": "etl"})
    events = [an_event(f"e{number}") for number in range(20)]
    arriving = [*events, *chance.sample(events, 10)]
    chance.shuffle(arriving)
    for event in arriving:
        receive(world, known, event)
    assert run_ids(world) == {f"event__e{number}" for number in range(20)}
    assert logged(world) == []


def test_two_events_with_one_deduplication_key_start_one_run(world: World) -> None:
    known = given_rules(world, {"dag_id": "etl", "dedup_key": "{% detail.order %}"})
    receive(world, known, an_event("e1", order=7), an_event("e2", order=7), an_event("e3", order="no: run id"))
    assert run_ids(world) == {"event__7", run_id_of("no: run id")}


def test_one_event_follows_all_entries_of_all_files(world: World) -> None:
    world.given_dag(chain("t", dag_id="other"))
    given_rules(world, {"dag_id": "other"}, filename="team/events.yaml")
    receive(world, given_rules(world, {"dag_id": "etl"}), an_event())
    assert run_ids(world) == run_ids(world, "other") == {"event__e1"}


def test_an_event_is_an_event_of_an_asset_by_name_or_uri(world: World) -> None:
    world.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    known = given_rules(world, {"asset": "s3://lake/orders", "extra": {"n": "{% detail.n %}"}})
    receive(world, known, an_event("e1", n=1), an_event("e1", n=1), an_event("e2", n=2))
    events = world.store.list_asset_events(AssetEventSource(name="orders"))
    assert [event.extra for event in events] == [
        {"n": number, "event_id": f"e{number}", "event_time": "2026-03-01T08:00:00Z"} for number in (1, 2)
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"dag_id": "gone"}, "Dag with dag_id: 'gone' not found"),
        ({"asset": "gone"}, "Asset with name or URI 'gone' not found"),
        ({"dag_id": "etl", "conf": "{% 1 %}"}, "conf is no object: 1"),
        ({"dag_id": "etl", "conf": {"a": "{% 1/0 %}"}}, "{% 1/0 %} has no value: float division by zero"),
        ({"dag_id": "etl", "logical_date": "yesterday"}, "logical_date is no moment: yesterday"),
        ({"asset": "orders", "partition_key": "k" * 251}, f"partition_key is longer than 250 characters: {'k' * 200}"),
        ({"dag_id": "etl", "dedup_key": "{% detail %}"}, 'dedup_key is no text: {"n": "x"}'),
    ],
)
def test_what_cannot_be_followed_is_in_the_event_log(world: World, rule: dict[str, Any], reason: str) -> None:
    world.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    known = given_rules(world, rule, {"dag_id": "etl", "dedup_key": "other"})
    assert receive(world, known, an_event(n="x")) == 1
    assert logged(world) == [("event_refused", rule.get("dag_id"), reason)]
    (entry,) = world.store.logged_events()
    assert json.loads(entry.extra or "{}")["event_id"] == "e1"
    assert run_ids(world) == {"event__other"}, "the other entry is followed all the same"


def test_params_that_do_not_fit_are_in_the_event_log() -> None:
    world = a_world()
    world.given_dag(chain("t", params={"n": {"value": 1, "json_schema": {"type": "integer"}}}))
    known = given_rules(world, {"dag_id": "etl", "conf": "{% detail %}"})
    assert receive(world, known, an_event(n="many")) == 1
    ((event, dag_id, reason),) = logged(world)
    assert (event, dag_id) == ("event_refused", "etl")
    assert "many" in reason


def test_a_run_of_a_paused_dag_waits_and_the_event_log_says_so() -> None:
    world = a_world()
    world.given_dag(chain("t"), is_paused=True)
    known = given_rules(world, {"dag_id": "etl"})
    receive(world, known, an_event(), an_event())
    assert run_ids(world) == {"event__e1"}
    assert logged(world) == [("event_waits", "etl", "the DAG is paused")]
    assert measured(world) == [Measurement("EventsWaiting", 1, dag_id="etl")]


def test_a_run_waits_in_no_silence_if_its_function_dies_before_it_says_so() -> None:
    world = a_world()
    world.given_dag(chain("t"), is_paused=True)
    store = world.store

    class Dies:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def log_event(self, _: Any) -> None:
            raise RuntimeError("killed")

    whole = world.services
    world.services = replace(whole, store=Dies())  # type: ignore[arg-type] # the rest of it is the store
    known = given_rules(world, {"dag_id": "etl"})
    body = json.dumps({"pattern": known, "event": an_event()})
    assert receive_events(world.services, {"m": body}) == ["m"]
    world.services = whole
    for _ in range(2):
        receive(world, known, an_event())
    assert run_ids(world) == {"event__e1"}
    assert logged(world) == [("event_waits", "etl", "the DAG is paused")]


def test_another_runs_logical_date_is_a_reason(world: World) -> None:
    known = given_rules(world, {"dag_id": "etl", "logical_date": "{% time %}"})
    assert receive(world, known, an_event("e1"), an_event("e2"), an_event("e1")) == 1
    assert logged(world) == [("event_refused", "etl", "another run has the event's logical date")]


def test_an_entry_that_is_gone_starts_nothing(world: World) -> None:
    assert receive(world, "0" * 32, an_event()) == 0
    assert run_ids(world) == set()


def test_a_message_of_nobody_fails_alone(world: World) -> None:
    known = given_rules(world, {"dag_id": "etl"})
    good = json.dumps({"pattern": known, "event": an_event()})
    failed = receive_events(world.services, {"a": "{", "b": good, "c": '{"source": "aws.s3"}', "d": "[]"})
    assert failed == ["a", "c", "d"]
    assert run_ids(world) == {"event__e1"}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("($f := function($x){$f($x + 1)}; $f(1))", "takes longer than"),
        ("$match(text & '!', /^(a+)+$/)", "takes longer than"),
        ("($f := function($x){1 + $f($x)}; $f(1))", "has no value"),
        ("$map([1..1000], function($n){ $join($map([1..1000], function($m){ $string($n) & text })) })", "takes "),
    ],
)
def test_an_expression_without_an_end_is_ended(expression: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        event_template.evaluated(expression, {"text": "a" * 4000}, event_template.Budget())


def test_all_expressions_of_an_entry_have_seconds_and_characters_together() -> None:
    budget = event_template.Budget(seconds=0.02)
    slow = "{% ($f := function($x){$f($x + 1)}; $f(1)) %}"
    with pytest.raises(Invalid, match="takes longer than"):
        event_template.filled(slow, {}, budget)
    with pytest.raises(Invalid, match="take longer than 3 s together"):
        event_template.filled("{% 1 %}", {}, budget)
    with pytest.raises(Invalid, match="take more than 500,000 characters together"):
        event_template.filled(["{% text %}"] * 10, {"text": "a" * 60_000}, event_template.Budget())


def test_half_a_character_of_an_event_is_a_reason(world: World) -> None:
    known = given_rules(world, {"dag_id": "etl", "conf": "{% detail %}"})
    assert receive(world, known, an_event(text="\ud800")) == 1


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"])
def test_a_date_without_a_moment_in_utc_is_a_reason(world: World, moment: str) -> None:
    known = given_rules(world, {"dag_id": "etl", "logical_date": moment})
    assert receive(world, known, an_event()) == 1


def given_slow_dags(world: World, *dag_ids: str) -> list[float]:
    """An entry of one takes ten seconds or twenty. Returns the clock that it takes them from."""
    now, store = [0.0], world.store
    for dag_id in dag_ids:
        world.given_dag(chain("t", dag_id=dag_id))

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def get_dag(self, dag_id: str) -> Any:
            now[0] += 10.0 if dag_id in dag_ids else 0.1
            return store.get_dag(dag_id)

    world.services = replace(world.services, store=Slow())  # type: ignore[arg-type] # the rest of it is the store
    return now


def test_one_files_slow_entries_delay_no_other_file(world: World) -> None:
    """Each entry of file a takes ten seconds for each event. The events that it is not done with come again."""
    now = given_slow_dags(world, "slow")
    known = given_rules(world, {"dag_id": "slow"}, {"dag_id": "slow"}, filename="a/events.yaml")
    given_rules(world, {"dag_id": "etl"}, filename="b/events.yaml")
    messages = {f"m{number}": json.dumps({"pattern": known, "event": an_event(f"e{number}")}) for number in range(9)}
    failed = receive_events(world.services, messages, clock=lambda: now[0])
    assert run_ids(world) == {f"event__e{number}" for number in range(9)}
    assert failed == [f"m{number}" for number in range(1, 9)], "both entries have followed the first event"


def test_the_last_of_a_files_slow_events_is_reached_by_a_later_delivery(world: World) -> None:
    """Half a minute is enough for one or two of ten, and each of them is followed by both entries."""
    now = given_slow_dags(world, "slow", "slower")
    known = given_rules(world, {"dag_id": "slow"}, {"dag_id": "slower"})
    left = {f"m{number}": json.dumps({"pattern": known, "event": an_event(f"e{number}")}) for number in range(10)}
    deliveries = 0
    while left:
        deliveries += 1
        failed = receive_events(world.services, left, delivery=deliveries, clock=lambda: now[0])
        assert len(failed) < len(left)
        left = {name: left[name] for name in failed}
    assert run_ids(world, "slow") == run_ids(world, "slower") == {f"event__e{number}" for number in range(10)}


def test_slow_entries_of_a_file_hold_up_no_event_and_are_no_secret(world: World) -> None:
    """The entries without expressions take no time, and are followed."""
    known = given_rules(
        world,
        {"dag_id": "etl", "conf": {"n": "{% ($f := function($x){$f($x + 1)}; $f(1)) %}"}, "dedup_key": "slow"},
        {"dag_id": "etl", "conf": {"n": "{% detail.n %}"}, "dedup_key": "late"},
        {"dag_id": "etl", "dedup_key": "plain"},
    )
    assert start_by_events(world.services, {"m": Matched(known, an_event(n=1))}, of_file=0.05) == set()
    assert run_ids(world) == {"event__plain"}
    slow, late = (reason for _, _, reason in logged(world))
    assert "takes longer than 0.05 s" in slow
    assert late == "the expressions of the file's entries take longer than 6 s together for this event"
    assert measured(world) == [Measurement("EventsRefused", 1, dag_id="etl")] * 2


def test_a_file_of_a_newer_version_stops_no_other_file_and_keeps_its_events(world: World) -> None:
    known = given_rules(world, {"dag_id": "etl"}, filename="b/events.yaml")
    newer = {"1": {"pattern": PATTERN, "dag_id": "etl", "of_a_newer_version": 1}}
    world.store.put_event_file(EventFile(filename="a/events.yaml", entries=newer))
    other = {"1": {"pattern": {"source": ["other"]}, "dag_id": "etl", "of_a_newer_version": 1}}
    world.store.put_event_file(EventFile(filename="c/events.yaml", entries=other))
    body = json.dumps({"pattern": known, "event": an_event()})
    assert receive_events(world.services, {"m": body}) == ["m"], "file a has not followed it"
    assert run_ids(world) == {"event__e1"}
    world.store.delete_event_file("a/events.yaml")
    assert receive_events(world.services, {"m": body}) == [], "file c has nothing to do with it"


def test_one_files_entry_that_fails_stops_no_other_file(world: World) -> None:
    store = world.store

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def get_dag(self, dag_id: str) -> Any:
            if dag_id == "broken":
                raise RuntimeError("our bug")
            return store.get_dag(dag_id)

    world.services = replace(world.services, store=Broken())  # type: ignore[arg-type] # the rest of it is the store
    known = given_rules(world, {"dag_id": "broken"}, filename="a/events.yaml")
    given_rules(world, {"dag_id": "etl"}, filename="b/events.yaml")
    body = json.dumps({"pattern": known, "event": an_event()})
    assert receive_events(world.services, {"m": body}) == ["m"]
    assert run_ids(world) == {"event__e1"}
