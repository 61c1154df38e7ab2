"""Back off from a run that cannot be brought forward, and end it where no look can ever succeed.

A failure is the run's own where the same values would fail again: arithmetic, a value that no code expected, a spec that
the bucket has lost or denies. Such a run would stand still without a word. After some looks that failed in this way it ends
as failed, and each of its unfinished task instances shows the reason in its log. After any other failure (AWS, another
scheduler) the scheduler only looks later.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import IllegalTransition, Rejected, StaleDagRun
from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.model.state import UNFINISHED, DagRunState
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback, transition
from gust.scheduling.callback import CallbackMove, WhyEnded
from gust.scheduling.run_view import RunView
from gust.services.backfills.start_waiting_runs import start_waiting_runs
from gust.services.context import Services
from gust.services.scheduler.call_back import send_callbacks
from gust.services.specs import NO_SPEC, load_spec

FORBEARANCE: Final = timedelta(minutes=2)
"""A run that is overdue by this much is looked at later, so that it does not keep each tick busy."""

BACK_OFF_BY: Final = timedelta(minutes=10)

NEXT_LOOKS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=10))
"""How long after each failure of the run's own the scheduler looks again. The next failure ends the run: by then operators
have rolled back a release that cannot decide about runs."""

OWN_FAILURES: Final = (
    Rejected,
    IllegalTransition,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

log = Logger(service="scheduler", child=True)


def back_off(services: Services, key: DagRunKey, error: Exception) -> bool:
    """Bringing the run forward failed with `error`: write when the scheduler looks again, or that the run has failed.
    Returns whether the message that asked for the look is done with; otherwise it must come again."""
    run, now = services.store.get_run(key), services.clock.now()
    if run is None or not run.can_be_due:
        return False
    with suppress(StaleDagRun):
        if isinstance(error, OWN_FAILURES) and not run.is_finished:
            stumble(services, run, error, now=now)
            return True
        if run.due_at is not None and run.due_at <= now - FORBEARANCE:
            services.store.update_run(run, replace(run, due_at=now + BACK_OFF_BY))
    return False


def stumble(services: Services, run: DagRun, error: Exception, *, now: datetime) -> None:
    """Counts the failure, once for each moment that the run was to be looked at. Raises StaleDagRun."""
    if run.stumbles and run.due_at is not None and run.due_at > now:
        return  # A repeated wake-up: this failure is counted already.
    if run.stumbles >= len(NEXT_LOOKS):
        end_undecided(services, run.key, error, now=now)
        return
    again = now + NEXT_LOOKS[run.stumbles]
    services.store.update_run(run, replace(run, stumbles=run.stumbles + 1, due_at=again))


def end_undecided(services: Services, key: DagRunKey, error: Exception, *, now: datetime) -> None:
    """End the run as failed and skip its unfinished instances with the reason. Raises StaleDagRun.

    An instance or callback that cannot be written is left out: other runs wait for this one's end.
    """
    state = services.store.load_run(key)
    if state is None or state.run.is_finished:
        return
    run = state.run
    if run.is_held(now):
        raise StaleDagRun(f"{key} is held by a person's action", run)
    reason = (
        f"The scheduler could not decide about this run in {run.stumbles + 1} looks, the last of which failed with "
        f"{type(error).__name__}: {error}"
    )[:1000]
    log.error("DagRun failed: it cannot be decided", **run.names, reason=reason)
    spec = _spec_of(services, run)
    for instance in _unfinished(state, spec, now):
        try:
            services.store.move_all([transition.time_out(instance, at=now, reason=reason)])
        except OWN_FAILURES:
            log.exception(
                "A task instance could not be ended with its run",
                **run.names,
                task_id=instance.task_id,
                map_index=instance.map_index,
            )
    ended = replace(run, state=DagRunState.FAILED, end_date=now, due_at=None, stumbles=0, reason=reason)
    after, moves = _calling_back(spec, ended, state.callbacks, now)
    if run.state is DagRunState.RUNNING:
        services.store.finish_run(run, after, callbacks=moves)
    else:
        services.store.update_run(run, after)
        moves = ()
    send_callbacks(services, after, callback.made(moves))
    start_waiting_runs(services, after)


def _spec_of(services: Services, run: DagRun) -> DagSpec | None:
    try:
        return load_spec(services.objects, run.spec_key)
    except (*NO_SPEC, ValueError):
        return None


def _unfinished(state: RunState, spec: DagSpec | None, now: datetime) -> list[TaskInstance]:
    """Of a run without a spec, or one that cannot even be viewed: only instances with an item."""
    found = list(state.instances.values())
    if spec is not None:
        with suppress(*OWN_FAILURES):
            found = [instance for _, instance in RunView(spec, state.run, state.instances, now).all_instances()]
    return [instance for instance in found if instance.state in UNFINISHED]


def _calling_back(
    spec: DagSpec | None, ended: DagRun, callbacks: tuple[Callback, ...], now: datetime
) -> tuple[DagRun, tuple[CallbackMove, ...]]:
    """The ended run with what its end makes due (`on_failure_callback`), as far as that can be worked out."""
    if spec is None:
        return ended, ()
    try:
        moves = callback.at_end(spec, ended, callbacks, why=WhyEnded.TASK_FAILURE, shown=None)
        return callback.run_that_calls_back(ended, callbacks, (), moves, now=now), moves
    except OWN_FAILURES:
        log.exception("The callbacks of a run's end are left out", **ended.names)
        return ended, ()
