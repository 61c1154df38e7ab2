"""Move one DagRun as far as it can go now: load → decide → send → commit → perform.

Everything that happens to a run after it was made comes through here: a worker's report, a person's click, a timer. Whoever
changed something only wrote it; the table's stream, a wake-up message or the tick then calls `advance`. Calling it once too
often costs a read, calling it twice at the same time costs the loser another look.

No word about a run is ever needed twice, and none is needed for good: an unfinished run always has a `due_at`, so that the
tick comes upon it again whatever got lost. `advance` never leaves one without, nor with one that has passed.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import LimitReached, StaleDagRun
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.pool import DEFAULT_POOL, of_task
from gust.model.run_state import RunState
from gust.model.state import FINISHED, DagRunState
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeRun
from gust.scheduling import transition
from gust.scheduling.callback import made, next_deadline, of_run_start
from gust.scheduling.decide import decide, gives_up, look_after
from gust.scheduling.decision import Decision, GrantSlots, SendCallback, SendTask, SendTrigger, StartNextRun
from gust.scheduling.past import is_needed
from gust.scheduling.quick_look import remember
from gust.scheduling.slots import Pools, pool_names
from gust.scheduling.transition import Transition
from gust.services.backfills.start_waiting_runs import start_waiting_runs
from gust.services.context import Services
from gust.services.make_workload import bundle_version, task_workload, trigger_workload
from gust.services.people.pending_edit import go_on
from gust.services.runs.follow_newest import follow_newest, is_behind
from gust.services.runs.load_past import following_runs, load_past
from gust.services.runs.new_run import NOTICED_WITHIN
from gust.services.scheduler.call_back import look_after_callbacks, look_after_end, send_callbacks
from gust.services.scheduler.grant_slots import grant_slots, look_again
from gust.services.scheduler.pause_after_failures import last_runs
from gust.services.sealed import sealed_decision
from gust.services.specs import load_spec
from gust.services.wake import wake_run

STANDSTILL: Final = timedelta(hours=1)
"""A run that nothing can move but another run's end or a person is looked at so often, lest it be forgotten."""

FORBEARANCE: Final = timedelta(minutes=2)
"""A moment that a deadline is before the run's own by more than this is worth a write."""

FIRST_STEP: Final = 10
"""So many instances are sent and written at first: a batch of SQS."""

LARGEST_STEP: Final = 40

PROMPT: Final = timedelta(seconds=2)
"""From sending to the last write of a step. Below what a worker waits for the write."""

WRITTEN_LATE: Final = "It was written so late that its worker may have given it up: it is sent once more."

ATTEMPTS: Final = 10
"""Rounds of reload-and-decide before the message is given back: more means that two writers fight forever."""

log = Logger(service="scheduler", child=True)


def advance(services: Services, key: DagRunKey, *, goes_on_with_edits: bool = False) -> None:
    """Bring the run forward. Returns when nothing more can move now; raises StaleDagRun when others kept winning.

    `goes_on_with_edits`: has the time to do so, which takes seconds."""
    services.memory.take(key)  # what is remembered is of the last full look that ended well
    for _ in range(ATTEMPTS):
        state = services.store.load_run(key)
        if state is None:
            return None
        run, now = state.run, services.clock.now()
        if run.edit is not None:
            return go_on(services, run) if goes_on_with_edits else None
        if not run.is_finished and run.is_held(now):
            return None  # A person's writes are under way; who made them lets go of the run, or `due_at` comes.
        try:
            if run.is_finished:
                if run.calls_back or any(not callback.has_ended for callback in state.callbacks):
                    look_after_end(services, run, state.callbacks, now=now)
                return start_waiting_runs(services, run)
            callbacks = look_after_callbacks(services, run, state.callbacks, now=now)
            until = next_deadline(callbacks)
            dag, pools = services.store.get_dag_and_pools(run.dag_id, [DEFAULT_POOL])
            if dag is None or dag.is_paused or dag.is_stale:
                return wait_for_dag(services, replace(state, callbacks=callbacks), dag, now=now, until=until)
            if run.state is DagRunState.QUEUED and run.run_after > now:
                return await_start(services, run, now=now, until=until)
            if is_behind(state, dag):
                follow_newest(services, state, dag)
                continue
            spec = load_spec(services.objects, run.spec_key)
            if run.state is DagRunState.QUEUED:
                lane = lane_of(services, run, dag)
                await_turn(services, run, lane, now=now)
                run = start(services, run, spec, max_active_runs=lane.max_active_runs, now=now)
            decision = decide_on(services, replace(state, run=run, callbacks=callbacks), dag, pools, now=now)
            decision = without_stumbles(run, decision)
            if not carry_out(services, spec, run, decision, now=now) or needs_another_look(run, decision):
                continue
            left = remember(
                spec,
                run,
                state.instances,
                decision,
                pools=pools,
                max_active_tasks=dag.max_active_tasks,
                callbacks=callbacks,
                now=now,
            )
            if left is not None:
                services.memory.put(key, left)
            return None
        except LimitReached as limit:
            log.debug("The run waits", dag_id=run.dag_id, run_id=run.run_id, reason=str(limit))
            with suppress(StaleDagRun):
                return stand_still(services, run, now=now, until=until)
        except StaleDagRun:
            continue
    raise StaleDagRun(f"{key} was moved by others {ATTEMPTS} times while it was being decided", None)


@dataclass(frozen=True, slots=True)
class Lane:
    """What limits how many of its runs run at once, and has the others wait in order: the DAG, or a backfill."""

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


def await_turn(services: Services, run: DagRun, lane: Lane, *, now: datetime) -> None:
    """Runs of a DAG start in the order of `run_after`, those of a backfill in its own, in whatever order the scheduler
    hears of them: a later one that took an earlier one's slot might wait for it, and that for the slot. Raises
    LimitReached."""
    room = lane.max_active_runs - lane.running_runs
    if room <= 0:
        raise LimitReached(f"max_active_runs of {lane.name} is {lane.max_active_runs}")
    candidates = services.store.queued_runs(run.dag_id, limit=lane.max_active_runs, backfill_id=run.backfill_id)
    # The index may still show runs that have just been started.
    others = [services.store.get_run(key) for key in candidates if key != run.key]
    ahead = [other for other in others if other and other.state is DagRunState.QUEUED and is_before(other, run)]
    if len(ahead) < room:
        return
    for other in ahead[:room]:
        services.queues.wake(WakeRun(dag_id=other.dag_id, run_id=other.run_id, at=now), delay=1)
    raise LimitReached(f"{len(ahead)} runs of {lane.name} start before {run.run_id!r}, and {room} may")


def is_before(one: DagRun, other: DagRun) -> bool:
    if one.backfill_id is not None:
        return (one.backfill_ordinal, one.run_id) < (other.backfill_ordinal, other.run_id)
    return (one.run_after, one.run_id) < (other.run_after, other.run_id)


def await_start(services: Services, run: DagRun, *, now: datetime, until: datetime | None) -> None:
    """The run's time has not come. Raises StaleDagRun."""
    at = min(run.run_after, until or run.run_after)
    wake_run(services, run.key, at, now=now)
    if run.due_at is None or run.due_at <= now:
        services.store.update_run(run, replace(run, due_at=at))


def start(services: Services, run: DagRun, spec: DagSpec, *, max_active_runs: int, now: datetime) -> DagRun:
    """queued → running, if the DAG has room for one more. Raises LimitReached, StaleDagRun."""
    # `due_at`: what is sent now may be lost, and is looked after then. Said here, it needs no write of its own; one that
    # the new run came with needs none at all. One that stood still may have an hour's.
    soon = run.due_at is not None and now < run.due_at <= now + NOTICED_WITHIN
    started = replace(
        run,
        state=DagRunState.RUNNING,
        start_date=now,
        last_scheduling_decision=now,
        due_at=run.due_at if soon else now + NOTICED_WITHIN,
    )
    told = of_run_start(spec, started)
    services.store.start_run(run, started, max_active_runs=max_active_runs, callbacks=told)
    log.info("DagRun started", dag_id=run.dag_id, run_id=run.run_id, run_type=run.run_type)
    send_callbacks(services, started, made(told))
    return started


def wait_for_dag(
    services: Services, state: RunState, dag: Dag | None, *, now: datetime, until: datetime | None
) -> None:
    """The run stands still until its DAG is unpaused, or has a file again. What was begun may end meanwhile, and nobody but
    the scheduler notices the end of a lost worker; the run of a paused DAG may be over with that. `until`: a deadline.
    Raises StaleDagRun."""
    run = state.run
    if run.state is not DagRunState.RUNNING:
        return stand_still(services, run, now=now, until=until)
    spec = load_spec(services.objects, run.spec_key)
    if dag is None or not dag.is_paused:
        looked = look_after(spec, run, state.instances, now=now)
    else:
        past = load_past(services, run, spec)
        looked = decide(spec, run, state.instances, now=now, past=past, callbacks=state.callbacks, is_paused=True)
    if not commit(services, run, looked, now=now):
        raise StaleDagRun(f"instances of {run.key} moved on", run)
    perform(services, spec, looked.run or run, looked)
    if looked.run is not None:
        return None
    if ends_what_has_begun(looked):
        services.queues.wake(WakeRun(dag_id=run.dag_id, run_id=run.run_id, at=now))  # see `needs_another_look`
    return stand_still(services, run, now=now, until=min(filter(None, (until, looked.due_at)), default=None))


def stand_still(services: Services, run: DagRun, *, now: datetime, until: datetime | None = None) -> None:
    """The run waits for its DAG, or for its turn: who ends that wakes it. Its moment is moved on once it has passed, so that
    the tick is not busy with what cannot move. `until`: where something may be to be done before, which is done all the
    same. Raises StaleDagRun."""
    if run.due_at is None or run.due_at <= now or (until is not None and until < run.due_at - FORBEARANCE):
        at = min(now + STANDSTILL, until or now + STANDSTILL)
        wake_run(services, run.key, at, now=now)
        services.store.update_run(run, replace(run, due_at=at))


def decide_on(services: Services, state: RunState, dag: Dag, pools: Pools, *, now: datetime) -> Decision:
    """What `decide` says, with everything it must know. `pools`: those that were read with the DAG."""
    run = state.run
    spec = load_spec(services.objects, run.spec_key)
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
    )
    decision = decided(has_backlog=False)
    if gives_up(decision) and services.queues.has_backlog():
        return decided(has_backlog=True)
    return decision


def needs_another_look(run: DagRun, decision: Decision) -> bool:
    """Whether a quick look at the run may have concluded from what this decision changed that it need not do more.

    It concludes from an instance's being unfinished that somebody looks when that ends: here nobody else hears of it. And
    from the run's not keeping anybody back that nobody waits for the place that a success frees.
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
    """The run can be decided again: what `put_off` counted is forgotten with the decision's last write."""
    if not run.stumbles:
        return decision
    return replace(decision, run=replace(decision.run or run, stumbles=0))


def load_pools(services: Services, spec: DagSpec, *, known: Pools) -> Pools:
    """The pools that the DAG's tasks name. Most name none but the default one, which was read with the DAG."""
    others = pool_names(spec) - {DEFAULT_POOL}
    return {**known, **services.store.get_pools(others)} if others else known


def load_limits_of_tasks(services: Services, spec: DagSpec) -> dict[str, int]:
    """How many instances of all runs count against each task's own limit; few tasks have one."""
    limited = [t for t in spec.tasks.values() if t.max_active_tis_per_dag is not None]
    limits = [of_task(spec.dag_id, task.task_id) for task in limited]
    return {limit: services.store.slots_used(limit) for limit in limits}


def carry_out(services: Services, spec: DagSpec, run: DagRun, decision: Decision, *, now: datetime) -> bool:
    """Send who goes to a worker, write the decision and perform the rest. False where a task instance had moved meanwhile:
    then nothing more may follow from the decision.

    What others may follow from is written first, the run last.
    """
    decision = sealed_decision(services, decision)
    going = sent_first(spec, run, decision)
    if going:
        keys = {moved.after.key for moved in going}
        others = tuple(moved for moved in decision.transitions if moved.after.key not in keys)
        if not commit(services, run, Decision(transitions=others), now=now):
            return False
        for step in in_steps(going):
            if not dispatch(services, spec, run, step):
                return False
        rest = (e for e in decision.effects if not (isinstance(e, SendTask) and e.instance.key in keys))
        decision = replace(decision, transitions=(), effects=tuple(rest))
    if not commit(services, run, decision, now=now):
        return False
    perform(services, spec, decision.run or run, decision)
    return True


def sent_first(spec: DagSpec, run: DagRun, decision: Decision) -> list[Transition]:
    """The moves by which instances go to workers, as far as these may have them before the decision is written as a whole.
    None where the run lets them go (`admitted`) or something else must be written before that, nor where runs behind this
    one follow from each move."""
    lets_go = decision.run is not None and decision.run.admitted != run.admitted
    if lets_go or decision.stopped or decision.waiting or is_needed(spec):
        return []
    sent = {effect.instance.key for effect in decision.effects if isinstance(effect, SendTask)}
    return [moved for moved in decision.transitions if moved.after.key in sent]


def in_steps(going: Sequence[Transition]) -> Iterator[Sequence[Transition]]:
    """Cut up: the first of many shall not wait until hundreds are sent and written, nor the last of a step for long."""
    size = FIRST_STEP
    while going:
        yield going[:size]
        going = going[size:]
        size = min(2 * size, LARGEST_STEP)  # each step costs the time of two calls


def dispatch(services: Services, spec: DagSpec, run: DagRun, moves: Sequence[Transition]) -> bool:
    """Send the messages of the dispatches that the moves begin, then write the moves: one write for each. False where an
    instance had moved meanwhile.

    A dispatch begins only as the table has it, so a message whose move was never written starts nothing, and the next look
    at the run finds the instance as it was and sends it anew. A worker that is faster than the write waits for it
    (`start_task_instance`), but not for long: what was written late is sent once more.
    """
    began = services.clock.now()
    refused = put_on_queue(services, spec, run, [moved.after for moved in moves])
    accepted = [transition.queue_at_once(moved, at=began) for moved in moves if moved.after.key not in refused]
    try:
        stale = services.store.move_all([*accepted, *(moved for moved in moves if moved.after.key in refused)])
    finally:  # also where a write failed: others of the step may have been late
        now = services.clock.now()
        is_late = now - began > PROMPT
        if is_late:
            services.store.move_all([transition.resend(m.after, at=now, reason=WRITTEN_LATE) for m in accepted])
        if refused or is_late:
            services.queues.wake(WakeRun(dag_id=run.dag_id, run_id=run.run_id, at=now), delay=1)
    return not stale


def commit(services: Services, run: DagRun, decision: Decision, *, now: datetime) -> bool:
    """Write the decision. False where a task instance had moved meanwhile: then nothing may follow from the decision.

    The run goes after its instances: it is finished, or told when to look again, only by who saw them all as they are.
    After it come those that begin to stand in a line: they may be let go from there at once.
    """
    if services.store.move_all(decision.transitions) or services.store.move_all(decision.stopped):
        return False
    if decision.run is not None and decision.run.is_finished:
        last = last_runs(services, run, decision, now=now)
        services.store.finish_run(run, decision.run, last=last, callbacks=decision.callbacks)
        log.info("DagRun finished", dag_id=run.dag_id, run_id=run.run_id, state=decision.run.state)
    elif decision.run is not None:
        due_at = decision.run.due_at
        if due_at is not None and due_at != run.due_at:
            # Before the write: a wake-up too many is harmless, one too few is a minute late.
            wake_run(services, run.key, due_at, now=now)
        services.store.update_run(run, decision.run)
    return not decision.waiting or not services.store.move_all(decision.waiting)


def perform(services: Services, spec: DagSpec, run: DagRun, decision: Decision) -> None:
    """Carry out the effects. Dying in between is healed by the next look at the run, which finds them again."""
    send_callbacks(services, run, [e.callback for e in decision.effects if isinstance(e, SendCallback)])
    send_tasks(services, spec, run, [e.instance for e in decision.effects if isinstance(e, SendTask)])
    send_triggers(services, spec, run, [e.instance for e in decision.effects if isinstance(e, SendTrigger)])
    give_out_slots(services, run, decision)
    if any(isinstance(e, StartNextRun) for e in decision.effects):
        start_waiting_runs(services, run)
    for following in following_runs(services, run, spec):
        services.queues.wake(WakeRun(dag_id=following.dag_id, run_id=following.run_id, at=services.clock.now()))


def give_out_slots(services: Services, run: DagRun, decision: Decision) -> None:
    """Have those that wait for a limit looked at, the run's among them, in the lines that they stand in."""
    grants = [effect for effect in decision.effects if isinstance(effect, GrantSlots)]
    let_go = {key for g in grants for key in grant_slots(services, g.limit, besides=g.instances)}
    for limit in {m.after.waits_for for m in decision.waiting if m.after.waits_for and m.after.key not in let_go}:
        look_again(services, limit)
    if any(grant.looks_again for grant in grants):
        services.queues.wake(WakeRun(dag_id=run.dag_id, run_id=run.run_id, at=services.clock.now()))


def send_tasks(services: Services, spec: DagSpec, run: DagRun, instances: Sequence[TaskInstance]) -> None:
    """Put instances that are written as scheduled on the queue of tasks, then mark those that SQS accepted as queued.

    A worker may be faster than the mark and have started already; then the mark is stale and not missed.
    """
    if not instances:
        return
    refused = put_on_queue(services, spec, run, instances)
    now = services.clock.now()
    accepted = [instance for instance in instances if instance.key not in refused]
    services.store.move_all([transition.queue(instance, at=now) for instance in accepted])
    if refused:
        services.queues.wake(WakeRun(dag_id=run.dag_id, run_id=run.run_id, at=now), delay=1)


def put_on_queue(
    services: Services, spec: DagSpec, run: DagRun, instances: Sequence[TaskInstance]
) -> set[TaskInstanceKey]:
    """Returns whom SQS refused."""
    bundle, now = bundle_version(services, run), services.clock.now()
    workloads = [task_workload(services, spec, run, instance, bundle=bundle, now=now) for instance in instances]
    refused = {workload.key for workload in services.queues.send_tasks(workloads)}
    for key in refused:
        log.warning("SQS refused a task; it is sent again", dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id)
    return refused


def send_triggers(services: Services, spec: DagSpec, run: DagRun, instances: Sequence[TaskInstance]) -> None:
    """Have the triggerer run what deferred instances wait for, then mark them: one that carries the mark is not sent
    again. Dying in between sends it twice, and the first event of the two resumes the task."""
    if not instances:
        return
    now = services.clock.now()
    bundle = bundle_version(services, run)
    services.queues.send_triggers(
        [
            trigger_workload(services, instance, bundle=bundle, relative_fileloc=spec.relative_fileloc, now=now)
            for instance in instances
        ]
    )
    services.store.move_all([transition.queue_trigger(instance, at=now) for instance in instances])
