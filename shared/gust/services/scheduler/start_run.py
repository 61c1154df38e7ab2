"""Start a queued run: when its time has come, its turn in its lane, and the lane has room."""

from dataclasses import dataclass, replace
from datetime import datetime

from aws_lambda_powertools import Logger

from gust.errors import LimitReached
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunState
from gust.scheduling.callback import made, of_run_start
from gust.services.context import Services
from gust.services.runs.new_run import NOTICED_WITHIN
from gust.services.scheduler.call_back import send_callbacks
from gust.services.wake import look_soon, wake_run

log = Logger(service="scheduler", child=True)


def start_in_turn(services: Services, run: DagRun, dag: Dag, spec: DagSpec, *, now: datetime) -> DagRun:
    """The run as it is started. Raises LimitReached where it must wait, StaleDagRun."""
    lane = lane_of(services, run, dag)
    await_turn(services, run, lane)
    return start(services, run, spec, max_active_runs=lane.max_active_runs, now=now)


def await_start(services: Services, run: DagRun, *, now: datetime, until: datetime | None) -> None:
    """The run's time has not come: have it looked at then. `until`: its next deadline. Raises StaleDagRun."""
    at = min(run.run_after, until or run.run_after)
    wake_run(services, run.key, at, now=now)
    if run.due_at is None or run.due_at <= now:
        services.store.update_run(run, replace(run, due_at=at))


@dataclass(frozen=True, slots=True)
class Lane:
    """The runs that start one after another under one `max_active_runs`: those of a DAG, or those of a backfill."""

    name: str
    max_active_runs: int
    running_runs: int


def lane_of(services: Services, run: DagRun, dag: Dag) -> Lane:
    """Raises LimitReached where the run's backfill lets none start."""
    if run.backfill_id is None:
        return Lane(f"DAG {dag.dag_id!r}", dag.max_active_runs, dag.running_runs)
    backfill = services.store.get_backfill(run.backfill_id)
    if backfill is None or backfill.is_paused:
        raise LimitReached(f"backfill {run.backfill_id} is paused")
    return Lane(f"backfill {run.backfill_id}", backfill.max_active_runs, backfill.running_runs)


def await_turn(services: Services, run: DagRun, lane: Lane) -> None:
    """Raises LimitReached, and wakes the runs ahead, unless the run is among the next ones of its lane.

    Runs of a DAG start in the order of `run_after`, those of a backfill in its own, in whatever order the scheduler hears of
    them: a later run that took an earlier one's place might wait for that one, and that one for the place."""
    room = lane.max_active_runs - lane.running_runs
    if room <= 0:
        raise LimitReached(f"max_active_runs of {lane.name} is {lane.max_active_runs}")
    shown = services.store.queued_runs(run.dag_id, limit=lane.max_active_runs, backfill_id=run.backfill_id, up_to=run)
    candidates = [key for key in shown if key != run.key]
    if len(candidates) < room:
        return
    # The index may still show runs that have just been started.
    others = [services.store.get_run(key) for key in candidates]
    ahead = [other for other in others if other and other.state is DagRunState.QUEUED and is_before(other, run)]
    if len(ahead) < room:
        return
    for other in ahead[:room]:
        look_soon(services, other.key, delay=1)
    raise LimitReached(f"{len(ahead)} runs of {lane.name} start before {run.run_id!r}, and {room} may")


def is_before(one: DagRun, other: DagRun) -> bool:
    if one.backfill_id is not None:
        return (one.backfill_ordinal, one.run_id) < (other.backfill_ordinal, other.run_id)
    return (one.run_after, one.run_id) < (other.run_after, other.run_id)


def start(services: Services, run: DagRun, spec: DagSpec, *, max_active_runs: int, now: datetime) -> DagRun:
    """queued → running, if the lane has room for one more. Raises LimitReached, StaleDagRun."""
    # The messages that are sent next may be lost: at `due_at` the scheduler looks for them. Written here, it costs no write
    # of its own. The `due_at` that a new run came with serves; a run that stood still may have one an hour away.
    soon = run.due_at is not None and now < run.due_at <= now + NOTICED_WITHIN
    started = replace(
        run,
        state=DagRunState.RUNNING,
        start_date=now,
        last_scheduling_decision=now,
        due_at=run.due_at if soon else now + NOTICED_WITHIN,
    )
    moves = of_run_start(spec, started)
    services.store.start_run(run, started, max_active_runs=max_active_runs, callbacks=moves)
    log.info("DagRun started", **run.names, run_type=run.run_type)
    send_callbacks(services, started, made(moves))
    return started
