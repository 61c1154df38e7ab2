"""An `events.yaml` becomes rules of the stack's bus, with the deployment of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import pytest

from gust.aws.memory import MemoryEventBus
from gust.model.event_rule import MOST_PATTERNS, EventFile
from gust.ports.event_bus import OFF, NoEventBus
from tests.unit.deploy.stack import Stack

ENTRY = "- {source: orders, dag_id: etl}\n"
OTHER = "- {source: users, dag_id: etl}\n"


@pytest.fixture
def bus(stack: Stack) -> MemoryEventBus:
    stack.event_bus = bus = MemoryEventBus()
    return bus


def sources(bus: MemoryEventBus) -> set[str]:
    return {pattern.split('"')[3] for pattern in bus.followed.values()}


def test_the_bus_follows_the_files_of_all_folders(stack: Stack, bus: MemoryEventBus) -> None:
    stack.upload("events.yaml", ENTRY)
    stack.upload("team/events.yaml", OTHER + ENTRY)
    stack.upload("team/other.yaml", "- no events")
    stack.deploy()
    assert stack.errors() == {}
    assert sources(bus) == {"orders", "users"}
    assert [file.filename for file in stack.store.list_event_files()] == ["events.yaml", "team/events.yaml"]


def test_a_changed_and_a_deleted_file_are_followed_too(stack: Stack, bus: MemoryEventBus) -> None:
    stack.upload("events.yaml", ENTRY)
    stack.deploy()
    stack.upload("events.yaml", OTHER)
    stack.deploy()
    assert sources(bus) == {"users"}
    stack.delete("events.yaml")
    stack.deploy()
    assert bus.followed == {}
    assert stack.store.list_event_files() == []


def test_a_stored_file_of_a_newer_version_keeps_its_rules_and_stops_no_deployment(
    stack: Stack, bus: MemoryEventBus
) -> None:
    newer = {"1": {"pattern": {"source": ["shop"]}, "dag_id": "etl", "of_a_newer_version": 1}}
    stack.store.put_event_file(EventFile(filename="a/events.yaml", entries=newer))
    stack.upload("events.yaml", ENTRY)
    stack.deploy()
    assert stack.errors() == {}
    assert sources(bus) == {"orders", "shop"}


def test_a_broken_file_keeps_its_last_good_version(stack: Stack, bus: MemoryEventBus) -> None:
    stack.upload("events.yaml", ENTRY)
    stack.deploy()
    stack.upload("events.yaml", OTHER + "- {source: orders}\n")
    stack.deploy()
    assert stack.errors() == {"events.yaml": "events.yaml, line 2: an entry has a dag_id or an asset, one of the two"}
    assert sources(bus) == {"orders"}


def test_what_eventbridge_objects_to_is_an_import_error_at_its_line(stack: Stack, bus: MemoryEventBus) -> None:
    bus.objections = {"numerical": "Unrecognized match type numerical"}
    stack.upload("events.yaml", ENTRY + "- {source: orders, pattern: {detail: {n: [{numerical: [1]}]}}, dag_id: etl}\n")
    stack.deploy()
    assert stack.errors() == {"events.yaml": "events.yaml, line 2: Unrecognized match type numerical\n"}
    assert bus.followed == {}


def test_a_stack_without_events_says_so(stack: Stack) -> None:
    stack.upload("events.yaml", ENTRY)
    stack.deploy()
    assert stack.errors() == {"events.yaml": f"events.yaml, line 1: {OFF}\n"}


def test_a_bus_that_is_new_follows_the_files_of_an_unchanged_folder(stack: Stack, bus: MemoryEventBus) -> None:
    stack.upload("events.yaml", ENTRY)
    stack.deploy()
    stack.event_bus = NoEventBus()
    stack.deploy()
    stack.event_bus = another = MemoryEventBus()
    assert stack.deploy() == []
    assert sources(another) == {"orders"}


def test_more_patterns_than_a_bus_takes_are_an_import_error(stack: Stack, bus: MemoryEventBus) -> None:
    stack.upload("a/events.yaml", "".join(f"- {{source: s{n}, dag_id: etl}}\n" for n in range(MOST_PATTERNS)))
    stack.deploy()
    stack.upload("events.yaml", "- {source: s1, dag_id: other}\n")
    stack.deploy()
    assert stack.errors() == {}
    stack.upload("events.yaml", ENTRY)
    stack.deploy()
    assert stack.errors() == {
        "events.yaml": "events.yaml, line 1: all files together have 251 patterns; 250 are possible\n"
    }
    assert len(bus.followed) == MOST_PATTERNS


def test_two_files_of_one_deployment_count_each_others_patterns(stack: Stack, bus: MemoryEventBus) -> None:
    """More rules than a bus takes would fail the deployment of all files."""

    both, listed = Barrier(2), stack.store.list_event_files

    def list_event_files() -> list[EventFile]:
        found = listed()
        with suppress(BrokenBarrierError):
            both.wait(0.2)
        return found

    stack.store.list_event_files = list_event_files  # type: ignore[method-assign]
    for team in "ab":
        entries = [f"- {{source: {team}{n}, dag_id: etl}}\n" for n in range(MOST_PATTERNS // 2 + 1)]
        stack.upload(f"{team}/events.yaml", "".join(entries))
    stack.deploy()
    assert [error.split(": ", 1)[1] for error in stack.errors().values()] == [
        "all files together have 252 patterns; 250 are possible\n"
    ]
    assert len(bus.followed) == MOST_PATTERNS // 2 + 1


def test_a_bus_that_the_operators_rules_fill_refuses_the_file_and_no_deployment(
    stack: Stack, bus: MemoryEventBus
) -> None:
    bus.room = 1
    stack.upload("events.yaml", ENTRY + OTHER)
    stack.upload("etl.py", "dag etl")
    stack.deploy()
    assert stack.errors() == {
        "events.yaml": "events.yaml, line 2: all files together have 2 patterns; 1 are possible\n"
    }
    assert stack.fresh() == {"etl": "etl.py"}


def test_a_file_that_moves_takes_its_patterns_along(stack: Stack, bus: MemoryEventBus) -> None:
    text = "".join(f"- {{source: s{n}, dag_id: etl}}\n" for n in range(MOST_PATTERNS))
    stack.upload("a/events.yaml", text)
    stack.deploy()
    stack.delete("a/events.yaml")
    stack.upload("b/events.yaml", text.replace("source: s", "source: t"))
    stack.deploy()
    assert stack.errors() == {}
    assert "t0" in sources(bus)


def test_a_deployment_that_died_anywhere_is_completed_by_the_next(stack: Stack, bus: MemoryEventBus, dies) -> None:
    stack.upload("events.yaml", ENTRY)
    stack.upload("etl.py", "dag etl")
    for after in range(12):
        with dies(stack, after):
            stack.deploy()
    stack.deploy()
    assert sources(bus) == {"orders"}


def test_a_folder_without_events_does_not_depend_on_eventbridge(stack: Stack) -> None:
    class Failing(MemoryEventBus):
        def follow(self, patterns: Mapping[str, str]) -> None:
            raise AssertionError("EventBridge was called")

    stack.event_bus = Failing()
    stack.upload("etl.py", "dag etl")
    stack.deploy()
    assert stack.fresh() == {"etl": "etl.py"}
