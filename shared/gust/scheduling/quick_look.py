"""Whether anything can follow from a success, without a look at the whole run. Mostly nothing does.

In a wide run most successes decide nothing: the downstream tasks wait for others too, and the run is not over. A full look
(`decide`) reads all of the run to find that out. A quick look reads the run's item and one *blocker*: an instance that is
unfinished, and before whose end nothing can be decided about the downstream task. The blocker's end is a change of its own,
which causes a look that sees this success too. Which instance is a blocker is remembered from the last full look of this
process, and read again before anything is concluded from it: memory is a hint, so lost or old memory costs a full look and
can decide nothing wrong.

A run that keeps instances back for its own limit (`max_active_tasks`) gives the place that a success frees to the next of
them. The memory also has the instances under way and the next ones. It holds as long as the run's item shows no other
admission (`admitted_dispatches`), and the next instance is let go by the same conditional write as in a full look.

A run's moment comes about once a minute while anything runs: the earliest at which a worker could be lost. Then only
those under way are read, and where none is overdue the moment moves on.

docs/adr/0029 argues why no success and no timer is overlooked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from gust.model.callback import Callback, CallbackState
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.pool import RUN_LIMIT
from gust.model.state import FINISHED, DagRunState, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import slots
from gust.scheduling.callback import next_deadline
from gust.scheduling.decision import Decision, SendTask
from gust.scheduling.past import is_needed
from gust.scheduling.run_view import InstanceId, RunView
from gust.scheduling.slots import Admission
from gust.scheduling.timers import DEFAULTS, looked_after_at, run_deadline
from gust.scheduling.trigger_rule import Verdict
from gust.scheduling.upstream import Upstream

PATIENT: Final = frozenset(
    {
        TriggerRule.ALL_SUCCESS,
        TriggerRule.ALL_DONE,
        TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        TriggerRule.ALL_DONE_SETUP_SUCCESS,
        TriggerRule.NONE_FAILED,
        TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        TriggerRule.NONE_SKIPPED,
        TriggerRule.ONE_FAILED,
    }
)
"""Rules whose verdict one more success does not change while another upstream instance is unfinished."""

SUCCEEDED: Final = "succeed"
"""The only edge that a quick look is for. A failure, a skip or a deferral may have other consequences."""


HAS_A_MOMENT: Final = frozenset({S.QUEUED, S.RUNNING, S.RESTARTING})
"""States whose timers a quick look knows. Waiting instances, and instances still to be sent, need a full look."""


Pick = Callable[[int], int]
"""Any number below the one given, by chance."""


class Change(NamedTuple):
    """One record of the table's stream: an instance has moved by an edge."""

    task_id: str
    map_index: int
    edge: str
    dispatch_count: int


class Downstream(NamedTuple):
    """What waits: a task, or the end of the run (`None`)."""

    task_id: str | None


THE_END: Final = Downstream(None)


@dataclass(slots=True, kw_only=True)
class Remembered:
    """What one process knows of a run since its last full look at it, kept up by its quick looks. One look at a time uses
    it."""

    spec: DagSpec
    run: DagRun
    """As it was read or written last."""
    max_active_tasks: int
    unfinished: dict[str, dict[int, int]]
    """Task → map index → `dispatch_count` of each instance that has a state and has not finished. Each of them ends by a
    change that comes out of the stream, or in a look that is followed by another one."""
    in_flight: dict[InstanceId, int]
    """Every instance that takes a place in the run → its `dispatch_count`; it may include some that no longer do."""
    candidates: deque[InstanceId]
    """Instances that only the run's limit holds back, the next one first."""
    looked_at: datetime
    """When the last full look was."""
    deadline: datetime | None = None
    """When the run misses the next deadline."""
    may_ring: bool = False
    """Whether everything that begins is let go by a write to the run, and only that can have a moment."""
    on_the_way: frozenset[Admission] = frozenset()
    """Let go by the last write, and perhaps not queued."""
    is_sure: bool = True
    """False if other processes have let instances go since: some in flight may have ended, and the stream told other
    processes of it."""
    may_admit: bool = True
    """False if other limits than the run's own hold instances back: only a full look can tell which is next."""
    blockers: dict[Downstream, InstanceId] = field(default_factory=dict)

    # --- what happened --------------------------------------------------------------------------------------------

    def ended(self, instance: InstanceId, dispatch_count: int | None = None) -> None:
        """Forgets an instance that has finished. `dispatch_count`: which one has; another one's end says nothing."""
        task_id, map_index = instance
        of_task = self.unfinished.get(task_id, {})
        if dispatch_count is not None and of_task.get(map_index, dispatch_count) != dispatch_count:
            return
        of_task.pop(map_index, None)
        self.in_flight.pop(instance, None)

    def let_go(self, admitted: Iterable[TaskInstance], run: DagRun) -> None:
        """They were let go by the write that made the run what it is now."""
        self.run = run
        self.on_the_way = frozenset(slots.admission(instance) for instance in admitted)
        for instance in admitted:
            self.in_flight[instance.task_id, instance.map_index] = instance.dispatch_count
            self.candidates.popleft()

    # --- questions ------------------------------------------------------------------------------------------------

    def follows(self, run: DagRun, now: datetime) -> bool:
        """Whether the memory matches the stored run, and no timer is due."""
        return not is_due(run, now) and self.catches_up(run, now)

    def catches_up(self, run: DagRun, now: datetime) -> bool:
        """Whether the memory matches the stored run; takes over the admissions of other processes."""
        if not self._is_of(run, now):
            return False
        new = slots.admissions(run) - slots.admissions(self.run)
        if len(new) != run.let_go - self.run.let_go:
            return False  # `admitted` no longer names all of them.
        for one in new:
            instance = one.task_id, one.map_index
            self.in_flight[instance] = one.dispatch_count
            self.unfinished.setdefault(one.task_id, {})[one.map_index] = one.dispatch_count
            if instance in self.candidates:  # the first ones, mostly
                self.candidates.remove(instance)
            self.is_sure = False
        self.run = run
        return True

    def _is_of(self, run: DagRun, now: datetime) -> bool:
        seen = self.run
        return (
            run.state is DagRunState.RUNNING
            and not run.is_held(now)
            and run.edit is None
            and (run.spec_key, run.clear_number, run.held_by) == (seen.spec_key, seen.clear_number, seen.held_by)
            and run.keeps_back == seen.keeps_back
        )

    def counted(self, found: Mapping[InstanceId, TaskInstance]) -> None:
        """All that were in flight have been read."""
        admitted = slots.admissions(self.run)
        for key in list(self.in_flight):
            instance = found.get(key)
            if instance is None or not (
                instance.state in slots.HAS_A_WORKER or slots.is_on_its_way(instance, admitted)
            ):
                del self.in_flight[key]
            else:
                self.in_flight[key] = instance.dispatch_count
            if instance is None or instance.state in FINISHED:
                self.unfinished.get(key[0], {}).pop(key[1], None)
        self.is_sure = True

    def under_way(self) -> set[InstanceId]:
        """Every instance that may have a moment."""
        known = {(task_id, index) for task_id, of_task in self.unfinished.items() for index in of_task}
        return known.difference(self.candidates)

    def how_many_are_under_way(self) -> int:
        return sum(map(len, self.unfinished.values())) - len(self.candidates)

    def next_moment(
        self, found: Mapping[InstanceId, TaskInstance], *, max_active_tasks: int, now: datetime
    ) -> datetime | None:
        """When the run is to be looked at again, by those under way as they were read; no later than a full look would say.
        `None`: something may be due, or a word was lost, and a full look must tell."""
        if max_active_tasks != self.max_active_tasks or self.run.stumbles:
            return None
        moments = [run_deadline(self.spec, self.run), self.deadline]
        for key in self.under_way():
            instance = found.get(key)
            if instance is None:
                return None
            if instance.state in FINISHED:
                if instance.end_date is None or instance.end_date + DEFAULTS.heartbeat_timeout <= now:
                    return None  # The word of its end should have come long ago.
            elif instance.state not in HAS_A_MOMENT:
                return None
            else:
                moments.append(looked_after_at(instance, now=now, config=DEFAULTS))  # passed, if it is overdue
        # Nothing that began since it was read can be overdue before this.
        moments.append(now + DEFAULTS.heartbeat_timeout)
        first = min(moment for moment in moments if moment is not None)
        return first if first > now else None

    def rings(self, now: datetime) -> bool:
        """Whether a quick look may tell that no timer is due. Now and then a full look makes up for words that were lost."""
        return self.may_ring and now < self.looked_at + DEFAULTS.look_again

    def concerned(self, changes: Collection[Change]) -> set[Downstream] | None:
        """The downstream tasks that might be decided now, for each of which an unfinished blocker is needed. `None`: a full
        look must tell."""
        found = {THE_END}
        for change in changes:
            task = self.spec.tasks.get(change.task_id)
            if task is None or change.edge != SUCCEEDED or task.can_skip_downstream:
                return None
            for task_id in task.downstream_task_ids:
                rule = self.spec.tasks[task_id].trigger_rule
                if rule is TriggerRule.ALWAYS:
                    continue  # It has not waited for this one.
                if rule not in PATIENT:
                    return None
                found.add(Downstream(task_id))
        return found

    def blocker(self, of: Downstream, *, pick: Pick) -> InstanceId | None:
        """An instance that is believed unfinished and must end before anything is decided; always the same one as long as it
        is unfinished. `None`: none is known."""
        known = self.blockers.get(of)
        if known is not None and known[1] in self.unfinished.get(known[0], ()):
            return known
        chosen = self._choose(of, pick)
        if chosen is not None:
            self.blockers[of] = chosen
        return chosen

    def _choose(self, of: Downstream, pick: Pick) -> InstanceId | None:
        """An instance that is likely to end late: the last one that waits for the run's limit. Else a random one: so a new
        blocker must be chosen only a few times in a run, and not with every end."""
        task_ids = self.unfinished.keys() if of.task_id is None else self.spec.tasks[of.task_id].upstream_task_ids
        if self.candidates and (last := self.candidates[-1])[0] in task_ids:
            return last
        # Empty for most tasks, so that the many of one task count as one here and are chosen among below.
        tasks = [task_id for task_id in task_ids if self.unfinished.get(task_id)]
        if not tasks:
            return None
        task_id = tasks[pick(len(tasks))]
        indexes = list(self.unfinished[task_id])
        return task_id, indexes[pick(len(indexes))]

    def next_up(self, max_active_tasks: int) -> list[InstanceId] | None:
        """The instances for which the run has places now, in order. `None`: a full look must tell."""
        if not self.may_admit or not self.candidates or max_active_tasks != self.max_active_tasks:
            return None
        free = max_active_tasks - len(self.in_flight)
        return [self.candidates[number] for number in range(max(0, min(free, len(self.candidates))))]


def is_due(run: DagRun, now: datetime) -> bool:
    return run.due_at is not None and run.due_at <= now


def remember(
    spec: DagSpec,
    seen: DagRun,
    instances: Mapping[InstanceId, TaskInstance],
    decision: Decision,
    *,
    pools: slots.Pools,
    max_active_tasks: int,
    callbacks: Sequence[Callback] = (),
    now: datetime,
) -> Remembered | None:
    """What a full look that was carried out leaves for quick looks. `seen`, `instances` and `callbacks` are what it was
    decided on.
    `None` where a success can have consequences that a quick look does not know."""
    run = decision.run or seen
    begins_to_keep_back = run.keeps_back and not seen.keeps_back
    if run.is_finished or begins_to_keep_back or not is_simple(spec):
        return None
    if run.logical_date is not None and run.logical_date > now:
        return None
    after = _after(instances, decision)
    if any(instance.state is S.REMOVED for instance in after.values()):
        return None
    if not _is_regular(spec, run, after, now):
        return None
    sent = {(e.instance.task_id, e.instance.map_index) for e in decision.effects if isinstance(e, SendTask)}
    left = _remembered(spec, run, after, sent=sent, pools=pools, max_active_tasks=max_active_tasks, now=now)
    left.deadline = next_deadline(callbacks)
    left.may_ring = (
        run.keeps_back
        and run.bundle_version is not None
        and not any(task.start_from_trigger for task in spec.tasks.values())
        and all(callback.has_ended or callback.state is CallbackState.SCHEDULED for callback in callbacks)
    )
    return left


def is_simple(spec: DagSpec) -> bool:
    """Whether tasks look at those directly upstream alone, with all of their instances, and at no other run."""
    return not is_needed(spec) and not any(
        task.is_setup or task.is_teardown or task.mapped_groups for task in spec.tasks.values()
    )


def _after(instances: Mapping[InstanceId, TaskInstance], decision: Decision) -> dict[InstanceId, TaskInstance]:
    after = dict(instances)
    for moved in (*decision.transitions, *decision.stopped, *decision.waiting):
        after[moved.after.task_id, moved.after.map_index] = moved.after
    return after


def _is_regular(spec: DagSpec, run: DagRun, after: Mapping[InstanceId, TaskInstance], now: datetime) -> bool:
    """Whether all that was let go still has what it was let go by. A person's clear, a late branch or another version of the
    DAG can take that away, and then the run may be stuck although instances run."""
    may_be_overtaken = (
        run.held_by is not None
        or run.clear_number > 0
        or spec.disable_bundle_versioning
        or any(task.can_skip_downstream for task in spec.tasks.values())
    )
    if not may_be_overtaken:
        return True
    upstream = Upstream(RunView(spec, run, after, now))
    judged: dict[str, bool] = {}
    for instance in after.values():
        task = spec.tasks.get(instance.task_id)
        if task is None:
            return False
        if instance.state is None or instance.state in FINISHED:
            continue
        if task.task_id not in judged:
            judged[task.task_id] = upstream.evaluate(task, instance).verdict is Verdict.RUN
        if not judged[task.task_id]:
            return False
    return True


def _remembered(
    spec: DagSpec,
    run: DagRun,
    after: Mapping[InstanceId, TaskInstance],
    *,
    sent: Collection[InstanceId],
    pools: slots.Pools,
    max_active_tasks: int,
    now: datetime,
) -> Remembered:
    admitted = slots.admissions(run)
    unfinished: dict[str, dict[int, int]] = {}
    in_flight: dict[InstanceId, int] = {}
    waiting: list[tuple[TaskSpec, TaskInstance]] = []
    may_admit = run.bundle_version is not None
    for key, instance in after.items():
        if instance.state is None or instance.state in FINISHED:
            continue
        unfinished.setdefault(key[0], {})[key[1]] = instance.dispatch_count
        if key in sent or instance.state in slots.HAS_A_WORKER or slots.is_on_its_way(instance, admitted):
            in_flight[key] = instance.dispatch_count
        elif instance.state is S.SCHEDULED and instance.blocked_by_limit == RUN_LIMIT:
            waiting.append((spec.tasks[key[0]], instance))
        elif instance.state is S.SCHEDULED:
            may_admit = False  # It stands in line, and may have been promised a place.
    if any(task.max_active_tis_per_dagrun is not None for task in spec.tasks.values()):
        may_admit = False
    if any(slots.claims(spec.dag_id, task, pools) for task in {task.task_id: task for task, _ in waiting}.values()):
        may_admit = False
    places = {task_id: place for place, task_id in enumerate(spec.tasks)}
    waiting.sort(key=lambda pair: (slots.order_in_run(*pair), places[pair[0].task_id]))
    return Remembered(
        spec=spec,
        run=run,
        max_active_tasks=max_active_tasks,
        unfinished=unfinished,
        in_flight=in_flight,
        candidates=deque((instance.task_id, instance.map_index) for _, instance in waiting),
        looked_at=now,
        on_the_way=admitted,
        may_admit=may_admit,
    )
