"""Move one DagRun as far as it can go now: load → decide → send → commit → perform.

Everything that happens to a run after it was made comes through here: a worker's report, an API user's edit, a timer. The
execution API and the API only write; then the table's stream, or a wake-up message, calls `advance`. A superfluous call
costs a read. Of two calls at the same time, the one whose conditional write fails looks again.

A lost wake-up delays a run and never stops it: every unfinished run has a `due_at`, by which the tick finds it. `advance`
leaves no run without a `due_at`, and none with a `due_at` that has passed.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import LimitReached, StaleDagRun
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.pool import DEFAULT_POOL, of_task
from gust.model.run_state import RunState
from gust.model.state import FINISHED, DagRunState
from gust.scheduling.callback import next_deadline
from gust.scheduling.decide import decide, expire_only, gives_up
from gust.scheduling.decision import Decision
from gust.scheduling.quick_look import remember
from gust.scheduling.slots import Pools, pool_names
from gust.services.backfills.start_waiting_runs import start_waiting_runs
from gust.services.context import Services
from gust.services.people.pending_edit import go_on
from gust.services.runs.follow_newest import follow_newest, is_behind
from gust.services.runs.load_past import load_past
from gust.services.scheduler.call_back import look_after_callbacks, look_after_end
from gust.services.scheduler.carry_out import carry_out
from gust.services.scheduler.start_run import await_start, start_in_turn
from gust.services.specs import load_spec
from gust.services.wake import look_soon, wake_run
from gust.services.workers_of import groups_named_by, workers_for

STANDSTILL: Final = timedelta(hours=1)
"""How often the scheduler looks at a run that only another run's end or an API user can move, in case a wake-up is lost."""

FORBEARANCE: Final = timedelta(minutes=2)
"""A run that stands still gets an earlier `due_at` for a deadline only if the stored one is later than it by more than this:
less is not worth a write."""

ATTEMPTS: Final = 10
"""Looks before SQS or the stream gets the message back. Needing more would mean that two writers fight forever."""

log = Logger(service="scheduler", child=True)


def advance(services: Services, key: DagRunKey, *, goes_on_with_edits: bool = False) -> None:
    """Move the run until nothing more can move now. Raises StaleDagRun if other writers were faster `ATTEMPTS` times.

    `goes_on_with_edits`: also continue the run's pending edit, which takes seconds; the caller has that time."""
    services.memory.take(key)  # `decide_and_carry_out` remembers anew after a full look that ended well
    for _ in range(ATTEMPTS):
        state = services.store.load_run(key)
        with suppress(StaleDagRun):
            if state is None or look(services, state, goes_on_with_edits=goes_on_with_edits):
                break
    else:
        raise StaleDagRun(f"{key} was moved by others {ATTEMPTS} times while it was being decided", None)


def look(services: Services, state: RunState, *, goes_on_with_edits: bool) -> bool:
    """Look at the run once. Returns False if another look must follow, True if nothing more can move now. Raises
    StaleDagRun."""
    run, now = state.run, services.clock.now()
    if run.edit is not None:
        if goes_on_with_edits:
            go_on(services, run)
    elif run.is_finished:
        look_after_end(services, run, state.callbacks, now=now)
        start_waiting_runs(services, run)
    elif not run.is_held(now):  # an edit session that holds the run wakes it at the end; if it dies, `due_at` does
        return bring_forward(services, state, now=now)
    return True


def bring_forward(services: Services, state: RunState, *, now: datetime) -> bool:
    """`look` at a run that has not finished and that no edit session holds."""
    run = state.run
    state = replace(state, callbacks=look_after_callbacks(services, run, state.callbacks, now=now))
    until = next_deadline(state.callbacks)
    dag, pools = services.store.get_dag_and_pools(run.dag_id, [DEFAULT_POOL])
    if dag is None or dag.is_paused or dag.is_stale:
        wait_for_dag(services, state, dag, now=now, until=until)
    elif run.state is DagRunState.QUEUED and run.run_after > now:
        await_start(services, run, now=now, until=until)
    elif is_behind(state, dag):
        follow_newest(services, state, dag)
        return False
    else:
        try:
            return decide_and_carry_out(services, state, dag, pools, now=now)
        except LimitReached as limit:
            log.debug("The run waits", **run.names, reason=str(limit))
            stand_still(services, run, now=now, until=until)
    return True


def decide_and_carry_out(services: Services, state: RunState, dag: Dag, pools: Pools, *, now: datetime) -> bool:
    """`look` at a run that may move. Raises LimitReached where it is queued and its lane has no place for it."""
    run = state.run
    spec = load_spec(services.objects, run.spec_key)
    if run.state is DagRunState.QUEUED:
        run = start_in_turn(services, run, dag, spec, now=now)
        state = replace(state, run=run)
    decision = without_stumbles(run, decide_on(services, state, dag, pools, now=now))
    if not carry_out(services, spec, run, decision, now=now) or needs_another_look(run, decision):
        return False
    left = remember(
        spec,
        run,
        state.instances,
        decision,
        pools=pools,
        max_active_tasks=dag.max_active_tasks,
        callbacks=state.callbacks,
        now=now,
    )
    if left is not None:
        services.memory.put(run.key, left)
    return True


def wait_for_dag(
    services: Services, state: RunState, dag: Dag | None, *, now: datetime, until: datetime | None
) -> None:
    """Start nothing in a run whose DAG is paused or no longer has a file. Instances that have begun can still end, lost
    tries fail, and the run of a paused DAG may end with them. `until`: the run's next deadline. Raises StaleDagRun."""
    run = state.run
    if run.state is not DagRunState.RUNNING:
        return stand_still(services, run, now=now, until=until)
    spec = load_spec(services.objects, run.spec_key)
    if dag is None or not dag.is_paused:
        decision = expire_only(spec, run, state.instances, now=now, workers=services.workers)
    else:
        past = load_past(services, run, spec)
        decision = decide(
            spec,
            run,
            state.instances,
            now=now,
            past=past,
            callbacks=state.callbacks,
            is_paused=True,
            workers=services.workers,
        )
    if not carry_out(services, spec, run, decision, now=now):
        raise StaleDagRun(f"instances of {run.key} moved on", run)
    if decision.run is not None:
        return None
    if ends_what_has_begun(decision):
        look_soon(services, run.key)  # see `needs_another_look`
    return stand_still(services, run, now=now, until=min(filter(None, (until, decision.due_at)), default=None))


def stand_still(services: Services, run: DagRun, *, now: datetime, until: datetime | None = None) -> None:
    """Leave the run as it is, and only keep its `due_at` in the future, so that the tick does not keep finding a run that
    cannot move. The run waits for its DAG or for its turn; the end of that wait wakes it. `until`: an earlier moment at
    which something may be due. Raises StaleDagRun."""
    if run.due_at is None or run.due_at <= now or (until is not None and until < run.due_at - FORBEARANCE):
        at = min(now + STANDSTILL, until or now + STANDSTILL)
        wake_run(services, run.key, at, now=now)
        services.store.update_run(run, replace(run, due_at=at))


def decide_on(services: Services, state: RunState, dag: Dag, pools: Pools, *, now: datetime) -> Decision:
    """Load the inputs of `decide` and call it. `pools`: those that were read with the DAG. The queue's backlog is read, and
    the run decided again, only if the decision gives up a message."""
    run = state.run
    spec = load_spec(services.objects, run.spec_key)
    workers = workers_for(services, spec)
    decided = partial(
        decide,
        spec,
        run,
        state.instances,
        now=now,
        past=load_past(services, run, spec),
        pools=load_pools(services, spec, known=pools),
        used=load_limits_of_tasks(services, spec),
        max_active_tasks=dag.max_active_tasks,
        callbacks=state.callbacks,
        workers=workers,
    )
    decision = decided(has_backlog=False)
    if gives_up(decision) and services.queues.has_backlog(groups_named_by(spec, workers)):
        return decided(has_backlog=True)
    return decision


def needs_another_look(run: DagRun, decision: Decision) -> bool:
    """Whether a quick look at the same time may have relied on what this decision changed.

    A quick look relies on every unfinished instance to cause a look when it ends. An end that this decision wrote causes
    none, because the stream's filter drops the scheduler's own writes. A quick look at a run that keeps no instance back
    (`keeps_back`) also assumes that no instance waits for the place that a success frees.
    """
    if decision.run is not None and decision.run.is_finished:
        return False
    begins_to_keep_back = decision.run is not None and decision.run.keeps_back and not run.keeps_back
    return begins_to_keep_back or ends_what_has_begun(decision)


def ends_what_has_begun(decision: Decision) -> bool:
    return any(
        moved.before.state is not None and moved.before.state not in FINISHED and moved.after.state in FINISHED
        for moved in decision.transitions
    )


def without_stumbles(run: DagRun, decision: Decision) -> Decision:
    """The decision, with a write of the run that resets `stumbles`, the failed looks that `back_off` counted: this look
    succeeded."""
    if not run.stumbles:
        return decision
    return replace(decision, run=replace(decision.run or run, stumbles=0))


def load_pools(services: Services, spec: DagSpec, *, known: Pools) -> Pools:
    """The pools that the DAG's tasks name. Most name only the default one, which was read with the DAG."""
    others = pool_names(spec) - {DEFAULT_POOL}
    return {**known, **services.store.get_pools(others)} if others else known


def load_limits_of_tasks(services: Services, spec: DagSpec) -> dict[str, int]:
    """How many instances of all runs count against each task's own limit; few tasks have one."""
    limited = [t for t in spec.tasks.values() if t.max_active_tis_per_dag is not None]
    limits = [of_task(spec.dag_id, task.task_id) for task in limited]
    return {limit: services.store.slots_used(limit) for limit in limits}
