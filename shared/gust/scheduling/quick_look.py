"""Whether anything can follow from a success, without a look at the whole run. Mostly nothing does.

In a wide run most successes decide nothing: the downstream tasks wait for others too, and the run is not over. A full look
(`decide`) reads all of the run to find that out. A quick look reads the run's item and one *blocker*: an instance that is
unfinished, and before whose end nothing can be decided about the downstream task. The blocker's end is a change of its own,
which causes a look that sees this success too. Which instance is a blocker is remembered from the last full look of this
process, and read again before anything is concluded from it: memory is a hint, so lost or old memory costs a full look and
can decide nothing wrong.

An instance all of whose upstreams may have ended, the next of a chain, is read by its key with those directly upstream of
it (`neighbours`), judged by the same code as in a full look, and goes by the same writes and messages. In a small run two of
them need not be read: the one of whose success the stream has told, and the one that has no item yet (`Remembered.known`).

A run that keeps instances back for its own limit (`max_active_tasks`) gives the place that a success frees to the next of
them. The memory also has the instances under way and the next ones. It holds as long as the run's item shows no other
admission (`admitted_dispatches`), and the next instance is let go by the same conditional write as in a full look.

A run's moment comes about once a minute while anything runs: the earliest at which a worker could be lost. Then only
those under way are read, and where none is overdue the moment moves on.

docs/adr/0029 argues why no success and no timer is overlooked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from gust.model.callback import Callback, CallbackState
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.pool import RUN_LIMIT
from gust.model.state import FINISHED, DagRunState, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import neighbours, slots, transition
from gust.scheduling.callback import next_deadline
from gust.scheduling.decision import Decision, SendTask
from gust.scheduling.past import is_needed
from gust.scheduling.run_view import InstanceId, RunView, is_in_run
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


MOST_WRITTEN: Final = 1_000
"""Instances of a run that a process keeps in mind as written."""


Pick = Callable[[int], int]
"""Any number below the one given, by chance."""


class Change(NamedTuple):
    """One record of the table's stream: an instance has moved by an edge."""

    task_id: str
    map_index: int
    edge: str
    dispatch_count: int


class Downstream(NamedTuple):
    """What waits: a task with all of its instances, one instance of it, or the run's end (no task)."""

    task_id: str | None
    map_index: int | None = None
    """One instance of a mapped task; it waits for instances of the same map index in its group."""
    is_for_length: bool = False
    """Tasks in mapped groups, direct or indirect, wait for the value that this task pushes."""


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
    has_room_for_all: bool = False
    """The run has no more instances that can be active at once than may be: every instance that may go is sent."""
    written: set[InstanceId] | None = None
    """Instances that have an item, as far as this process knows. `None`: the run is too large to keep them."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """`neighbours.known_lengths`"""
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

    def carried_out(self, decision: Decision) -> None:
        """Update the memory after this process has carried `decision` out completely."""
        sent = {(e.instance.task_id, e.instance.map_index): e.instance for e in _sent(decision)}
        if decision.run is not None:
            self.run = decision.run
            self.on_the_way = frozenset(map(slots.admission, sent.values()))
        for key, instance in sent.items():
            self.in_flight[key] = instance.dispatch_count
            self.unfinished.setdefault(key[0], {})[key[1]] = instance.dispatch_count
            if self.candidates and self.candidates[0] == key:
                self.candidates.popleft()
        if self.written is not None:
            self.written.update(sent)
        for moved in decision.transitions:
            if (moved.after.task_id, moved.after.map_index) not in sent:
                self.kept_back(moved.after)

    def kept_back(self, instance: TaskInstance) -> None:
        """Note that the instance now waits for a place in its run."""
        key = instance.task_id, instance.map_index
        self.unfinished.setdefault(instance.task_id, {})[instance.map_index] = instance.dispatch_count
        self.candidates.insert(bisect_right(self.candidates, self._place(key), key=self._place), key)

    def _order(self, instance: InstanceId) -> tuple[int, int]:
        return slots.order_of(self.spec.tasks[instance[0]], instance[1])

    def _place(self, instance: InstanceId) -> tuple[tuple[int, int], int]:
        return self._order(instance), self.spec.places[instance[0]]

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
        """The tasks and instances that the changes may let go. `None` if only a full look can tell."""
        found = {THE_END}
        tasks = self.spec.tasks
        for change in changes:
            task = tasks.get(change.task_id)
            if task is None or change.edge != SUCCEEDED or task.can_skip_downstream:
                return None
            if task.task_id in self.spec.sources_of_groups:
                found.add(Downstream(task.task_id, is_for_length=True))
            for task_id in task.downstream_task_ids:
                downstream = tasks[task_id]
                if downstream.trigger_rule is TriggerRule.ALWAYS:
                    continue  # It has not waited for this one.
                if not neighbours.share_a_group(task, downstream):
                    found.add(Downstream(task_id))
                elif neighbours.is_in_same_turn(task, downstream):
                    found.add(Downstream(task_id, change.map_index))
                else:
                    return None
        return found

    def plan(self, waiting: Collection[Downstream], *, pick: Pick) -> Plan | None:
        """The items that decide whether anything follows. `None` if only a full look can tell."""
        blockers: set[InstanceId] = set()
        steps: dict[InstanceId, list[InstanceId]] = {}
        for of in waiting:
            if of == THE_END:
                continue
            if (blocker := self.blocker(of, pick=pick)) is not None:
                blockers.add(blocker)
                continue
            step = self._step(of)
            if step is None:
                return None
            steps[step[0]] = step
        if not steps:  # One that goes is a blocker of the run's end itself.
            if (blocker := self.blocker(THE_END, pick=pick)) is None:
                return None
            blockers.add(blocker)
        return Plan(blockers, steps)

    def _step(self, of: Downstream) -> list[InstanceId] | None:
        if of.task_id is None or of.is_for_length:
            return None
        task = self.spec.tasks[of.task_id]
        if of.map_index is None and task.is_mapped:
            return None  # All of its instances may go, or be expanded.
        if not is_in_run(task, self.run):
            return None
        map_index = UNMAPPED if of.map_index is None else of.map_index
        return neighbours.reads(self.spec, self.run, task, map_index, self.lengths)

    def proven(self, changes: Collection[Change]) -> list[Change]:
        """Changes that end what is remembered as unfinished. Any other may be late, and its instance cleared since."""
        return [
            change
            for change in changes
            if self.unfinished.get(change.task_id, {}).get(change.map_index) == change.dispatch_count
        ]

    def known(self, proven: Collection[Change], steps: Mapping[InstanceId, list[InstanceId]]) -> Known:
        """Of the instances that `steps` would read, those that are known as long as the run is as remembered: any edit of a
        person changes the run. A process that has let one go unknown to this one is found out by the conditional write."""
        if self.written is None or self.lengths or self.run.keeps_back:
            return Known({}, set())
        wanted = {each for step in steps.values() for each in step}
        ended = {
            (change.task_id, UNMAPPED): TaskInstance(
                dag_id=self.run.dag_id,
                run_id=self.run.run_id,
                task_id=change.task_id,
                state=S.SUCCESS,
                dispatch_count=change.dispatch_count,
            )
            for change in proven
            if change.map_index == UNMAPPED and (change.task_id, UNMAPPED) in wanted
        }
        return Known(ended, {of for of in steps if of not in self.written and of not in ended})

    def judge(
        self, steps: Mapping[InstanceId, list[InstanceId]], found: Mapping[InstanceId, TaskInstance], now: datetime
    ) -> list[TaskInstance] | None:
        """The instances read that may go now, in a full look's order. None of the others can move before an instance that
        was read as unfinished ends. `None` if only a full look can tell."""
        going: list[TaskInstance] = []
        is_over = bool(steps)  # else a blocker tells that it is not
        for of, wanted in sorted(steps.items()):
            instances = neighbours.as_they_are(self.spec, self.run, wanted, found)
            if instances is None or instances[of].state is S.REMOVED or instances[of].outgrew is not None:
                return None
            if instances[of].state is None and instances[of].due_at is None:
                view = neighbours.Neighbours(self.spec, self.run, instances, now)
                verdict = view.verdict_on(of, self.lengths)
                if verdict is Verdict.RUN:
                    going.append(instances[of])
                    continue
                if verdict is not Verdict.WAIT or not any(is_unfinished(instances[each]) for each in wanted):
                    return None
            elif instances[of].state is None:
                return None
            is_over &= not any(is_unfinished(instances[each]) for each in wanted)
        return None if is_over and not going else going

    def decide(
        self,
        going: Sequence[TaskInstance],
        found: Mapping[InstanceId, TaskInstance],
        *,
        max_active_tasks: int,
        now: datetime,
    ) -> Decision | None:
        """The decision of a full look, given that `going` may go now and the ended instances' places are free. `found`: the
        candidates of `next_up`, as read. `None` if only a full look can decide."""
        keeps_back = self.run.keeps_back
        moves = tuple(
            transition.schedule(
                each,
                at=now,
                retries=self.spec.tasks[each.task_id].retries,
                blocked_by_limit=RUN_LIMIT if keeps_back else None,
            )
            for each in going
        )
        new = {(moved.after.task_id, moved.after.map_index): moved.after for moved in moves}
        if not keeps_back:
            has_room = self.has_room_for_all and max_active_tasks == self.max_active_tasks
            return Decision(transitions=moves, effects=tuple(map(SendTask, new.values()))) if has_room else None
        first = self.next_up(max_active_tasks, list(new))
        if first is None:
            return None
        known = {**found, **new}
        waiting = [known[each] for each in first if each in known and slots.waits(known[each])]
        if len(waiting) < len(first):
            return None
        if not waiting:
            return Decision(transitions=moves)
        let_go = slots.admitting_next(self.run, map(slots.admission, waiting), on_the_way=self.on_the_way)
        return Decision(transitions=moves, run=let_go, effects=tuple(map(SendTask, waiting)))

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
        """An instance that is likely to end late: the last candidate of the run. Else any, by chance: so the one chosen
        ends before the others, and another one has to be chosen, a few times in a run and not with every end."""
        task_ids = self._blocking(of)
        if self.candidates and (last := self.candidates[-1])[0] in task_ids:
            return last
        # Empty for most tasks, so that the many of one task count as one here and are chosen among below.
        tasks = [task_id for task_id in task_ids if self.unfinished.get(task_id)]
        if not tasks:
            return None
        task_id = tasks[pick(len(tasks))]
        indexes = list(self.unfinished[task_id])
        return task_id, indexes[pick(len(indexes))]

    def _blocking(self, of: Downstream) -> Collection[str]:
        """Tasks of which one unfinished instance is enough to make `of` wait."""
        if of.task_id is None:
            return self.unfinished.keys()
        if of.is_for_length:
            return (of.task_id,)
        task = self.spec.tasks[of.task_id]
        if of.map_index is not None or task.trigger_rule not in PATIENT:
            return ()
        if not task.mapped_groups:
            return task.upstream_task_ids
        upstreams = (self.spec.tasks[task_id] for task_id in task.upstream_task_ids)
        return [upstream.task_id for upstream in upstreams if not neighbours.share_a_group(task, upstream)]

    def next_up(self, max_active_tasks: int, new: Sequence[InstanceId] = ()) -> list[InstanceId] | None:
        """The instances that the run has places for now, in order. `new` may go in addition to the candidates. `None` if
        only a full look can tell."""
        known = len(self.candidates) + len(new)
        if not self.may_admit or not known or max_active_tasks != self.max_active_tasks:
            return None
        free = max(0, max_active_tasks - len(self.in_flight))
        if new and known < free:
            return None  # Other processes may have made instances wait that this one does not know.
        return list(islice(merge(self.candidates, sorted(new, key=self._order), key=self._order), free))


class Plan(NamedTuple):
    """What a quick look reads in addition to the run."""

    blockers: set[InstanceId]
    """If each of these is unfinished, nothing follows for the tasks that wait for them."""
    steps: Mapping[InstanceId, list[InstanceId]]
    """Instance that may go → the instances that decide whether it does, itself among them."""


class Known(NamedTuple):
    """What a quick look need not read."""

    ended: Mapping[InstanceId, TaskInstance]
    """Instances of whose success the stream has told, in the fields that a verdict depends on."""
    new: set[InstanceId]
    """Instances without an item."""


def is_unfinished(instance: TaskInstance | None) -> bool:
    """Whether it can be a blocker: it has a state, and not a final one."""
    return instance is not None and instance.state is not None and instance.state not in FINISHED


def _sent(decision: Decision) -> list[SendTask]:
    return [effect for effect in decision.effects if isinstance(effect, SendTask)]


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
    sent = {(e.instance.task_id, e.instance.map_index) for e in _sent(decision)}
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
    """Whether each task depends only on its direct upstreams, the source of its mapping and its own run."""
    return not is_needed(spec) and not any(task.is_setup or task.is_teardown for task in spec.tasks.values())


def _after(instances: Mapping[InstanceId, TaskInstance], decision: Decision) -> dict[InstanceId, TaskInstance]:
    after = dict(instances)
    for moved in (*decision.transitions, *decision.stopped, *decision.waiting):
        after[moved.after.task_id, moved.after.map_index] = moved.after
    return after


def _is_regular(spec: DagSpec, run: DagRun, after: Mapping[InstanceId, TaskInstance], now: datetime) -> bool:
    """Whether all that was let go still has what it was let go by. A person's clear, a late branch or another version of the
    DAG can take that away, and then the run may be stuck although instances run."""
    may_be_overtaken = (
        run.bundle_version is None
        or run.held_by is not None
        or run.clear_number > 0
        or any(task.can_skip_downstream for task in spec.tasks.values())
    )
    if not may_be_overtaken:
        return True
    upstream = Upstream(RunView(spec, run, after, now))
    judged: dict[InstanceId, bool] = {}
    for instance in after.values():
        task = spec.tasks.get(instance.task_id)
        if task is None:
            return False
        if instance.state is None or instance.state in FINISHED:
            continue
        alike = task.task_id, instance.map_index if task.mapped_groups else UNMAPPED
        if alike not in judged:
            judged[alike] = upstream.evaluate(task, instance).verdict is Verdict.RUN
        if not judged[alike]:
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
    waiting.sort(key=lambda pair: (slots.order_in_run(*pair), spec.places[pair[0].task_id]))
    lengths = neighbours.known_lengths(spec, run, after)
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
        written=set(after) if len(after) <= MOST_WRITTEN else None,
        has_room_for_all=run.bundle_version is not None and _can_never_be_full(spec, run, lengths, max_active_tasks),
        lengths=lengths,
    )


def _can_never_be_full(spec: DagSpec, run: DagRun, lengths: Mapping[str, int], max_active_tasks: int) -> bool:
    """The same as `slots.can_never_be_full`, computed from the tasks instead of all instances."""
    count: dict[str, int] = {}
    for task in spec.tasks.values():
        if task.max_active_tis_per_dagrun is not None or (task.is_mapped and task.task_id not in lengths):
            return False
        if is_in_run(task, run):
            count[task.task_id] = lengths.get(task.task_id, 1)
    return slots.most_active(spec, run, count) <= max_active_tasks
