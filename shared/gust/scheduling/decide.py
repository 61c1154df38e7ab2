"""Decides what happens to a DagRun now: the one place where Gust schedules.

`decide` takes a whole run and the time, and returns every transition and effect that is possible at that time. Each phase is
a module of its own and extends the same `Draft`:

1. `expiry` ends or resumes the instances whose timer is due;
2. `propagation` ends the instances that their upstreams rule out, to the end of the DAG, and expands mapped tasks;
3. `admission` chooses the instances that go to workers, within all limits;
4. `run_end` ends the run, or `next_look` computes when the scheduler must look at it again.

The decision gives a reason for each instance that does not move. `decide` keeps no state: after a crash half-way through a
commit, the next decision continues from what was written. Rules: `DagRun.update_state`, `_get_ready_tis`, `schedule_tis` and
the scheduler loop of Airflow 3.3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.place import LAMBDA_ALONE, Workers
from gust.model.pool import RUN_LIMIT, pool_of
from gust.model.state import SCHEDULABLE, DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback, run_end, slots
from gust.scheduling.admission import Admitted, admit
from gust.scheduling.callback import WhyEnded
from gust.scheduling.decision import (
    Decision,
    Effect,
    GrantSlots,
    SendCallback,
    SendTask,
    SendTrigger,
    StartNextRun,
)
from gust.scheduling.dependency import Dependency
from gust.scheduling.draft import Draft
from gust.scheduling.expiry import expire_instances, is_run_timed_out, skip_unfinished
from gust.scheduling.next_look import due_while_still, next_look, run_due_again
from gust.scheduling.past import Past
from gust.scheduling.propagation import Propagation, fail_fast
from gust.scheduling.pure_wait import pure_wait
from gust.scheduling.run_view import InstanceId, RunView
from gust.scheduling.timers import DEFAULTS, Config
from gust.scheduling.transition import Transition


def decide(
    spec: DagSpec,
    run: DagRun,
    instances: Mapping[InstanceId, TaskInstance],
    *,
    now: datetime,
    config: Config = DEFAULTS,
    past: Past | None = None,
    callbacks: Sequence[Callback] = (),
    pools: slots.Pools | None = None,
    used: Mapping[str, int] | None = None,
    max_active_tasks: int | None = None,
    is_paused: bool = False,
    has_backlog: bool = True,
    workers: Workers = LAMBDA_ALONE,
) -> Decision:
    """The decision on `run` at `now`. `instances`: the stored ones, by (task_id, map_index).

    `past`: the run before this one. Without it, a task that depends on it (`past.is_needed`) waits.
    `callbacks`: those that the run has stored.
    `pools`: the existing ones of the pools that the tasks name. `used`: how many slots are held of each task's own limit
    (`max_active_tis_per_dag`). `max_active_tasks`: the DAG's current value, which Airflow uses too; `None`: the value in the
    run's version.
    `is_paused`: the DAG is paused. Then no instance goes to a worker and `dagrun_timeout` does not act, but instances that
    have begun can end, skips and failures spread from them, and a run with nothing left to do ends.
    `has_backlog`: messages may wait for a free worker, so the decision gives up no message because no worker took it.
    `workers`: those of the stack. A task that none of them can run fails.
    """
    match run.state:
        case DagRunState.QUEUED:
            return Decision()
        case DagRunState.SUCCESS | DagRunState.FAILED:
            return Decision(effects=(StartNextRun(run.dag_id),))
        case DagRunState.RUNNING:
            pass
        case _:
            assert_never(run.state)
    draft = Draft(
        spec=spec,
        run=run,
        instances=instances,
        view=RunView(spec, run, instances, now),
        now=now,
        config=config,
        past=past,
        callbacks=callbacks,
        pools=pools or {},
        used=used or {},
        max_active_tasks=spec.max_active_tasks if max_active_tasks is None else max_active_tasks,
        is_paused=is_paused,
        has_backlog=has_backlog,
        workers=workers,
    )
    if not is_paused and is_run_timed_out(draft):
        return _time_out(draft)
    if not is_paused and run.logical_date is not None and run.logical_date > now:
        return _await_logical_date(draft, run.logical_date)
    return _move_on(draft)


def expire_only(
    spec: DagSpec,
    run: DagRun,
    instances: Mapping[InstanceId, TaskInstance],
    *,
    now: datetime,
    config: Config = DEFAULTS,
    workers: Workers = LAMBDA_ALONE,
) -> Decision:
    """The decision on a running run whose DAG no longer has a file: only timers act, so that a lost worker or a trigger
    that timed out gives back the slots that other runs wait for. `due_at`: when the next such timer is due."""
    draft = Draft(
        spec=spec,
        run=run,
        instances=instances,
        view=RunView(spec, run, instances, now),
        now=now,
        config=config,
        workers=workers,
    )
    expire_instances(draft)
    moves = tuple(callback.with_kill(moved, draft.spec, draft.workers) for moved in draft.view.moves.values())
    return Decision(transitions=moves, effects=_triggers(draft), due_at=due_while_still(draft, Admitted.before(run)))


def gives_up(decision: Decision) -> bool:
    """Whether the decision gives up a message because no worker took it."""
    return any(moved.edge == "lose" and moved.before.state is S.QUEUED for moved in decision.transitions)


def _move_on(draft: Draft) -> Decision:
    fail_fast(draft)
    expire_instances(draft)
    propagation = Propagation(draft)
    while True:
        ready = propagation.run()
        changes_before = draft.view.changes
        is_stuck = propagation.overtake()
        if is_stuck or draft.view.changes == changes_before:
            break
    admitted = Admitted.before(draft.run)
    if not draft.is_paused:
        admitted = admit(draft, [pair for pair in ready if not draft.view.has_moved(pair[1])])

    unfinished = draft.unfinished()
    if not unfinished and not propagation.is_done_unnoticed:
        state, reason = run_end.outcome(draft)
        why = WhyEnded.SUCCESS if state is DagRunState.SUCCESS else WhyEnded.TASK_FAILURE
        return replace(run_end.finish(draft, state, reason, why=why), is_complete=True)
    if is_stuck:
        reason = "Deadlock: no unfinished task can ever run."
        waiting = [instance for _, instance in unfinished]
        return run_end.finish(draft, DagRunState.FAILED, reason, why=WhyEnded.DEADLOCKED, unfinished=waiting)
    if draft.is_paused:
        return _stand_still(draft, admitted)
    return _go_on(draft, admitted, unfinished)


def _time_out(draft: Draft) -> Decision:
    reason = f"The run took longer than its dagrun_timeout of {timedelta(seconds=draft.spec.dagrun_timeout or 0)}."
    unfinished = skip_unfinished(draft, reason)
    return run_end.finish(draft, DagRunState.FAILED, reason, why=WhyEnded.TIMED_OUT, unfinished=unfinished)


def _await_logical_date(draft: Draft, date: datetime) -> Decision:
    """The decision on a running run whose logical date is in the future: no instance begins before that date."""
    expire_instances(draft)
    for _, instance in draft.view.all_instances():
        if instance.state in SCHEDULABLE:
            draft.wait(instance, f"Its run's logical date is in the future: {date}.", Dependency.LOGICAL_DATE)
    admitted = Admitted.before(draft.run)
    look = next_look(draft, admitted, draft.begun())
    look = replace(look, exact=date if look.exact is None else min(look.exact, date))
    moves = tuple(callback.with_kill(moved, draft.spec, draft.workers) for moved in draft.view.moves.values())
    return Decision(
        transitions=moves,
        run=run_due_again(draft, admitted, look),
        effects=(*(SendCallback(due) for due in callback.due_by(moves)), *_triggers(draft)),
        reasons=draft.reasons,
        blocked_by=draft.blocked_by,
        due_at=look.at,
    )


def _stand_still(draft: Draft, admitted: Admitted) -> Decision:
    """The decision on an unfinished run of a paused DAG: moves that need no worker, callbacks and triggers."""
    moves = draft.transitions()
    return Decision(
        transitions=moves,
        stopped=draft.stopped(),
        effects=(*(SendCallback(due) for due in callback.due_by(moves)), *_triggers(draft)),
        due_at=due_while_still(draft, admitted),
    )


def _go_on(draft: Draft, admitted: Admitted, unfinished: list[tuple[TaskSpec, TaskInstance]]) -> Decision:
    for task, instance in unfinished:
        _explain(draft, task, instance)
    if not draft.run.keeps_back and any(admitted.keeps_back(instance) for _, instance in unfinished):
        admitted.run = replace(admitted.run, keeps_back=True)
    look = next_look(draft, admitted, [instance for _, instance in unfinished])
    moves = draft.transitions()
    return Decision(
        transitions=tuple(move for move in moves if not _begins_to_wait_in_line(move)),
        stopped=draft.stopped(),
        waiting=tuple(move for move in moves if _begins_to_wait_in_line(move)),
        run=run_due_again(draft, admitted, look),
        effects=(
            *(SendCallback(due) for due in callback.due_by(moves)),
            *(e for _, i in unfinished if (e := _effect_of(draft, admitted, i)) is not None),
            *_grants(draft, admitted, unfinished),
        ),
        reasons={key: why for key, why in draft.reasons.items() if _still_waits(draft, key)},
        blocked_by={key: what for key, what in draft.blocked_by.items() if _still_waits(draft, key)},
        due_at=look.at,
    )


# --- reasons ----------------------------------------------------------------------------------------------------------


def _explain(draft: Draft, task: TaskSpec, instance: TaskInstance) -> None:
    key = (instance.task_id, instance.map_index)
    if key in draft.reasons:
        return
    match instance.state:
        case S.SCHEDULED if slots.waits(instance) and instance.blocked_by_limit != RUN_LIMIT:
            claims = [claim for claim in draft.claims(task) if claim.limit == instance.blocked_by_limit]
            objections = [slots.objection(claim, None) for claim in claims]
            is_pool = pool_of(instance.blocked_by_limit or "") is not None
            dependency = Dependency.POOL_SLOTS if is_pool else Dependency.TASK_CONCURRENCY
            draft.wait(instance, next(iter(objections), "It waits for slots."), dependency)
        case S.SCHEDULED | S.QUEUED:
            draft.reasons[key] = "It waits for a worker."
        case S.RUNNING | S.RESTARTING:
            draft.reasons[key] = "It is running."
        case S.DEFERRED:
            draft.reasons[key] = "It waits for its trigger."
        case S.AWAITING_INPUT:
            draft.reasons[key] = "It waits for a person's answer."
        case None | S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE:
            pass  # the phase that did not move it has given the reason
        case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
            pass
        case _:
            assert_never(instance.state)


def _still_waits(draft: Draft, key: InstanceId) -> bool:
    return key not in draft.view.moves or slots.waits(draft.view.moves[key].after)


# --- effects ----------------------------------------------------------------------------------------------------------


def _effect_of(draft: Draft, admitted: Admitted, instance: TaskInstance) -> Effect | None:
    match instance.state:
        case S.SCHEDULED:
            return SendTask(instance) if admitted.may_be_sent(instance) else None
        case S.DEFERRED:
            return _trigger_of(draft, instance)
        case S.QUEUED | S.RUNNING | S.RESTARTING | S.AWAITING_INPUT:
            return None
        case None | S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE:
            return None
        case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
            return None
        case _:
            assert_never(instance.state)


def _triggers(draft: Draft) -> tuple[Effect, ...]:
    """The triggers to send. The scheduler sends triggers also while the DAG is paused or the run waits for its date."""
    effects = (_trigger_of(draft, i) for _, i in draft.view.all_instances() if i.state is S.DEFERRED)
    return tuple(effect for effect in effects if effect is not None)


def _trigger_of(draft: Draft, deferred: TaskInstance) -> SendTrigger | None:
    """The instance's trigger, if it must be sent now. A trigger that waits for a time alone is not: `expiry` ends it."""
    if deferred.trigger is None or not _must_be_sent(draft, deferred):
        return None
    return None if pure_wait(deferred.trigger, since=deferred.start_date) is not None else SendTrigger(deferred)


def _must_be_sent(draft: Draft, deferred: TaskInstance) -> bool:
    """Whether the trigger was never sent, its sleep is over, or it is lost: no sign of life came for `trigger_timeout`. If a
    trigger is sent twice, its first event resumes the task."""
    if deferred.queued_at is None:
        return True
    rests_until = deferred.trigger.rests_until if deferred.trigger else None
    if rests_until is not None and deferred.queued_at < rests_until:
        return rests_until <= draft.now
    return deferred.queued_at + draft.config.trigger_timeout <= draft.now


def _grants(draft: Draft, admitted: Admitted, unfinished: list[tuple[TaskSpec, TaskInstance]]) -> list[GrantSlots]:
    """One for each limit that an instance of the run waits for and that may have room."""
    in_line = [(task, i) for task, i in unfinished if slots.waits(i) and i.blocked_by_limit != RUN_LIMIT]
    in_line.sort(key=lambda pair: slots.order_in_run(*pair))
    of_limit: dict[str, list[TaskInstance]] = {}
    for _, instance in in_line:
        of_limit.setdefault(instance.blocked_by_limit or "", []).append(instance)
    return [
        GrantSlots(limit, tuple(instances), looks_again=admitted.keeps_places_free)
        for limit, instances in of_limit.items()
        if _may_have_room(draft, limit)
    ]


def _may_have_room(draft: Draft, limit: str) -> bool:
    if (name := pool_of(limit)) is None:
        return True
    pool = slots.find_pool(draft.pools, name)
    return pool is not None and (pool.open is None or pool.open > 0)


def _begins_to_wait_in_line(moved: Transition) -> bool:
    return slots.waits(moved.after) and moved.after.blocked_by_limit != RUN_LIMIT
