"""Which transitions the stack tells of, and what it says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gust.aws.memory import MemoryEventBus
from gust.model.announcement import TAG, Announcement, Kind
from gust.scheduling import transition
from gust.services.events.announce import Announcer, Told
from tests.world import START, World, chain

RUN = {"dag_id": "etl", "run_id": "manual__2026+1", "previous_state": "running"}
FAILED = Announcement(event_id="e1", kind=Kind.DAG_RUN, at=START, detail=RUN | {"state": "failed"})
STARTED = Announcement(event_id="e2", kind=Kind.DAG_RUN, at=START, detail=RUN | {"state": "running"})
TASK = Announcement(
    event_id="e3",
    kind=Kind.TASK_INSTANCE,
    at=START,
    detail=RUN | {"state": "failed", "task_id": "load data", "map_index": 2, "try_number": 3},
)
BROKEN = Announcement(event_id="e4", kind=Kind.IMPORT_ERROR, at=START, detail={"filename": "a.py", "state": "new"})


def an_announcer(told: Told, *, alerts: bool = False, tags: tuple[str, ...] = ()) -> tuple[Announcer, MemoryEventBus]:
    world, bus = World(), MemoryEventBus()
    world.given_dag(chain("load data", "after"), tags=tags)
    services = replace(world.services, event_bus=bus)
    key = world.trigger(RUN["run_id"])
    world.advance(key)
    world.work(key, "load data", lambda ti: transition.fail(ti, at=world.clock.now(), reason="it is broken"))
    return Announcer(services, told, alerts=alerts, stack="prod", base_url="https://gust.example.com"), bus


@pytest.mark.parametrize(
    ("told", "alerts", "tags", "events"),
    [
        (Told.ALL, False, (), ["e1", "e2", "e3", "e4"]),
        (Told.TAGGED, False, (), ["e4"]),
        (Told.TAGGED, False, ("x", TAG), ["e1", "e2", "e3", "e4"]),
        (Told.TAGGED, True, (), ["e1", "e4"]),
        (Told.NONE, True, (), ["e1"]),
    ],
)
def test_the_stack_tells_of_what_its_operator_asked_for(
    told: Told, alerts: bool, tags: tuple[str, ...], events: list[str]
) -> None:
    announcer, bus = an_announcer(told, alerts=alerts, tags=tags)
    assert announcer.announce([FAILED, STARTED, TASK, BROKEN]) == len(events)
    assert [each.event_id for each in bus.told] == events


def test_an_event_leads_to_the_run_and_to_the_log() -> None:
    announcer, bus = an_announcer(Told.ALL, tags=("team-a",))
    announcer.announce([TASK, BROKEN])
    task, broken = (each.detail for each in bus.told)
    run_url = "https://gust.example.com/dags/etl/runs/manual__2026%2B1"
    assert task == TASK.detail | {
        "event_id": "e3",
        "stack": "prod",
        "tags": ["team-a"],
        "url": run_url,
        "log_url": f"{run_url}/tasks/load%20data/mapped/2?try_number=3",
    }
    assert broken == {"event_id": "e4", "stack": "prod", "filename": "a.py", "state": "new"}


def test_the_event_of_a_failed_run_names_the_tasks_that_failed() -> None:
    announcer, bus = an_announcer(Told.NONE, alerts=True)
    announcer.announce([FAILED])
    (told,) = bus.told
    log = f"{told.detail['url']}/tasks/load%20data?try_number=1"
    assert told.detail["failed_tasks"] == [{"task_id": "load data", "map_index": -1, "try_number": 1, "log_url": log}]
    assert told.detail["log_url"] == log


def test_a_failed_run_without_a_failed_task_leads_to_itself() -> None:
    announcer, bus = an_announcer(Told.ALL)
    announcer.announce([replace(FAILED, detail=FAILED.detail | {"run_id": "gone"})])
    (told,) = bus.told
    assert (told.detail["failed_tasks"], told.detail["log_url"]) == ([], told.detail["url"])
