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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.state import FAILED_STATES, FINISHED, IN_FLIGHT, SCHEDULABLE, UNFINISHED, DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import callback, expansion, retry, transition
from gust.scheduling.callback import WhyEnded
from gust.scheduling.decision import Decision, Effect, SendCallback, SendTask, SendTrigger, StartNextRun
from gust.scheduling.past import Past
from gust.scheduling.pure_wait import pure_wait
from gust.scheduling.run_view import InstanceId, RunView
from gust.scheduling.trigger_rule import Verdict
from gust.scheduling.upstream import Upstream

ACTIVE = IN_FLIGHT | {S.DEFERRED, S.AWAITING_INPUT}
"""These count against a task's own limit; against the run's only those that a worker has or will have."""

SOON: Final = timedelta(milliseconds=1)
"""After `now`, and before anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    heartbeat_timeout: timedelta = timedelta(seconds=60)
    """A running worker that was silent for longer is lost."""
    queued_timeout: timedelta = timedelta(seconds=600)
    """A message that no worker took for longer is sent again."""
    trigger_timeout: timedelta = timedelta(hours=1)
    """A trigger that neither ran nor was parked for longer is sent again. Parked and running it is heard of every half
    hour, and SQS brings a message that was lost with its function back after 16 minutes."""
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
) -> Decision:
    """The decision on `run` at `now`. `instances` are those the store has, by (task_id, map_index).

    `past` is what came before the run; needed where a task depends on it (`past.is_needed`), such a task waits without.
    `callbacks` are those the run has already.
    """
    match run.state:
        case DagRunState.QUEUED:
            return Decision()
        case DagRunState.SUCCESS | DagRunState.FAILED:
            return Decision(effects=(StartNextRun(run.dag_id),))
    return _Deciding(spec, run, instances, now=now, config=config, past=past, callbacks=callbacks).decide()


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
    ) -> None:
        self.spec = spec
        self.run = run
        self.now = now
        self.config = config
        self.past = past
        self.callbacks = callbacks
        self.view = RunView(spec, run, instances, now)
        self.upstream = Upstream(self.view)
        self.reasons: dict[InstanceId, str] = {}

    def decide(self) -> Decision:
        if self._is_timed_out():
            return self._time_out()
        self._remove_vanished()
        self._fail_fast()
        self._ring_timers()
        ready = self._settle()
        self._schedule(ready)
        return self._conclude()

    # --- timers -------------------------------------------------------------------------------------------------------

    def _is_timed_out(self) -> bool:
        deadline = self._run_deadline()
        return deadline is not None and deadline <= self.now

    def _run_deadline(self) -> datetime | None:
        if self.spec.dagrun_timeout is None or self.run.start_date is None:
            return None
        return self.run.start_date + timedelta(seconds=self.spec.dagrun_timeout)

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
                    reason = f"No worker took it for {self.config.queued_timeout}; sent again."
                    self.view.move(transition.resend(instance, at=self.now, reason=reason))
                case S.DEFERRED if instance.trigger is not None:
                    self._ring_trigger(instance, instance.trigger)
                case _:
                    pass

    def _lost_at(self, instance: TaskInstance) -> datetime:
        signs = [sign for sign in (instance.start_date, instance.heartbeat_at) if sign is not None]
        return max(signs, default=self.now) + self.config.heartbeat_timeout

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

    def _remove_vanished(self) -> None:
        """Instances beyond what a mapped task has now: its length shrank when an upstream ran again."""
        for task in self.spec.tasks.values():
            if not task.is_mapped or not self._length_is_final(task):
                continue
            length = self.view.map_length(task)
            if length is None:
                continue
            for instance in list(self.view.instances_of(task.task_id).values()):
                if instance.map_index < length or instance.state is S.REMOVED or self.view.has_moved(instance):
                    continue
                reason = f"The task maps over {length} values now."
                self.view.move(transition.remove(instance, at=self.now, reason=reason))

    def _length_is_final(self, task: TaskSpec) -> bool:
        """A length of a source that runs again may still be that of its last try."""
        return all(
            instance.state is S.SUCCESS if instance.map_index == UNMAPPED else instance.state in FINISHED
            for source in expansion.expansion_sources(self.spec, task)
            for instance in self.view.instances_of(source).values()
        )

    def _fail_fast(self) -> None:
        """One failed task ends all others but teardowns and its own other instances, as Airflow's does at the
        failure.
        """
        if not self.spec.fail_fast:
            return
        failed = sorted({i.task_id for _, i in self.view.all_instances() if i.state is S.FAILED})
        if not failed:
            return
        # Each failure spares the instances of its own task, so that a second task's failure spares none.
        spared = failed if len(failed) == 1 else []
        reason = f"Task {failed[0]} failed and the DAG has fail_fast set."
        for task, instance in self.view.all_instances():
            if task.is_teardown or task.task_id in spared or instance.state not in UNFINISHED:
                continue
            before = self.view.take_back(instance)
            end = transition.fail if before.state is S.RUNNING else transition.skip
            self.view.move(end(before, at=self.now, reason=reason))

    def _settle(self) -> list[tuple[TaskSpec, TaskInstance]]:
        """Move everything that is certain, until nothing follows any more; returns what may go to a worker.

        The scheduler's own writes do not wake it again, so whatever follows from them has to be decided here. One
        pass in topological order carries a skip to the end of the DAG; passes are repeated until one changes
        nothing, for what looks at tasks that are not upstream of it.
        """
        while True:
            changes_before = self.view.changes
            self._remove_vanished()
            self._fail_fast()
            ready = [(task, i) for task in self.spec.tasks.values() for i in self._settle_task(task)]
            if self.view.changes == changes_before:
                return ready

    def _settle_task(self, task: TaskSpec) -> list[TaskInstance]:
        ready = [i for i in list(self.view.instances_of(task.task_id).values()) if self._settle_instance(task, i)]
        if len(ready) == 1 and task.is_mapped and ready[0].map_index == UNMAPPED:
            return self._expand(task, ready[0])
        return ready

    def _settle_instance(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Whether the instance may go to a worker; moves it where it is certain that it will not."""
        if instance.state not in SCHEDULABLE or self.view.has_moved(instance):
            return False
        evaluation = self.upstream.evaluate(task, instance)
        match evaluation.verdict:
            case Verdict.RUN:
                return self._may_go(task, instance)
            case Verdict.SKIP:
                self.view.move(transition.skip(instance, at=self.now, reason=evaluation.reason))
            case Verdict.UPSTREAM_FAIL:
                self.view.move(transition.upstream_fail(instance, at=self.now, reason=evaluation.reason))
            case Verdict.REMOVE:
                self.view.move(transition.remove(instance, at=self.now, reason=evaluation.reason))
            case Verdict.WAIT:
                self._wait(instance, evaluation.reason)
        return False

    def _may_go(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Its upstreams let it go. Is it time, does the past let it go, is there a worker for it, does it need one?"""
        if instance.due_at is not None and instance.due_at > self.now:
            what = "retried" if instance.state is S.UP_FOR_RETRY else "continued"
            self._wait(instance, f"It is {what} at {instance.due_at.isoformat()}.")
            return False
        if (objection := self._past_objection(task)) is not None:
            self._wait(instance, objection)
            return False
        if instance.map_index == UNMAPPED and task.is_mapped:
            return True
        if task.is_empty:
            self.view.move(transition.complete_empty(instance, at=self.now, retries=task.retries))
            return False
        if (missing := missing_worker(task)) is not None:
            refused = transition.refuse(instance, at=self.now, retries=task.retries, reason=missing)
            self.view.move(callback.with_task_callback(task, refused))
            return False
        return True

    def _past_objection(self, task: TaskSpec) -> str | None:
        if not (task.depends_on_past or task.wait_for_downstream):
            return None
        if self.past is None:
            return "The task depends on the past, and the run before this one was not looked at."
        return self.past.objection(self.spec, task)

    def _expand(self, task: TaskSpec, placeholder: TaskInstance) -> list[TaskInstance]:
        """Everything the placeholder waited for is there: put its instances in its place. Returns those that may go."""
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
        return self._settle_task(task)

    def _wait(self, instance: TaskInstance, reason: str) -> None:
        self.reasons[instance.task_id, instance.map_index] = reason

    # --- limits -------------------------------------------------------------------------------------------------------

    def _schedule(self, ready: list[tuple[TaskSpec, TaskInstance]]) -> None:
        """Send what may go, the most important first, as far as the run's and the tasks' limits have room.

        `max_active_tis_per_dag` bounds all runs together in Airflow; what one run can see of it is kept here.
        """
        in_flight = sum(self.view.states_of(t)[s] for t in self.spec.tasks for s in IN_FLIGHT)
        active: Counter[str] = Counter()
        for task, instance in sorted(ready, key=lambda pair: (-pair[0].priority_weight, pair[1].map_index)):
            if task.task_id not in active:
                active[task.task_id] = sum(self.view.states_of(task.task_id)[s] for s in ACTIVE)
            if in_flight >= self.spec.max_active_tasks:
                self._wait(
                    instance, f"The run has {in_flight} active tasks; max_active_tasks is {self.spec.max_active_tasks}."
                )
                continue
            limit = _smaller(task.max_active_tis_per_dagrun, task.max_active_tis_per_dag)
            if limit is not None and active[task.task_id] >= limit:
                self._wait(instance, f"The task has {active[task.task_id]} active instances; its limit is {limit}.")
                continue
            active[task.task_id] += 1
            if (trigger := start_trigger(task, self.now)) is not None:
                self.view.move(
                    transition.start_from_trigger(instance, at=self.now, retries=task.retries, trigger=trigger)
                )
                continue
            self.view.move(transition.schedule(instance, at=self.now, retries=task.retries))
            in_flight += 1

    # --- the run ------------------------------------------------------------------------------------------------------

    def _conclude(self) -> Decision:
        unfinished = [(t, i) for t, i in self.view.all_instances() if i.state in UNFINISHED]
        if not unfinished:
            state, reason = self._outcome()
            is_success = state is DagRunState.SUCCESS
            return self._finish(state, reason, why=WhyEnded.SUCCESS if is_success else WhyEnded.TASK_FAILURE)
        waiting = [instance for _, instance in unfinished]
        if self._is_deadlocked(waiting):
            reason = "Deadlock: no unfinished task can ever run."
            return self._finish(DagRunState.FAILED, reason, why=WhyEnded.DEADLOCKED, unfinished=waiting)
        for _, instance in unfinished:
            self._explain(instance)
        exact, lazy = self._deadlines([instance for _, instance in unfinished])
        transitions = self._transitions()
        return Decision(
            transitions=transitions,
            run=self._run_looked_at_again(exact, lazy),
            effects=(
                *(SendCallback(due) for due in callback.due_by(transitions)),
                *(effect for _, i in unfinished if (effect := self._effect_of(i)) is not None),
            ),
            reasons={key: why for key, why in self.reasons.items() if key not in self.view.moves},
            due_at=_earlier(exact, lazy),
        )

    def _transitions(self) -> tuple[transition.Transition, ...]:
        return tuple(callback.with_trigger_kill(moved) for moved in self.view.transitions())

    def _outcome(self) -> tuple[DagRunState, str]:
        """All is finished: the run's state by its leaves."""
        states = {t: [i.state for i in self.view.instances_of(t).values()] for t in self._deciding_tasks()}
        failed = sorted(t for t, of_task in states.items() if FAILED_STATES.intersection(of_task))
        if failed:
            return DagRunState.FAILED, f"Leaf tasks did not succeed: {', '.join(failed)}."
        return DagRunState.SUCCESS, "All leaf tasks succeeded or were skipped."

    def _deciding_tasks(self) -> list[str]:
        """The leaves. A teardown decides only with `on_failure_fail_dagrun`; otherwise its upstreams are the leaves."""
        leaves = [task.task_id for task in self.spec.tasks.values() if self._is_effective_leaf(task)]
        return leaves or list(self.spec.leaves)

    def _is_effective_leaf(self, task: TaskSpec) -> bool:
        return _counts_for_run(task) and not any(
            _counts_for_run(self.spec.tasks[downstream]) for downstream in task.downstream_task_ids
        )

    def _is_deadlocked(self, unfinished: list[TaskInstance]) -> bool:
        """Nothing runs or waits for a time, an event or another run: what is left waits for each other."""
        if any(self.spec.tasks[i.task_id].depends_on_past for i in unfinished):
            return False
        return all(i.state is None for i in unfinished)

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
            reason=reason,
        )
        instances = [instance for _, instance in self.view.all_instances()]
        shown = callback.shown_at_end(self.spec, why, instances, unfinished)
        transitions = self._transitions()
        of_tries = callback.due_by(transitions)
        ending = callback.at_end(self.spec, finished, self.callbacks, why=why, shown=shown)
        return Decision(
            transitions=transitions,
            run=callback.run_that_calls_back(finished, self.callbacks, of_tries, ending, now=self.now),
            callbacks=ending,
            effects=(
                *(SendCallback(due) for due in (*of_tries, *callback.made(ending))),
                StartNextRun(self.run.dag_id),
            ),
            reasons=self.reasons,
        )

    def _explain(self, instance: TaskInstance) -> None:
        key = (instance.task_id, instance.map_index)
        if key in self.reasons:
            return
        match instance.state:
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
                return SendTask(instance)
            case S.DEFERRED if instance.trigger is not None and self._is_unheard_of(instance):
                is_pure = pure_wait(instance.trigger, since=instance.start_date) is not None
                return None if is_pure else SendTrigger(instance)
            case _:
                return None

    def _is_unheard_of(self, deferred: TaskInstance) -> bool:
        """Its trigger was never sent, or must be lost: sent twice, the first event of the two counts."""
        return deferred.queued_at is None or deferred.queued_at + self.config.trigger_timeout <= self.now

    # --- when to look again -------------------------------------------------------------------------------------------

    def _deadlines(self, unfinished: list[TaskInstance]) -> tuple[datetime | None, datetime]:
        """The earliest moment that something is due at, and the earliest at which somebody may be found lost."""
        exact = [self._run_deadline(), callback.next_deadline(self.callbacks)]
        lost = [self.now + self.config.look_again]
        for instance in unfinished:
            match instance.state:
                case S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE if self.view.has_moved(instance):
                    # It may be due at once, and this decision has moved it already: the next one is then due now.
                    exact.append(_at_least(instance.due_at, self.now + SOON))
                case S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE | S.AWAITING_INPUT:
                    exact.append(instance.due_at)
                case S.DEFERRED if instance.trigger is not None:
                    wait = pure_wait(instance.trigger, since=instance.start_date)
                    exact += [instance.due_at, wait.until if wait else None]
                case S.RUNNING | S.RESTARTING:
                    lost.append(self._lost_at(instance))
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
                return None
        elif stored == wanted:
            return None
        return replace(self.run, due_at=wanted, last_scheduling_decision=self.now)


def lose_try(
    task: TaskSpec, run: DagRun, instance: TaskInstance, *, at: datetime, reason: str
) -> transition.Transition:
    """The transition of an instance whose worker is gone: tried again while tries remain, as after any failure."""
    retry_at = None
    if instance.state is S.RESTARTING or (task.retries and retry.is_eligible(instance)):
        retry_at = retry.next_retry_at(task, instance, logical_date=run.logical_date, failed_at=at)
    return callback.with_task_callback(task, transition.lose(instance, at=at, reason=reason, retry_at=retry_at))


def fail_try(task: TaskSpec, run: DagRun, instance: TaskInstance, *, at: datetime) -> transition.Transition:
    """The transition of a deferred instance whose trigger says that the task failed: tried again while tries remain."""
    if task.retries and retry.is_eligible(instance):
        retry_at = retry.next_retry_at(task, instance, logical_date=run.logical_date, failed_at=at)
        return callback.with_task_callback(task, transition.retry(instance, at=at, due_at=retry_at))
    return callback.with_task_callback(task, transition.fail(instance, at=at))


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
        timeout_at=now + timedelta(seconds=min(timeouts)) if timeouts else None,
    )


def _counts_for_run(task: TaskSpec) -> bool:
    return not task.is_teardown or task.on_failure_fail_dagrun


def _smaller(a: int | None, b: int | None) -> int | None:
    return min((limit for limit in (a, b) if limit is not None), default=None)


def _at_least(at: datetime | None, least: datetime) -> datetime:
    return least if at is None else max(at, least)


def _earlier(a: datetime | None, b: datetime | None) -> datetime | None:
    return min((at for at in (a, b) if at is not None), default=None)
