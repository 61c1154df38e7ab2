"""Move one backfill as far as it can go now: make its runs, have the next ones start, and note that all have ended.

The runs are made in the plan's order, each in one transaction that also increments the backfill's `made`: after a crash or a
repeated look no run is made twice or left out. A thousand runs take longer than one invocation may, so each look makes some
and sends a wake-up for another look (docs/adr/0009). An active backfill always has a `due_at`: the tick finds it, whatever
was lost.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import AlreadyExists, StaleBackfill, StaleDagRun
from gust.model.backfill import Backfill
from gust.model.dag_run import DagRun
from gust.model.field_values import values_of
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.workload import WakeBackfill
from gust.scheduling import timetable, transition
from gust.scheduling.added_run import BackfillRun
from gust.scheduling.clearing import queued_again
from gust.scheduling.timetable import NextRun
from gust.services.backfills.backfill_plan import date_of, existing_runs, is_made, read
from gust.services.context import Services
from gust.services.runs.deadlines import wake_for_deadlines, with_deadlines
from gust.services.runs.new_run import NOTICED_WITHIN, described_by
from gust.services.runs.next_run import random_part
from gust.services.runs.recompute_next_run import recompute_after_backfill
from gust.services.specs import load_spec
from gust.services.wake import look_soon

AT_ONCE: Final = 100
"""Runs that one look makes or ends: about a second."""

LOOKED_AT_EVERY: Final = timedelta(minutes=10)
"""How often the tick looks at a backfill whose runs are made: its runs move by themselves, and the look checks whether all
have ended."""

STANDSTILL: Final = timedelta(hours=1)
"""When a run that waits behind others is looked at, in case its wake-up is lost."""

log = Logger(service="scheduler", child=True)


def advance_backfill(services: Services, backfill_id: int) -> None:
    """Returns when nothing more can be done now. Two calls at the same time are harmless: the loser leaves the rest to the
    other."""
    backfill = services.store.get_backfill(backfill_id)
    if backfill is None:
        return
    with suppress(StaleBackfill):
        if backfill.is_active:
            backfill = make_runs(services, backfill)
            if not backfill.is_made:
                services.queues.wake(WakeBackfill(backfill_id=backfill_id, at=services.clock.now()))
            elif backfill.unfinished_runs == 0:
                complete(services, backfill)
                return
            look_again(services, backfill)
        elif backfill.due_at is not None:
            end_queued_runs(services, backfill)
        start_next_runs(services, backfill)


def complete(services: Services, backfill: Backfill) -> None:
    now = services.clock.now()
    services.store.end_backfill(backfill, replace(backfill, completed_at=now, updated_at=now, due_at=None))
    log.info("Backfill completed", dag_id=backfill.dag_id, backfill_id=backfill.backfill_id)


def look_again(services: Services, backfill: Backfill) -> None:
    """Set a new `due_at` if the old one has passed."""
    now = services.clock.now()
    if backfill.due_at is None or backfill.due_at <= now:
        services.store.update_backfill(backfill, replace(backfill, due_at=now + LOOKED_AT_EVERY))


def start_next_runs(services: Services, backfill: Backfill) -> None:
    """Wake as many of its queued runs as there is room for, in the backfill's order."""
    room = backfill.max_active_runs - backfill.running_runs
    if backfill.is_paused or room <= 0 or backfill.unfinished_runs == backfill.running_runs:
        return
    shown = services.store.queued_runs(
        backfill.dag_id, limit=backfill.max_active_runs, backfill_id=backfill.backfill_id
    )
    # The index may still show runs that have just been started: they are among the running ones.
    waiting = (key for key in shown if (run := services.store.get_run(key)) and run.state is DagRunState.QUEUED)
    for key in islice(waiting, room):
        look_soon(services, key)


# --- making runs ------------------------------------------------------------------------------------------------------


def make_runs(services: Services, backfill: Backfill) -> Backfill:
    """Make the next runs of the plan. Returns the backfill afterwards. Raises StaleBackfill if another invocation makes
    them."""
    if backfill.is_made:
        return backfill
    services = replace(services, correlation_id=backfill.correlation_id or services.correlation_id)
    lines = services.store.backfill_plan(backfill.backfill_id)
    plan = [read(line) for line in lines[backfill.made : backfill.made + AT_ONCE]]
    existing = existing_runs(services, backfill.dag_id, plan)
    last = backfill.made + len(plan)
    made: list[NextRun] = []
    spec = load_spec(services.objects, backfill.spec_key)
    for ordinal, info in enumerate(plan, start=backfill.made + 1):
        before = existing.get(date_of(info))
        if not is_made(before, backfill.reprocess_behavior):
            continue
        with suppress(AlreadyExists, StaleDagRun):
            # Another writer took the date, or changed the run, meanwhile: Airflow leaves such a run alone, too.
            if before is None or info.partition_date is not None:
                run, deadlines = with_deadlines(services, new_run(services, backfill, info, ordinal), spec)
                services.store.add_to_backfill(backfill, BackfillRun(run, made=ordinal, callbacks=deadlines))
                wake_for_deadlines(services, run, deadlines)
            else:
                run_again(services, backfill, before, ordinal)
            backfill = replace(backfill, made=ordinal)
            made.append(info)
    recompute_after_backfill(services, backfill.dag_id, made)
    if backfill.made < last:
        services.store.update_backfill(backfill, replace(backfill, made=last))
    log.info("Backfill goes on", dag_id=backfill.dag_id, backfill_id=backfill.backfill_id, made=last)
    return services.store.get_backfill(backfill.backfill_id) or backfill


_version_of: Final = values_of(Backfill, "version_number", "spec_key", "bundle_version")


def new_run(services: Services, backfill: Backfill, info: NextRun, ordinal: int) -> DagRun:
    now = services.clock.now()
    unique = random_part() if info.partition_date else None
    return DagRun(
        dag_id=backfill.dag_id,
        run_id=timetable.generate_run_id(
            DagRunType.BACKFILL_JOB, run_after=info.run_after, partition_key=info.partition_key, unique=unique
        ),
        run_type=DagRunType.BACKFILL_JOB,
        state=DagRunState.QUEUED,
        queued_at=now,
        **described_by(info),
        conf=backfill.dag_run_conf or {},
        triggered_by=DagRunTriggeredByType.BACKFILL,
        triggering_user_name=backfill.triggering_user_name,
        backfill_id=backfill.backfill_id,
        backfill_ordinal=ordinal,
        **_version_of(backfill),
        due_at=due_at(backfill, ordinal, now),
    )


def due_at(backfill: Backfill, ordinal: int, now: datetime) -> datetime:
    """A run that must wait for others gets a late `due_at`: those others wake it."""
    return now + (NOTICED_WITHIN if ordinal <= backfill.max_active_runs else STANDSTILL)


# --- running runs again -----------------------------------------------------------------------------------------------


def run_again(services: Services, backfill: Backfill, before: DagRun, ordinal: int) -> None:
    """Clear the finished run and queue it as the backfill's. Clears its tasks first: the scheduler does not look at a
    finished run, and after a crash in between the next look does the rest. Raises StaleDagRun if the run is in flight,
    and StaleBackfill if another invocation clears it."""
    state, now = services.store.load_run(before.key), services.clock.now()
    if state is None or state.run != before or before.is_held(now):
        raise StaleDagRun(f"{before.key} moved on", state.run if state else None)
    latest = backfill.run_on_latest_version
    spec = load_spec(services.objects, backfill.spec_key if latest else before.spec_key)
    cleared = [
        transition.clear(instance, at=now, retries=task.retries if (task := spec.tasks.get(instance.task_id)) else None)
        for instance in state.instances.values()
        if instance.state not in (None, S.RUNNING)
    ]
    if services.store.move_all(cleared):
        # Not to be skipped: the invocation that clears them is about to queue the run.
        raise StaleBackfill(f"instances of {before.key} moved on")
    again = replace(
        queued_again(before, at=now),
        run_type=DagRunType.BACKFILL_JOB,
        triggered_by=DagRunTriggeredByType.BACKFILL,
        clear_number=before.clear_number + 1,
        conf=before.conf if backfill.dag_run_conf is None else backfill.dag_run_conf,
        backfill_id=backfill.backfill_id,
        backfill_ordinal=ordinal,
        correlation_id=services.correlation_id or before.correlation_id,
        instance_states={},
        due_at=due_at(backfill, ordinal, now),
        **(_version_of(backfill) if latest else {}),
    )
    services.store.add_to_backfill(backfill, BackfillRun(again, made=ordinal, before=before))


# --- cancelled --------------------------------------------------------------------------------------------------------


def end_queued_runs(services: Services, backfill: Backfill) -> None:
    """Fail the queued runs of a cancelled backfill. Its running ones continue to their end. Raises StaleBackfill."""
    shown = services.store.queued_runs(backfill.dag_id, limit=AT_ONCE, backfill_id=backfill.backfill_id)
    for key in shown:
        run = services.store.get_run(key)
        if run is not None and run.state is DagRunState.QUEUED:
            with suppress(StaleDagRun):
                services.store.update_run(run, replace(run, state=DagRunState.FAILED))
    now = services.clock.now()
    current = services.store.get_backfill(backfill.backfill_id) or backfill
    if current.unfinished_runs > current.running_runs:
        # There were more, or the index did not show them yet.
        services.queues.wake(WakeBackfill(backfill_id=backfill.backfill_id, at=now), delay=0 if shown else 1)
        due_at = now + LOOKED_AT_EVERY
    else:
        due_at = None
    services.store.update_backfill(current, replace(current, due_at=due_at))
