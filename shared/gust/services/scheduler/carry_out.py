"""Carry a decision out, stage by stage: the writes, the messages and everything that follows.

`scheduling/stages.py` gives the stages and their order. A scheduler that dies between two stages does no harm: the next look
at the run decides again on what was written.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, assert_never

from aws_lambda_powertools import Logger

from gust.errors import Conflict, NotFound
from gust.model.container_start import ContainerStart, container_name
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import TaskInstanceKey
from gust.model.place import InGroup, OnFargate
from gust.model.task_instance import TaskInstance
from gust.model.unsent import Unsent
from gust.model.workload import TaskWorkload
from gust.scheduling import transition
from gust.scheduling.decision import Decision, StartNextRun
from gust.scheduling.placement import place
from gust.scheduling.stages import (
    GiveOutSlots,
    Moves,
    RunWrite,
    SendCallbacks,
    SendThenMark,
    SendThenWrite,
    SendTriggers,
    WakeFollowingRuns,
    stages,
)
from gust.scheduling.transition import Transition
from gust.services.backfills.start_waiting_runs import start_waiting_runs
from gust.services.context import Services
from gust.services.make_workload import bundle_version, task_workload, trigger_workload
from gust.services.runs.load_past import following_runs
from gust.services.scheduler.call_back import send_callbacks
from gust.services.scheduler.grant_slots import grant_slots, walk_again
from gust.services.scheduler.pause_after_failures import last_runs
from gust.services.sealed import sealed_decision
from gust.services.wake import look_soon, wake_run
from gust.services.worker.report_task_instance import report_lost
from gust.services.workers_of import workers_for_tasks

PROMPT: Final = timedelta(seconds=2)
"""The longest time from sending a step's messages to its last write. A worker waits longer than this for the write."""

WRITTEN_LATE: Final = "It was written so late that its worker may have given it up: it is sent once more."

log = Logger(service="scheduler", child=True)


def carry_out(services: Services, spec: DagSpec, run: DagRun, decision: Decision, *, now: datetime) -> bool:
    """Returns False, without the later stages, if another writer has moved a task instance since the decision. Raises
    StaleDagRun if another writer has changed the run. `run` and `now`: those that the decision was made on."""
    for stage in stages(spec, run, sealed_decision(services, decision)):
        match stage:
            case Moves(moves):
                stale = services.store.move_all(moves)
                tell_of_lost_tries(run, [moved for moved in moves if moved not in stale])
                if stale:
                    return False
            case SendThenWrite(moves):
                if send_then_write(services, spec, run, moves):
                    return False
            case RunWrite():
                write_run(services, run, stage, now=now)
                run = stage.run
            case SendCallbacks(callbacks):
                send_callbacks(services, run, callbacks)
            case SendThenMark(instances):
                send_tasks(services, spec, run, instances)
            case SendTriggers(instances):
                send_triggers(services, spec, run, instances)
            case GiveOutSlots():
                give_out_slots(services, run, stage)
            case StartNextRun():
                start_waiting_runs(services, run)
            case WakeFollowingRuns():
                for key in following_runs(services, run, spec):
                    look_soon(services, key)
            case _:
                assert_never(stage)
    return True


def tell_of_lost_tries(run: DagRun, moves: Sequence[Transition]) -> None:
    """A try whose function died has no line of its own."""
    for moved in moves:
        if moved.edge == "lose":
            of_try = moved.before
            log.warning(
                "A try was lost",
                **run.names,
                task_id=of_try.task_id,
                map_index=of_try.map_index,
                try_number=of_try.try_number,
                reason=moved.after.reason,
            )


def send_then_write(services: Services, spec: DagSpec, run: DagRun, moves: Sequence[Transition]) -> list[Transition]:
    """Send the messages of the dispatches that the moves begin, then write the moves. Returns the stale moves: those whose
    instance another writer has moved.

    A worker starts only a dispatch that is written. So a message whose move was never written starts nothing, and the next
    look at the run finds the instance unmoved and sends it anew. A worker that is faster than the write waits for it
    (`start_task_instance`), but not for long: a dispatch that was written late is sent once more.
    """
    began = services.clock.now()
    unsent = put_on_queue(services, spec, run, [moved.after for moved in moves])
    accepted = [transition.queue_at_once(moved, at=began) for moved in moves if moved.after.key not in unsent]
    try:
        return services.store.move_all([*accepted, *(moved for moved in moves if moved.after.key in unsent)])
    finally:  # after a failed write too: other writes of the step may have been late
        now = services.clock.now()
        is_late = now - began > PROMPT
        if is_late:
            services.store.move_all([transition.resend(m.after, at=now, reason=WRITTEN_LATE) for m in accepted])
        lose_unsent(services, [moved.after for moved in moves], unsent)
        if is_late or not all(unsent.values()):
            look_soon(services, run.key, delay=1)


def write_run(services: Services, run: DagRun, written: RunWrite, *, now: datetime) -> None:
    """Write the run as decided: finished, or with its new `due_at`. Raises StaleDagRun."""
    after = written.run
    if after.is_finished:
        last = last_runs(services, run, written, now=now)
        services.store.finish_run(run, after, last=last, callbacks=written.callbacks)
        log.info("DagRun finished", **run.names, state=after.state)
        return
    if after.due_at is not None and after.due_at != run.due_at:
        # Before the write: a superfluous wake-up is harmless, a missing one delays the run by up to a minute.
        wake_run(services, run.key, after.due_at, now=now)
    services.store.update_run(run, after)


def send_tasks(services: Services, spec: DagSpec, run: DagRun, instances: Sequence[TaskInstance]) -> None:
    """Put instances that are written as `scheduled` on the queue of tasks, then mark the accepted ones as `queued`.

    A worker may be faster than the mark and have started already; then the mark fails as stale, and nothing needs it.
    """
    unsent = put_on_queue(services, spec, run, instances)
    now = services.clock.now()
    accepted = [instance for instance in instances if instance.key not in unsent]
    services.store.move_all([transition.queue(instance, at=now) for instance in accepted])
    lose_unsent(services, instances, unsent)
    if not all(unsent.values()):
        look_soon(services, run.key, delay=1)


def put_on_queue(
    services: Services, spec: DagSpec, run: DagRun, instances: Sequence[TaskInstance]
) -> dict[TaskInstanceKey, str]:
    """Send each instance to a worker, or start a container for it, as its placement says. Returns the instances that AWS
    refused: with the reason where it will refuse them again, else with an empty one.

    An instance that has no place any longer (Fargate was removed from the stack while it was deferred) goes to a Lambda
    worker, which fails it."""
    bundle, now = bundle_version(services, run), services.clock.now()
    workers = workers_for_tasks(services, spec, {i.task_id: spec.tasks[i.task_id] for i in instances}.values())
    to_workers: list[TaskWorkload] = []
    to_groups: dict[str, list[TaskWorkload]] = defaultdict(list)
    containers: list[ContainerStart] = []
    for instance in instances:
        where = place(spec.tasks[instance.task_id], workers, instance.outgrew)
        workload = task_workload(services, spec, run, instance, where, bundle=bundle, now=now)
        if isinstance(where, OnFargate):
            containers.append(ContainerStart(container_name(instance), workload, where))
        elif isinstance(where, InGroup):
            to_groups[where.group.name].append(workload)
        else:
            to_workers.append(workload)
    unsent = [Unsent(workload) for workload in services.queues.send_tasks(to_workers)] if to_workers else []
    for name, of_group in to_groups.items():
        unsent += services.queues.send_to_group(workers.groups[name], of_group)
    if containers:
        unsent += services.containers.start(containers)
    for key, why in (refused := {one.workload.key: one.why for one in unsent}).items():
        told = "AWS refused a task for good" if why else "AWS refused a task; it is sent again"
        log.warning(told, **run.names, task_id=key.task_id, map_index=key.map_index, reason=why)
    return refused


def lose_unsent(services: Services, sent: Sequence[TaskInstance], unsent: Mapping[TaskInstanceKey, str]) -> None:
    """Fail the tries that AWS refuses for good, each by its own retry rules, with AWS's reason in its log. The instances are
    written as `scheduled`. If the scheduler dies before this, the next look sends them again, and hears the same."""
    for instance in sent:
        if reason := unsent.get(instance.key):
            with suppress(Conflict, NotFound):  # another writer has moved it
                report_lost(services, Dispatch.of(instance), at=services.clock.now(), reason=reason)


def send_triggers(services: Services, spec: DagSpec, run: DagRun, instances: Sequence[TaskInstance]) -> None:
    """Send deferred instances to the triggerer, then mark them: a marked one is not sent again. If the scheduler dies in
    between, the trigger is sent twice, and the first event of the two resumes the task."""
    now = services.clock.now()
    bundle = bundle_version(services, run)
    services.queues.send_triggers(
        [
            trigger_workload(services, run, instance, bundle=bundle, relative_fileloc=spec.relative_fileloc, now=now)
            for instance in instances
        ]
    )
    services.store.move_all([transition.queue_trigger(instance, at=now) for instance in instances])


def give_out_slots(services: Services, run: DagRun, stage: GiveOutSlots) -> None:
    """Walk the lines that may have room. For newly waiting instances that got no slots, send wake-ups that walk their lines
    again once the index shows them."""
    let_go = {key for g in stage.grants for key in grant_slots(services, g.limit, newly_waiting=g.instances)}
    for limit in {i.blocked_by_limit for i in stage.newly_waiting if i.blocked_by_limit and i.key not in let_go}:
        walk_again(services, limit)
    if any(grant.looks_again for grant in stage.grants):
        look_soon(services, run.key)
