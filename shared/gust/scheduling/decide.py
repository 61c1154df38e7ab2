"""What shall happen to a DagRun now: the one place where Gust schedules.

`decide` looks at a whole run and answers with everything that can happen to it at this moment, in one go: timers
that are due, what upstreams made certain (skips and failures travel to the end of the DAG in one decision), which
instances go to workers within the run's limits, and whether the run is over. What cannot move is answered with the
reason.

Nothing here remembers anything: deciding again on what was committed, or on a state that crashed half-way, goes on from
there. Rules: `DagRun.update_state`, `_get_ready_tis`, `schedule_tis` and the scheduler loop of Airflow 3.3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from gust.model.bounds import listed
from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.moment import later
from gust.model.pool import THE_RUN, pool_of
from gust.model.state import FAILED_STATES, SCHEDULABLE, UNFINISHED, DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import callback, expansion, retry, slots, transition
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
from gust.scheduling.past import Past
from gust.scheduling.pure_wait import pure_wait
from gust.scheduling.run_view import InstanceId, RunView
from gust.scheduling.trigger_rule import Evaluation, Verdict
from gust.scheduling.upstream import Upstream

UNSTOPPABLE: Final = frozenset({S.SUCCESS, S.FAILED, S.SKIPPED})
"""What a failure of another task ends nothing of."""

BEGUN: Final = frozenset({S.QUEUED, S.RUNNING, S.RESTARTING, S.DEFERRED, S.AWAITING_INPUT})
"""What a worker, a trigger or a person has in hand."""

SOON: Final = timedelta(milliseconds=1)
"""After `now`, and before anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    heartbeat_timeout: timedelta = timedelta(seconds=60)
    """A running worker that was silent for longer is lost."""
    queued_timeout: timedelta = timedelta(seconds=600)
    """A message that no worker took for longer is sent again. Airflow's `[scheduler] task_queued_timeout`."""
    most_requeues: int = 2
    """What was sent again so often is given up the next time. Airflow's `num_stuck_in_queued_retries`."""
    trigger_timeout: timedelta = timedelta(hours=1)
    """A trigger that neither ran nor was parked for longer is sent again. Parked and running it is heard of every half
    hour, and SQS brings a message that was lost with its function back after a minute."""
    look_again: timedelta = timedelta(seconds=600)
    """A run that waits for anything is looked at again so often, whatever it waits for: no word is needed for good."""


def decide(
    spec: DagSpec,
    run: DagRun,
    instances: Mapping[InstanceId, TaskInstance],
    *,
    now: datetime,
    config: Config = Config(),
    past: Past | None = None,
    callbacks: Sequence[Callback] = (),
    pools: slots.Pools | None = None,
    used: Mapping[str, int] | None = None,
    max_active_tasks: int | None = None,
    is_paused: bool = False,
    has_backlog: bool = True,
) -> Decision:
    """The decision on `run` at `now`. `instances` are those the store has, by (task_id, map_index).

    `past` is what came before the run; needed where a task depends on it (`past.is_needed`), such a task waits without.
    `callbacks` are those the run has already.
    `pools` are those that the tasks name, as far as they exist; `used` says how many slots are held of the limits that tasks
    have of their own (`max_active_tis_per_dag`). `max_active_tasks` is the DAG's now, as in Airflow; `None`:
    that of the run's version.
    `is_paused`: the DAG is. Then nothing goes to a worker and the run's own timeout waits, but what has begun may end, what
    follows from that is certain all the same, and a run with nothing left to do is over.
    `has_backlog`: messages may wait for a free worker, so none is given up because no worker took it.
    """
    match run.state:
        case DagRunState.QUEUED:
            return Decision()
        case DagRunState.SUCCESS | DagRunState.FAILED:
            return Decision(effects=(StartNextRun(run.dag_id),))
    most = spec.max_active_tasks if max_active_tasks is None else max_active_tasks
    deciding = _Deciding(
        spec,
        run,
        instances,
        now=now,
        config=config,
        past=past,
        callbacks=callbacks,
        pools=pools or {},
        used=used or {},
        most=most,
        is_paused=is_paused,
        has_backlog=has_backlog,
    )
    return deciding.decide()


def look_after(
    spec: DagSpec,
    run: DagRun,
    instances: Mapping[InstanceId, TaskInstance],
    *,
    now: datetime,
    config: Config = Config(),
) -> Decision:
    """For a running run whose DAG has no file any more: nothing goes on, but a worker may be lost, or a trigger's time be
    up, and what they hold of pools others wait for. `due_at` is the next moment that such a thing may happen at."""
    deciding = _Deciding(
        spec, run, instances, now=now, config=config, past=None, callbacks=(), pools={}, used={}, most=0
    )
    return deciding.look_after()


class _Deciding:
    """The steps of one decision over one view of the run."""

    def __init__(
        self,
        spec: DagSpec,
        run: DagRun,
        instances: Mapping[InstanceId, TaskInstance],
        *,
        now: datetime,
        config: Config,
        past: Past | None,
        callbacks: Sequence[Callback],
        pools: slots.Pools,
        used: Mapping[str, int],
        most: int,
        is_paused: bool = False,
        has_backlog: bool = True,
    ) -> None:
        self.spec = spec
        self.run = run
        self.now = now
        self.config = config
        self.past = past
        self.callbacks = callbacks
        self.instances = instances
        self.pools = pools
        self.used = used
        self.max_active_tasks = most
        self.is_paused = is_paused
        self.has_backlog = has_backlog
        self.admitted = slots.admissions(run)
        """The run's, and whom this decision lets go besides."""
        self.run_admitting = run
        """The run as it says so."""
        self.is_never_full = False
        self.keeps_places_free = False
        self.view = RunView(spec, run, instances, now)
        self.upstream = Upstream(self.view)
        self.reasons: dict[InstanceId, str] = {}
        self.blocked_by: dict[InstanceId, Dependency] = {}
        self._revised: set[str] = set()
        self._is_done_unnoticed = False
        """All that was left was overtaken by branches: Airflow does not notice, and takes the run for stuck."""
        self._stoppers: list[InstanceId] = []
        """Failures that this decision ends the others for."""
        self._waiting: set[InstanceId] = set()
        """What waits for its upstreams, as far as they were looked at."""

    def decide(self) -> Decision:
        if not self.is_paused and self._is_timed_out():
            return self._time_out()
        if not self.is_paused and self._logical_date_to_come() is not None:
            return self._await_logical_date()
        self._fail_fast()
        self._ring_timers()
        while True:
            ready = self._settle()
            changes_before = self.view.changes
            is_stuck = self._overtake()
            if is_stuck or self.view.changes == changes_before:
                break
        if not self.is_paused:
            self._schedule([pair for pair in ready if not self.view.has_moved(pair[1])])
        return self._conclude(is_stuck=is_stuck)

    def _logical_date_to_come(self) -> datetime | None:
        date = self.run.logical_date
        return date if date is not None and date > self.now else None

    def _await_logical_date(self) -> Decision:
        """Somebody triggered the run ahead of its logical date. It runs, and nothing in it does before that."""
        date = self._logical_date_to_come()
        self._ring_timers()
        for _, instance in self.view.all_instances():
            if instance.state in SCHEDULABLE:
                self._wait(instance, f"Its run's logical date is in the future: {date}.", Dependency.LOGICAL_DATE)
        exact, lazy = self._deadlines([i for _, i in self.view.all_instances() if i.state in BEGUN])
        exact = _earlier(exact, date)
        moves = tuple(callback.with_trigger_kill(moved) for moved in self.view.moves.values())
        return Decision(
            transitions=moves,
            run=self._run_looked_at_again(exact, lazy),
            effects=(*(SendCallback(due) for due in callback.due_by(moves)), *self._triggers()),
            reasons=self.reasons,
            blocked_by=self.blocked_by,
            due_at=_earlier(exact, lazy),
        )

    def look_after(self) -> Decision:
        self._ring_timers()
        moves = tuple(callback.with_trigger_kill(moved) for moved in self.view.moves.values())
        return Decision(transitions=moves, effects=self._triggers(), due_at=self._due_though_standing())

    def _triggers(self) -> tuple[Effect, ...]:
        """They go on whatever their DAG does."""
        effects = (self._effect_of(instance) for _, instance in self.view.all_instances())
        return tuple(effect for effect in effects if isinstance(effect, SendTrigger))

    def _due_though_standing(self) -> datetime | None:
        """When something that has begun may have to be ended, though nothing goes on."""
        exact, lazy = self._deadlines([i for _, i in self.view.all_instances() if i.state in BEGUN])
        return _earlier(exact, lazy if lazy < self.now + self.config.look_again else None)

    # --- timers -------------------------------------------------------------------------------------------------------

    def _is_timed_out(self) -> bool:
        deadline = self._run_deadline()
        return deadline is not None and deadline <= self.now

    def _run_deadline(self) -> datetime | None:
        if self.spec.dagrun_timeout is None or self.run.start_date is None:
            return None
        return later(self.run.start_date, self.spec.dagrun_timeout)

    def _time_out(self) -> Decision:
        reason = f"The run took longer than its dagrun_timeout of {timedelta(seconds=self.spec.dagrun_timeout or 0)}."
        unfinished = [instance for _, instance in self.view.all_instances() if instance.state in UNFINISHED]
        for instance in unfinished:
            self.view.move(transition.time_out(instance, at=self.now, reason=reason))
        return self._finish(DagRunState.FAILED, reason, why=WhyEnded.TIMED_OUT, unfinished=unfinished)

    def _ring_timers(self) -> None:
        for task, instance in self.view.all_instances():
            if self.view.has_moved(instance):
                continue
            match instance.state:
                case S.RUNNING | S.RESTARTING if self._lost_at(instance) <= self.now:
                    self._lose(task, instance)
                case S.QUEUED if self._stuck_at(instance) <= self.now:
                    self._requeue(task, instance)
                case S.DEFERRED if instance.trigger is not None:
                    self._ring_trigger(instance, instance.trigger)
                case S.AWAITING_INPUT if instance.due_at is not None and instance.due_at <= self.now:
                    self.view.move(transition.time_out_input(instance, at=self.now))
                case _:
                    pass

    def _requeue(self, task: TaskSpec, instance: TaskInstance) -> None:
        """What no worker took is sent again; what none took again and again, although there were workers, fails for good as
        in Airflow (`_maybe_requeue_stuck_ti`)."""
        if instance.times_requeued < self.config.most_requeues or self.has_backlog:
            reason = f"No worker took it for {self.config.queued_timeout}; sent again."
            self.view.move(transition.resend(instance, at=self.now, reason=reason, is_stuck=True))
            return
        reason = f"Task was requeued more than {self.config.most_requeues} times and will be failed."
        lost = transition.lose(instance, at=self.now, reason=reason, retry_at=None)
        self.view.move(callback.with_task_callback(task, lost, emails=False))

    def _lost_at(self, instance: TaskInstance) -> datetime:
        signs = [sign for sign in (instance.start_date, instance.heartbeat_at) if sign is not None]
        return later(max(signs, default=self.now), self.config.heartbeat_timeout)

    def _stuck_at(self, instance: TaskInstance) -> datetime:
        return (instance.queued_at or instance.scheduled_at or self.now) + self.config.queued_timeout

    def _lose(self, task: TaskSpec, instance: TaskInstance) -> None:
        reason = f"The worker was silent for more than {self.config.heartbeat_timeout}; the try is lost."
        self.view.move(lose_try(task, self.run, instance, at=self.now, reason=reason))

    def _ring_trigger(self, instance: TaskInstance, trigger: ParkedTrigger) -> None:
        wait = pure_wait(trigger, since=instance.start_date)
        timeout_at = instance.due_at
        if wait is not None and wait.until <= self.now and (timeout_at is None or wait.until <= timeout_at):
            if wait.ends_task:
                self.view.move(transition.succeed(instance, at=self.now))
            else:
                self.view.move(transition.resume(instance, at=self.now, event=wait.event))
        elif timeout_at is not None and timeout_at <= self.now:
            reason = "The trigger did not fire before its timeout."
            self.view.move(transition.time_out_trigger(instance, at=self.now, reason=reason))

    # --- what is certain ----------------------------------------------------------------------------------------------

    def _fail_fast(self) -> None:
        """A failure ends all other tasks but teardowns, once, as Airflow's does in the write that fails the try: what a
        person clears afterwards runs."""
        if not self.spec.fail_fast:
            return
        for task, instance in list(self.view.all_instances()):
            key = (task.task_id, instance.map_index)
            if instance.state is S.FAILED and not instance.stopped_others and key not in self._stoppers:
                self._stoppers.append(key)
                self._stop_others(task)

    def _stop_others(self, failed: TaskSpec) -> None:
        """Those that run are failed, all others skipped, be they upstream_failed or removed."""
        reason = f"Task {failed.task_id} failed and the DAG has fail_fast set."
        for task, instance in list(self.view.all_instances()):
            if task.is_teardown or task is failed or instance.state in UNSTOPPABLE:
                continue
            before = self.view.take_back(instance)
            if before.state is S.RUNNING:
                moved = transition.fail(before, at=self.now, reason=reason)
                self.view.move(replace(moved, after=replace(moved.after, stopped_others=True)))
            elif before.state not in UNSTOPPABLE:
                self.view.move(transition.skip(before, at=self.now, reason=reason))

    def _settle(self) -> list[tuple[TaskSpec, TaskInstance]]:
        """Move everything that is certain, until nothing follows any more; returns what may go to a worker.

        The scheduler's own writes do not wake it again, so whatever follows from them has to be decided here. It goes
        in rounds, each on what the one before left, in the order of Airflow's passes (by task id and map index): where
        an instance could be settled one way by one upstream and another way by another, the nearer one wins as it does
        there.
        """
        ready: dict[InstanceId, tuple[TaskSpec, TaskInstance]] = {}
        looked_at = sorted(self.spec.tasks)
        self._fail_fast()
        self.view.begin_round()
        while looked_at:
            found = [
                (task := self.spec.tasks[task_id], instance)
                for task_id in looked_at
                for instance in list(self.view.instances_of(task_id).values())
            ]
            self._revised.clear()
            empty: list[tuple[TaskSpec, TaskInstance]] = []
            for task, instance in found:  # grows while it is walked: what is expanded is looked at last
                key = (task.task_id, instance.map_index)
                current = self.view.instances_of(task.task_id).get(instance.map_index)
                if key in ready or current is None or not self._settle_instance(task, current):
                    continue
                if task.is_mapped and current.map_index == UNMAPPED:
                    found += [(task, expanded) for expanded in self._expand(task, current)]
                    continue
                for one in (*self._revise(task), current):
                    if self.is_paused:
                        continue
                    if task.is_empty:
                        empty.append((task, one))
                    elif not self.view.has_moved(one) and self._needs_worker(task, one):
                        ready[task.task_id, one.map_index] = (task, one)
            self._complete(empty)
            self._fail_fast()
            looked_at = self._concerned(self.view.begin_round())
        return [pair for pair in ready.values() if not self.view.has_moved(pair[1])]

    def _concerned(self, changed: frozenset[str]) -> list[str]:
        """The tasks, sorted, for which something may follow from a change of `changed`."""
        concerned = set(changed)
        for task_id in changed:
            concerned.update(self.spec.tasks[task_id].downstream_task_ids)
            concerned.update(self.upstream.looking_far_below(task_id))
        # What becomes of one that is mapped over, who maps over it sees in the same round.
        ends = list(concerned)
        while ends:
            more = self._mapping_over.get(ends.pop(), frozenset()) - concerned
            concerned |= more
            ends += more
        return sorted(concerned)

    @cached_property
    def _mapping_over(self) -> dict[str, frozenset[str]]:
        """Task → the mapped tasks that map over its result."""
        found: dict[str, set[str]] = {}
        for task in self.spec.tasks.values():
            if task.is_mapped:
                for source in expansion.closest_expansion_sources(self.spec, task):
                    found.setdefault(source, set()).add(task.task_id)
        return {source: frozenset(tasks) for source, tasks in found.items()}

    def _settle_instance(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Whether the instance may go to a worker; moves it where it is certain that it will not."""
        if instance.state not in SCHEDULABLE or self.view.has_moved(instance):
            return False
        evaluation = self.upstream.evaluate(task, instance)
        self._waiting.discard((task.task_id, instance.map_index))
        match evaluation.verdict:
            case Verdict.RUN:
                return self._may_go(task, instance)
            case Verdict.WAIT:
                self._wait(instance, evaluation.reason, evaluation.dependency)
                self._waiting.add((task.task_id, instance.map_index))
        self._settle_as(instance, evaluation)
        return False

    def _settle_as(self, instance: TaskInstance, evaluation: Evaluation) -> None:
        """Move it where it is certain that it will not run."""
        match evaluation.verdict:
            case Verdict.SKIP:
                move = transition.skip
            case Verdict.UPSTREAM_FAIL:
                move = transition.upstream_fail
            case Verdict.REMOVE:
                move = transition.remove
            case _:
                return
        self.view.move(move(self.view.take_back(instance), at=self.now, reason=evaluation.reason))

    def _may_go(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Its upstreams let it go. Is it time, does the past let it go?"""
        if instance.due_at is not None and instance.due_at > self.now:
            is_retried = instance.state is S.UP_FOR_RETRY
            reason = f"It is {'retried' if is_retried else 'continued'} at {instance.due_at.isoformat()}."
            self._wait(instance, reason, Dependency.RETRY_PERIOD if is_retried else Dependency.RESCHEDULE)
            return False
        if (objection := self._past_objection(task)) is not None:
            self._wait(instance, objection, Dependency.PREVIOUS_RUN)
            return False
        return True

    def _complete(self, empty: list[tuple[TaskSpec, TaskInstance]]) -> None:
        """They succeed when the round is over, as at the end of Airflow's pass: nobody maps over them before."""
        for task, instance in empty:
            if not self.view.has_moved(instance):
                self.view.move(transition.complete_empty(instance, at=self.now, retries=task.retries))

    def _needs_worker(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Nothing holds it back any more. Ends it here where no worker can run it."""
        if (missing := missing_worker(task)) is not None:
            refused = transition.refuse(instance, at=self.now, retries=task.retries, reason=missing)
            self.view.move(callback.with_task_callback(task, refused, emails=True))
            return False
        return True

    def _past_objection(self, task: TaskSpec) -> str | None:
        if not (task.depends_on_past or task.wait_for_downstream):
            return None
        if self.past is None:
            return "The task depends on the past, and the run before this one was not looked at."
        return self.past.objection(self.spec, task)

    def _expand(self, task: TaskSpec, placeholder: TaskInstance) -> list[TaskInstance]:
        """Everything the placeholder waited for is there: put its instances in its place. Returns those."""
        length = self.view.map_length(task)
        if length is None:
            reason = "A task whose result it maps over has pushed nothing to map over."
            self.view.move(transition.upstream_fail(placeholder, at=self.now, reason=reason))
            return []
        if length == 0:
            reason = "It maps over nothing: the length of its expansion is zero."
            self.view.move(transition.skip(placeholder, at=self.now, reason=reason))
            return []
        self.reasons.pop((task.task_id, UNMAPPED), None)
        self.view.expand(task, length)
        return list(self.view.instances_of(task.task_id).values())

    def _revise(self, task: TaskSpec) -> list[TaskInstance]:
        """An expanded task goes on, and what it maps over may have another length since: those beyond it are removed,
        whatever they are, and those that are new returned, which may go at once. Looked at once in a round."""
        if not task.is_mapped or task.task_id in self._revised:
            return []
        self._revised.add(task.task_id)
        length = self.view.map_length(task)
        if length is None:
            return []
        for instance in list(self.view.instances_of(task.task_id).values()):
            if instance.map_index >= length and instance.state is not S.REMOVED:
                before = self.view.take_back(instance)
                reason = f"The task maps over {length} values now."
                self.view.move(transition.remove(before, at=self.now, reason=reason))
        return self.view.grow(task, length)

    def _wait(self, instance: TaskInstance, reason: str, dependency: Dependency) -> None:
        key = (instance.task_id, instance.map_index)
        self.reasons[key] = reason
        self.blocked_by[key] = dependency

    # --- limits -------------------------------------------------------------------------------------------------------

    def _schedule(self, ready: list[tuple[TaskSpec, TaskInstance]]) -> None:
        """All that may go is `scheduled`; the most important of it is sent, as far as there is room.

        Two schedulers may look at the same run. Where all fits that there is, whatever they do fits. Where it does not,
        everything waits first, and is let go by a write to the run (`admitted`) that only one of them can make: see
        docs/adr on limits. A run that once kept instances back lets all go by that write from then on, so that who has seen
        its item knows who can be under way (`quick_look`).
        """
        self._count_what_pools_count()
        to_workers = [(task, i) for task, i in ready if not self._start_from_trigger(task, i)]
        waiting = [(task, i) for task, i in self.view.all_instances() if slots.waits(i)]
        kept_back = [(task, i) for task, i in waiting if self._waits_for_its_run(i)]
        everything = [instance for _, instance in self.view.all_instances()]
        self.is_never_full = slots.can_never_be_full(self.spec, self.max_active_tasks, everything)
        if self.is_never_full:
            for task, instance in to_workers:
                self._let_go(task, instance)
            for task, instance in kept_back:
                self._stand_in_line(task, instance)
        elif not kept_back and not self.run.keeps_back and self._all_fits(everything, to_workers + waiting):
            for task, instance in to_workers:
                self._let_go(task, instance)
        else:
            everybody = waiting + to_workers
            self._admit(everything, sorted(everybody, key=lambda pair: slots.order_in_run(*pair)))

    def _count_what_pools_count(self) -> None:
        for task, instance in self.view.all_instances():
            if not self.view.has_moved(instance):
                claims = self._claims(task)
                if slots.should_hold(instance, claims) is not instance:
                    self.view.move(transition.hold(instance, claims=claims))

    def _claims(self, task: TaskSpec) -> Sequence[slots.Claim]:
        return slots.claims(self.spec.dag_id, task, self.pools)

    def _start_from_trigger(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Airflow asks no limit about what begins with its trigger; once it is deferred it counts."""
        trigger = start_trigger(task, self.now)
        if trigger is None:
            return False
        self.view.move(
            transition.start_from_trigger(
                instance, at=self.now, retries=task.retries, trigger=trigger, claims=self._claims(task)
            )
        )
        return True

    def _waits_for_its_run(self, instance: TaskInstance) -> bool:
        return instance.waits_for == THE_RUN and not slots.is_on_its_way(instance, self.admitted)

    def _is_kept_back(self, instance: TaskInstance) -> bool:
        return slots.waits(instance) and not self._may_be_sent(instance)

    def _all_fits(self, everything: list[TaskInstance], more: list[tuple[TaskSpec, TaskInstance]]) -> bool:
        room = slots.Room(self.max_active_tasks, everything, self.admitted)
        for task, _ in more:
            if room.objection(task):
                return False
            room.take(task)
        return True

    def _let_go(self, task: TaskSpec, instance: TaskInstance) -> None:
        """The run has room for it. So it is sent, unless it needs slots of a limit that crosses runs."""
        claims = self._claims(task)
        self._scheduled(task, instance, waits_for=claims[0].limit if claims else None)

    def _stand_in_line(self, task: TaskSpec, instance: TaskInstance) -> None:
        """It waited for its run. If it needs slots too, it waits for those now."""
        if claims := self._claims(task):
            order = slots.waiting_order(task, self.run, instance.map_index)
            self.view.move(transition.wait(instance, waits_for=claims[0].limit, waiting_order=order))

    def _admit(self, everything: list[TaskInstance], ordered: list[tuple[TaskSpec, TaskInstance]]) -> None:
        """In order, as many as there is room for. Who will get its slots keeps a place in the run free, who has to wait for
        them keeps nobody back."""
        room = slots.Room(self.max_active_tasks, everything, self.admitted)
        promised: Counter[str] = Counter()
        admitted: list[slots.Admission] = []
        for task, instance in ordered:
            is_new = instance.state is not S.SCHEDULED
            is_in_line = not is_new and not self._waits_for_its_run(instance)
            if slots.is_on_its_way(instance, self.admitted):
                continue
            if (objection := room.objection(task)) is not None:
                self._wait(instance, objection, Dependency.RUN_SLOTS if room.is_full else Dependency.TASK_CONCURRENCY)
                if is_new:
                    self._scheduled(task, instance, waits_for=THE_RUN)
            elif claims := self._claims(task):
                if not is_in_line:
                    self._let_go(task, instance) if is_new else self._stand_in_line(task, instance)
                if all(self._has_room(claim, promised) for claim in claims):
                    promised.update({claim.limit: claim.slots for claim in claims})
                    room.take(task)
            elif not is_in_line:
                room.take(task)
                after = self._scheduled(task, instance, waits_for=THE_RUN) if is_new else instance
                admitted.append(slots.admission(after))
        if admitted:
            self.run_admitting = slots.admitting(self.run, admitted, everything)
            self.admitted = slots.admissions(self.run_admitting)
        kept_back = any(slots.waits(i) and self._waits_for_its_run(i) for _, i in self.view.all_instances())
        self.keeps_places_free = bool(promised) and kept_back

    def _has_room(self, claim: slots.Claim, promised: Counter[str]) -> bool:
        used = claim.pool.used if claim.pool else self.used.get(claim.limit)
        return used is not None and claim.has_room(used + promised[claim.limit])

    def _scheduled(self, task: TaskSpec, instance: TaskInstance, *, waits_for: str | None) -> TaskInstance:
        is_in_line = waits_for not in {None, THE_RUN}
        order = slots.waiting_order(task, self.run, instance.map_index) if is_in_line else None
        moved = transition.schedule(
            instance, at=self.now, retries=task.retries, waits_for=waits_for, waiting_order=order
        )
        self.view.move(moved)
        return moved.after

    # --- what was overtaken -------------------------------------------------------------------------------------------

    def _overtake(self) -> bool:
        """Nothing more can be sent: does anything that is sent or runs still have what it waited for, or can anything
        be expected of time? Otherwise the run is stuck, for good; returns whether it is.

        Until the first that still has it is found, Airflow moves those that can no longer have it, workers or not: a
        person's clear or mark has taken from under them what they were let go by. It judges none of this while anything
        is deferred, or waits for another run or for room of its task.
        """
        unfinished = sorted(
            ((task, i) for task, i in self.view.all_instances() if i.state in UNFINISHED),
            key=lambda pair: (pair[0].task_id, pair[1].map_index),
        )
        if not unfinished or any(_may_wait_for_others(task, instance) for task, instance in unfinished):
            return False
        self.view.begin_round()
        changes_before = self.view.changes
        kinds: set[Dependency] = set()
        for task, instance in unfinished:
            is_waiting = (task.task_id, instance.map_index) in self._waiting
            if is_waiting and self.view.changes == changes_before:
                continue
            evaluation = self.upstream.evaluate(task, instance)
            if evaluation.verdict is Verdict.RUN:
                return False
            self._settle_as(instance, evaluation)
            if evaluation.verdict is not Verdict.WAIT:
                kinds.add(evaluation.dependency)
        self._is_done_unnoticed = kinds == {Dependency.BRANCH}
        return True

    # --- the run ------------------------------------------------------------------------------------------------------

    def _conclude(self, *, is_stuck: bool) -> Decision:
        unfinished = [(t, i) for t, i in self.view.all_instances() if i.state in UNFINISHED]
        if not unfinished and not self._is_done_unnoticed:
            state, reason = self._outcome()
            is_success = state is DagRunState.SUCCESS
            ended = self._finish(state, reason, why=WhyEnded.SUCCESS if is_success else WhyEnded.TASK_FAILURE)
            return replace(ended, is_settled=True)
        if is_stuck:
            reason = "Deadlock: no unfinished task can ever run."
            waiting = [instance for _, instance in unfinished]
            return self._finish(DagRunState.FAILED, reason, why=WhyEnded.DEADLOCKED, unfinished=waiting)
        if self.is_paused:
            return self._conclude_paused()
        for task, instance in unfinished:
            self._explain(task, instance)
        if not self.run.keeps_back and any(self._is_kept_back(instance) for _, instance in unfinished):
            self.run_admitting = replace(self.run_admitting, keeps_back=True)
        exact, lazy = self._deadlines([instance for _, instance in unfinished])
        moves = self._transitions()
        return Decision(
            transitions=tuple(move for move in moves if not _begins_to_wait_in_line(move)),
            stopped=self._stopped(),
            waiting=tuple(move for move in moves if _begins_to_wait_in_line(move)),
            run=self._run_looked_at_again(exact, lazy),
            effects=(
                *(SendCallback(due) for due in callback.due_by(moves)),
                *(e for _, i in unfinished if (e := self._effect_of(i)) is not None),
                *self._grants(unfinished),
            ),
            reasons={key: why for key, why in self.reasons.items() if self._still_waits(key)},
            blocked_by={key: what for key, what in self.blocked_by.items() if self._still_waits(key)},
            due_at=_earlier(exact, lazy),
        )

    def _conclude_paused(self) -> Decision:
        moves = self._transitions()
        return Decision(
            transitions=moves,
            stopped=self._stopped(),
            effects=(*(SendCallback(due) for due in callback.due_by(moves)), *self._triggers()),
            due_at=self._due_though_standing(),
        )

    def _transitions(self) -> tuple[transition.Transition, ...]:
        moves = (*self._gone(), *self.view.transitions())
        return tuple(callback.with_trigger_kill(moved) for moved in moves)

    def _gone(self) -> Iterator[transition.Transition]:
        """The run goes on with another version of the DAG, which does not have them."""
        for instance in self.instances.values():
            if instance.task_id not in self.spec.tasks and instance.state is not S.REMOVED:
                reason = "The DAG version that its run goes on with has no such task."
                yield transition.remove(instance, at=self.now, reason=reason)

    def _stopped(self) -> tuple[transition.Transition, ...]:
        instances = (self.view.instances_of(task_id)[map_index] for task_id, map_index in self._stoppers)
        return tuple(transition.stop_others(instance) for instance in instances if instance.state is S.FAILED)

    def _still_waits(self, key: InstanceId) -> bool:
        return key not in self.view.moves or slots.waits(self.view.moves[key].after)

    def _grants(self, unfinished: list[tuple[TaskSpec, TaskInstance]]) -> list[GrantSlots]:
        """One for each limit that one of the run's instances waits for and that may have room."""
        in_line = [(task, i) for task, i in unfinished if slots.waits(i) and i.waits_for != THE_RUN]
        in_line.sort(key=lambda pair: slots.order_in_run(*pair))
        of_limit: dict[str, list[TaskInstance]] = {}
        for _, instance in in_line:
            of_limit.setdefault(instance.waits_for or "", []).append(instance)
        return [
            GrantSlots(limit, tuple(instances), looks_again=self.keeps_places_free)
            for limit, instances in of_limit.items()
            if self._may_have_room(limit)
        ]

    def _may_have_room(self, limit: str) -> bool:
        if (name := pool_of(limit)) is None:
            return True
        pool = slots.find_pool(self.pools, name)
        return pool is not None and (pool.open is None or pool.open > 0)

    def _outcome(self) -> tuple[DagRunState, str]:
        """All is finished: the run's state by its leaves."""
        states = {t: [i.state for i in self.view.instances_of(t).values()] for t in self._deciding_tasks()}
        failed = sorted(t for t, of_task in states.items() if FAILED_STATES.intersection(of_task))
        if failed:
            return DagRunState.FAILED, f"Leaf tasks did not succeed: {listed(failed)}."
        return DagRunState.SUCCESS, "All leaf tasks succeeded or were skipped."

    def _deciding_tasks(self) -> list[str]:
        """The leaves. A teardown decides only with `on_failure_fail_dagrun`; otherwise its upstreams are the leaves."""
        leaves = [task.task_id for task in self.spec.tasks.values() if self._is_effective_leaf(task)]
        return leaves or list(self.spec.leaves)

    def _is_effective_leaf(self, task: TaskSpec) -> bool:
        return _counts_for_run(task) and not any(
            _counts_for_run(self.spec.tasks[downstream]) for downstream in task.downstream_task_ids
        )

    def _finish(
        self, state: DagRunState, reason: str, *, why: WhyEnded, unfinished: Sequence[TaskInstance] = ()
    ) -> Decision:
        """`unfinished`: what had not ended when the run's end was decided."""
        finished = replace(
            self.run,
            state=state,
            end_date=self.now,
            last_scheduling_decision=self.now,
            due_at=None,
            instance_states=self.view.counted(),
            reason=reason,
        )
        instances = [instance for _, instance in self.view.all_instances()]
        shown = callback.shown_at_end(self.spec, why, instances, unfinished)
        transitions = self._transitions()
        of_tries = callback.due_by(transitions)
        ending = callback.at_end(self.spec, finished, self.callbacks, why=why, shown=shown)
        return Decision(
            transitions=transitions,
            stopped=self._stopped(),
            run=callback.run_that_calls_back(finished, self.callbacks, of_tries, ending, now=self.now),
            callbacks=ending,
            effects=(
                *(SendCallback(due) for due in (*of_tries, *callback.made(ending))),
                StartNextRun(self.run.dag_id),
            ),
            reasons=self.reasons,
            blocked_by=self.blocked_by,
        )

    def _explain(self, task: TaskSpec, instance: TaskInstance) -> None:
        key = (instance.task_id, instance.map_index)
        if key in self.reasons:
            return
        match instance.state:
            case S.SCHEDULED if slots.waits(instance) and instance.waits_for != THE_RUN:
                claims = [claim for claim in self._claims(task) if claim.limit == instance.waits_for]
                objections = [slots.objection(claim, None) for claim in claims]
                is_pool = pool_of(instance.waits_for or "") is not None
                dependency = Dependency.POOL_SLOTS if is_pool else Dependency.TASK_CONCURRENCY
                self._wait(instance, next(iter(objections), "It waits for slots."), dependency)
            case S.SCHEDULED | S.QUEUED:
                self.reasons[key] = "It waits for a worker."
            case S.RUNNING | S.RESTARTING:
                self.reasons[key] = "It is running."
            case S.DEFERRED:
                self.reasons[key] = "It waits for its trigger."
            case S.AWAITING_INPUT:
                self.reasons[key] = "It waits for a person's answer."
            case _:
                pass

    def _effect_of(self, instance: TaskInstance) -> Effect | None:
        match instance.state:
            case S.SCHEDULED:
                return SendTask(instance) if self._may_be_sent(instance) else None
            case S.DEFERRED if instance.trigger is not None and self._is_unheard_of(instance):
                is_pure = pure_wait(instance.trigger, since=instance.start_date) is not None
                return None if is_pure else SendTrigger(instance)
            case _:
                return None

    def _may_be_sent(self, scheduled: TaskInstance) -> bool:
        waits_for_nothing_else = scheduled.waits_for == THE_RUN and self.is_never_full
        return waits_for_nothing_else or slots.is_on_its_way(scheduled, self.admitted)

    def _is_unheard_of(self, deferred: TaskInstance) -> bool:
        """Its trigger was never sent, or has slept long enough, or must be lost: sent twice, the first event of the two
        counts."""
        if deferred.queued_at is None:
            return True
        rests_until = deferred.trigger.rests_until if deferred.trigger else None
        if rests_until is not None and deferred.queued_at < rests_until:
            return rests_until <= self.now
        return deferred.queued_at + self.config.trigger_timeout <= self.now

    # --- when to look again -------------------------------------------------------------------------------------------

    def _deadlines(self, unfinished: list[TaskInstance]) -> tuple[datetime | None, datetime]:
        """The earliest moment that something is due at, and the earliest at which somebody may be found lost."""
        run_deadline = None if self.is_paused else self._run_deadline()
        exact = [run_deadline, callback.next_deadline(self.callbacks)]
        lost = [self.now + self.config.look_again]
        for instance in unfinished:
            match instance.state:
                case S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE if self.view.has_moved(instance):
                    # It may be due at once, and this decision has moved it already: the next one is then due now.
                    exact.append(_at_least(instance.due_at, self.now + SOON))
                case None if self.view.has_moved(instance):
                    # Cleared, and its worker is lost: it runs again at once.
                    exact.append(self.now + SOON)
                case S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE | S.AWAITING_INPUT:
                    exact.append(instance.due_at)
                case S.DEFERRED if instance.trigger is not None:
                    wait = pure_wait(instance.trigger, since=instance.start_date)
                    exact += [instance.due_at, wait.until if wait else None, instance.trigger.rests_until]
                case S.RUNNING | S.RESTARTING:
                    lost.append(self._lost_at(instance))
                case S.SCHEDULED if not self._may_be_sent(instance):
                    pass
                case S.SCHEDULED | S.QUEUED:
                    # It may be running before anybody looks here again: a worker's start wakes no one.
                    lost.append(min(self._stuck_at(instance), self.now + self.config.heartbeat_timeout))
                case _:
                    pass
        return min((at for at in exact if at is not None and at > self.now), default=None), min(lost)

    def _run_looked_at_again(self, exact: datetime | None, lost: datetime) -> DagRun | None:
        """The run with `due_at` moved, where it has to be; `None` where the stored one serves.

        It is written seldom, since each write is billed: looking early is harmless, so it only moves when it has
        passed or comes too late. Workers that may be lost are looked after some seconds late rather than written
        about at every step.
        """
        stored = self.run.due_at
        wanted = _earlier(exact, lost)
        if stored is not None and stored > self.now:
            late_for_exact = exact is not None and stored > exact
            late_for_lost = stored > lost + self.config.heartbeat_timeout / 4
            if not late_for_exact and not late_for_lost:
                wanted = stored
        if wanted == stored and self.run_admitting is self.run:
            return None
        return replace(self.run_admitting, due_at=wanted, last_scheduling_decision=self.now)


def lose_try(
    task: TaskSpec, run: DagRun, instance: TaskInstance, *, at: datetime, reason: str
) -> transition.Transition:
    """The transition of an instance whose worker is gone: tried again while tries remain, as after any failure. One that
    was cleared has only waited for its worker to end."""
    if instance.state is S.RESTARTING:
        return transition.restart(instance, at=at, retries=task.retries, reason=reason)
    retry_at = None
    if task.retries and retry.is_eligible(instance):
        retry_at = retry.next_retry_at(task, instance, logical_date=run.logical_date, failed_at=at)
    lost = transition.lose(instance, at=at, reason=reason, retry_at=retry_at)
    return callback.with_task_callback(task, lost, emails=True)


def fail_try(task: TaskSpec, run: DagRun, instance: TaskInstance, *, at: datetime) -> transition.Transition:
    """The transition of a deferred instance whose trigger says that the task failed: tried again while tries remain."""
    if task.retries and retry.is_eligible(instance):
        retry_at = retry.next_retry_at(task, instance, logical_date=run.logical_date, failed_at=at)
        return callback.with_task_callback(task, transition.retry(instance, at=at, due_at=retry_at), emails=False)
    return callback.with_task_callback(task, transition.fail(instance, at=at), emails=False)


def gives_up(decision: Decision) -> bool:
    """Whether a message is given up because no worker took it."""
    return any(moved.edge == "lose" and moved.before.state is S.QUEUED for moved in decision.transitions)


def missing_worker(task: TaskSpec) -> str | None:
    """Why no worker can run the task; `None` if one can."""
    asked_for = task.executor_config.get("gust")
    compute = asked_for.get("compute") if isinstance(asked_for, dict) else None
    if task.queue == "fargate" or compute == "fargate":
        return "The task asks for Fargate, which this release of Gust does not have; only Lambda workers run tasks."
    return None


def start_trigger(task: TaskSpec, now: datetime) -> ParkedTrigger | None:
    """The trigger the task begins with instead of a worker; `None` for most.

    A mapped task's instances all begin with the arguments of the class, as in Airflow, which maps none into them.
    """
    arguments = task.start_trigger_args
    if not task.start_from_trigger or arguments is None:
        return None
    timeouts = [seconds for seconds in (arguments.get("timeout"), task.execution_timeout) if seconds is not None]
    return ParkedTrigger(
        classpath=arguments["trigger_cls"],
        kwargs=arguments.get("trigger_kwargs") or {},
        next_method=arguments["next_method"],
        next_kwargs=arguments.get("next_kwargs"),
        timeout_at=later(now, min(timeouts)) if timeouts else None,
    )


def _may_wait_for_others(task: TaskSpec, instance: TaskInstance) -> bool:
    """For a trigger, a person, another run or its task's limit: nothing can be said of a run that has such a one."""
    return (
        instance.state in {S.DEFERRED, S.AWAITING_INPUT}
        or task.depends_on_past
        or task.max_active_tis_per_dag is not None
        or task.max_active_tis_per_dagrun is not None
    )


def _begins_to_wait_in_line(moved: transition.Transition) -> bool:
    return slots.waits(moved.after) and moved.after.waits_for != THE_RUN


def _counts_for_run(task: TaskSpec) -> bool:
    return not task.is_teardown or task.on_failure_fail_dagrun


def _at_least(at: datetime | None, least: datetime) -> datetime:
    return least if at is None else max(at, least)


def _earlier(a: datetime | None, b: datetime | None) -> datetime | None:
    return min((at for at in (a, b) if at is not None), default=None)
