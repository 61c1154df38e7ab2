"""What follows from changes of one run that came out of the table's stream: by a quick look where that can tell, else by
`advance`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum, auto
from random import randrange
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import StaleDagRun
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import FINISHED
from gust.model.task_instance import TaskInstance
from gust.scheduling import slots
from gust.scheduling.decide import Config
from gust.scheduling.quick_look import Change, Downstream, Remembered
from gust.scheduling.run_view import InstanceId
from gust.services.advance import advance, send_tasks
from gust.services.context import Services

READS: Final = 3
"""Calls to find blockers by; each finds out which of those asked for have ended."""

LOST_WITHIN: Final = Config().heartbeat_timeout * 1.25
"""What is let go may be lost. A full look that lets it go makes sure that the run is looked at no later than this."""

log = Logger(service="scheduler", child=True)


class Told(Enum):
    """What a quick look found."""

    NOTHING = auto()
    """Nothing follows."""
    LET_GO = auto()
    """Instances that the run had kept back were let go, and nothing else follows."""
    LOOK = auto()
    """A full look must tell. Nothing was written, or a conditional write lost a race."""


def follow(services: Services, key: DagRunKey, changes: Collection[Change] | None) -> None:
    """Bring the run forward after the changes. `None`: something has changed that no quick look knows. Raises what `advance`
    raises."""
    if changes is None or quick_look(services, key, changes) is Told.LOOK:
        advance(services, key)


def quick_look(services: Services, key: DagRunKey, changes: Collection[Change]) -> Told:
    """Answers without reading the whole run, as far as this process remembers enough of it. Called twice, it lets nobody go
    twice."""
    remembered = services.memory.take(key)
    if remembered is None:
        return Told.LOOK
    for change in changes:
        remembered.ended((change.task_id, change.map_index), change.dispatch_count)
    waiting = remembered.concerned(changes)
    if waiting is None:
        return Told.LOOK
    now = services.clock.now()
    told = _look(services, key, remembered, waiting, now=now)
    if told is not Told.LOOK:
        services.memory.put(key, remembered)
    return told


def _look(
    services: Services, key: DagRunKey, remembered: Remembered, waiting: Collection[Downstream], *, now: datetime
) -> Told:
    candidates: list[InstanceId] = []
    if remembered.run.keeps_back:
        dag = services.store.get_dag(key.dag_id)
        if dag is None or dag.is_paused or dag.is_stale:
            return Told.LOOK
        next_up = remembered.next_up(dag.max_active_tasks)
        if next_up is None:
            return Told.LOOK
        candidates = next_up
    open_ends = set(waiting)
    for _ in range(READS):
        blockers = {of: remembered.blocker(of, pick=randrange) for of in open_ends}
        asked = {blocker for blocker in blockers.values() if blocker is not None}
        if None in blockers.values():
            return Told.LOOK
        run, found = services.store.get_run_and_instances(key, list(asked.union(candidates)))
        if run is None or not remembered.holds_for(run, now):
            return Told.LOOK
        for blocker in asked:
            instance = found.get(blocker)
            if instance is None or instance.state is None or instance.state in FINISHED:
                remembered.ended(blocker)
        open_ends = {of for of, blocker in blockers.items() if remembered.blocker(of, pick=randrange) != blocker}
        if not open_ends:
            return _let_go(services, remembered, run, [found.get(each) for each in candidates], now=now)
    return Told.LOOK


def _let_go(
    services: Services, remembered: Remembered, run: DagRun, candidates: list[TaskInstance | None], *, now: datetime
) -> Told:
    """The same write and messages as a full look's."""
    waiting = [candidate for candidate in candidates if candidate is not None and candidate.waits_for is not None]
    if not candidates:
        remembered.run = run
        return Told.NOTHING
    if len(waiting) < len(candidates) or not all(slots.waits(candidate) for candidate in waiting):
        return Told.LOOK
    if run.due_at is None or run.due_at > now + LOST_WITHIN:
        return Told.LOOK
    admitted = [slots.admission(candidate) for candidate in waiting]
    let_go = slots.admitting_next(run, admitted, on_the_way=remembered.on_the_way)
    try:
        services.store.update_run(run, let_go)
    except StaleDagRun:
        return Told.LOOK
    send_tasks(services, remembered.spec, let_go, waiting)
    remembered.let_go(waiting, let_go)
    return Told.LET_GO
