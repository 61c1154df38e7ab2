"""What follows from changes of one run that came out of the table's stream: by a quick look where that can tell, else by
`advance`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from random import randrange
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import StaleDagRun
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.pool import DEFAULT_POOL
from gust.scheduling.decision import Decision
from gust.scheduling.quick_look import Change, Downstream, Remembered, is_due, is_unfinished
from gust.scheduling.slots import Pools
from gust.scheduling.timers import DEFAULTS
from gust.services.context import Services
from gust.services.scheduler.advance import advance
from gust.services.scheduler.carry_out import carry_out
from gust.services.wake import wake_run

READS: Final = 4
"""Calls, each of which finds out which of those asked for have ended."""

MOST_READ: Final = 100
"""Instances in flight that are read to find out which of them have ended, or are overdue. Of more a full look tells."""

LOST_WITHIN: Final = DEFAULTS.heartbeat_timeout * 1.25
"""The message of an admitted instance may be lost. A full look that admits one sets a `due_at` no later than this."""

log = Logger(service="scheduler", child=True)


class Told(Enum):
    """What a quick look found."""

    NOTHING = auto()
    """Nothing follows."""
    LET_GO = auto()
    """Instances were let go, or begin to wait for their run, and nothing else follows."""
    LOOK = auto()
    """A full look must tell. Nothing was written, or a conditional write lost a race."""


def follow(services: Services, key: DagRunKey, changes: Collection[Change] | None) -> None:
    """Bring the run forward after the changes. `None`: something has changed that no quick look knows. Raises what `advance`
    raises."""
    if changes is None or quick_look(services, key, changes) is Told.LOOK:
        advance(services, key)


def ring(services: Services, key: DagRunKey, *, goes_on_with_edits: bool = False) -> None:
    """Bring the run forward, where its moment has come. Raises what `advance` raises."""
    if not quick_ring(services, key):
        advance(services, key, goes_on_with_edits=goes_on_with_edits)


def quick_ring(services: Services, key: DagRunKey) -> bool:
    """Whether no timer of the run is due now; then its `due_at` is in the future. It ignores writes of other agents: these
    cause looks of their own."""
    remembered, now = services.memory.take(key), services.clock.now()
    if remembered is None or not _move_on(services, key, remembered, now=now):
        return False
    services.memory.put(key, remembered)
    return True


def _move_on(services: Services, key: DagRunKey, remembered: Remembered, *, now: datetime) -> bool:
    """Reads those under way, and moves a `due_at` that has passed to the earliest moment at which one of them may be
    overdue. False where something may be due, or others were faster."""
    if not remembered.rings(now):
        return False
    dag = services.store.get_dag(key.dag_id)
    if dag is None or dag.is_paused or dag.is_stale:
        return False
    for _ in range(READS):
        if not 0 < remembered.how_many_are_under_way() <= MOST_READ:
            return False
        wanted = remembered.under_way()
        run, found = services.store.get_run_and_instances(key, list(wanted))
        if run is None or not remembered.catches_up(run, now):
            return False
        if remembered.under_way() == wanted:
            at = remembered.next_moment(found, max_active_tasks=dag.max_active_tasks, now=now)
            return at is not None and _puts_off(services, remembered, run, at, now=now)
    return False


def _puts_off(services: Services, remembered: Remembered, run: DagRun, at: datetime, *, now: datetime) -> bool:
    """The same write and wake-up as a full look's."""
    if run.due_at is None or run.due_at > now:
        return run.due_at is not None
    wake_run(services, run.key, at, now=now)
    put_off = replace(run, due_at=at, last_scheduling_decision=now)
    try:
        services.store.update_run(run, put_off)
    except StaleDagRun:
        return False
    remembered.run = put_off
    return True


def quick_look(services: Services, key: DagRunKey, changes: Collection[Change]) -> Told:
    """Answers without reading the whole run, if this process remembers enough of it. Called twice, it lets no instance go
    twice."""
    remembered = services.memory.take(key)
    if remembered is None:
        return Told.LOOK
    proven = remembered.proven(changes)
    for change in changes:
        remembered.ended((change.task_id, change.map_index), change.dispatch_count)
    waiting = remembered.concerned(changes)
    if waiting is None:
        return Told.LOOK
    now = services.clock.now()
    if is_due(remembered.run, now) and not _move_on(services, key, remembered, now=now):
        return Told.LOOK
    outcome = _look(services, key, remembered, waiting, proven, now=now)
    if outcome is not Told.LOOK:
        services.memory.put(key, remembered)
    return outcome


def _look(
    services: Services,
    key: DagRunKey,
    remembered: Remembered,
    waiting: Collection[Downstream],
    proven: Collection[Change],
    *,
    now: datetime,
) -> Told:
    max_active: int | None = None
    for _ in range(READS):
        plan = remembered.plan(waiting, pick=randrange)
        if plan is None:
            return Told.LOOK
        keeps_back = remembered.run.keeps_back
        if max_active is None and keeps_back:
            max_active = _max_active(*services.store.get_dag_and_pools(key.dag_id, [DEFAULT_POOL]))
            if max_active is None:
                return Told.LOOK
        in_doubt = tuple(remembered.in_flight) if keeps_back and not remembered.is_sure else ()
        candidates = remembered.next_up(max_active) if max_active is not None and keeps_back and not in_doubt else []
        if (candidates is None and not plan.steps) or len(in_doubt) > MOST_READ:
            return Told.LOOK
        known = remembered.known(proven, plan.steps)
        wanted = plan.blockers.union(candidates or (), in_doubt, *plan.steps.values()) - known.ended.keys() - known.new
        if max_active is None and plan.steps:
            of_dag, (run, found) = services.store.get_dag_and_run(key, pools=[DEFAULT_POOL], instances=list(wanted))
            max_active = _max_active(*of_dag)
            if max_active is None:
                return Told.LOOK
        else:
            run, found = services.store.get_run_and_instances(key, list(wanted))
        found = {**found, **known.ended}
        if in_doubt:
            remembered.counted(found)
        if run is None or not remembered.follows(run, now):
            return Told.LOOK
        ended = {blocker for blocker in plan.blockers if not is_unfinished(found.get(blocker))}
        for blocker in ended:
            remembered.ended(blocker)
        if ended or in_doubt or (keeps_back and not remembered.is_sure):
            continue
        going = remembered.judge(plan.steps, found, now)
        if going is None:
            return Told.LOOK
        if max_active is None or (not going and not keeps_back):
            return Told.NOTHING
        decision = remembered.decide(going, found, max_active_tasks=max_active, now=now)
        return Told.LOOK if decision is None else _carry_out(services, remembered, decision, now=now)
    return Told.LOOK


def _max_active(dag: Dag | None, pools: Pools) -> int | None:
    """How many instances of a run may be active. `None`: a full look must tell."""
    if dag is None or dag.is_paused or dag.is_stale or DEFAULT_POOL in counted_pools(pools):
        return None
    return dag.max_active_tasks


def _carry_out(services: Services, remembered: Remembered, decision: Decision, *, now: datetime) -> Told:
    run = remembered.run
    if not decision.transitions and not decision.effects:
        return Told.NOTHING
    if run.due_at is None or run.due_at > now + LOST_WITHIN:
        return Told.LOOK
    try:
        if not carry_out(services, remembered.spec, run, decision, now=now):
            return Told.LOOK
    except StaleDagRun:
        return Told.LOOK
    remembered.carried_out(decision)
    return Told.LET_GO


def counted_pools(pools: Pools) -> set[str]:
    return {name for name, pool in pools.items() if not pool.is_uncounted}
