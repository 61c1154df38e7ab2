"""Phase: apply what upstreams make certain. Skips and failures spread to the end of the DAG, and mapped tasks expand.

The scheduler's own writes do not wake it again (docs/adr/0004), so one decision holds everything that follows from them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Final, assert_never

from gust.model.dag_spec import TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.place import Refused
from gust.model.state import SCHEDULABLE
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback, expansion, transition
from gust.scheduling.dependency import Dependency
from gust.scheduling.draft import Draft
from gust.scheduling.placement import place
from gust.scheduling.run_view import InstanceId
from gust.scheduling.trigger_rule import Evaluation, Verdict
from gust.scheduling.upstream import Upstream

UNSTOPPABLE: Final = frozenset({S.SUCCESS, S.FAILED, S.SKIPPED})
"""States that `fail_fast` does not change."""


def fail_fast(draft: Draft) -> None:
    """In a DAG with `fail_fast`, a failure ends all other tasks except teardowns, once (`stopped_others`). Airflow does
    this in the write that fails the try, so an instance that an API user clears afterwards runs."""
    if not draft.spec.fail_fast:
        return
    for task, instance in list(draft.view.all_instances()):
        key = (task.task_id, instance.map_index)
        if instance.state is S.FAILED and not instance.stopped_others and key not in draft.stoppers:
            draft.stoppers.append(key)
            _stop_others(draft, task)


def _stop_others(draft: Draft, failed: TaskSpec) -> None:
    """Fails running instances and skips all others, also those in upstream_failed or removed."""
    reason = f"Task {failed.task_id} failed and the DAG has fail_fast set."
    for task, instance in list(draft.view.all_instances()):
        if task.is_teardown or task is failed or instance.state in UNSTOPPABLE:
            continue
        before = draft.view.take_back(instance)
        if before.state is S.RUNNING:
            moved = transition.fail(before, at=draft.now, reason=reason)
            draft.view.move(replace(moved, after=replace(moved.after, stopped_others=True)))
        elif before.state not in UNSTOPPABLE:
            draft.view.move(transition.skip(before, at=draft.now, reason=reason))


class Propagation:
    """Moves every instance whose upstreams make certain what becomes of it."""

    def __init__(self, draft: Draft) -> None:
        self.is_done_unnoticed = False
        """Branches have skipped every instance that was left (`overtake`). Airflow does not notice that the run is done and
        ends it as stuck; so does Gust."""
        self._draft = draft
        self._view = draft.view
        self._upstream = Upstream(draft.view)
        self._revised: set[str] = set()
        self._waiting: set[InstanceId] = set()
        """Instances that wait for their upstreams, of those evaluated so far."""

    def run(self) -> list[tuple[TaskSpec, TaskInstance]]:
        """Move all instances that are certain, until nothing more follows; returns those that may go to a worker.

        It works in rounds. A round sees the states that the round before left, and visits instances in the order of
        Airflow's passes (task id, then map index). So where two upstreams would end an instance in different ways, the
        nearer one decides, as in Airflow.
        """
        ready: dict[InstanceId, tuple[TaskSpec, TaskInstance]] = {}
        task_ids = sorted(self._draft.spec.tasks)
        fail_fast(self._draft)
        self._view.begin_round()
        while task_ids:
            self._round(task_ids, ready)
            fail_fast(self._draft)
            task_ids = self._concerned(self._view.begin_round())
        return [pair for pair in ready.values() if not self._view.has_moved(pair[1])]

    def _round(self, task_ids: list[str], ready: dict[InstanceId, tuple[TaskSpec, TaskInstance]]) -> None:
        """Look at every instance of the tasks once; add to `ready` those that may go to a worker."""
        found = [
            (task := self._draft.spec.tasks[task_id], instance)
            for task_id in task_ids
            for instance in list(self._view.instances_of(task_id).values())
        ]
        self._revised.clear()
        empty: list[tuple[TaskSpec, TaskInstance]] = []
        for task, instance in found:  # grows during the walk: expanded instances come last
            key = (task.task_id, instance.map_index)
            current = self._view.instances_of(task.task_id).get(instance.map_index)
            if key in ready or current is None or not self._may_run(task, current):
                continue
            if task.is_mapped and current.map_index == UNMAPPED:
                found += [(task, expanded) for expanded in self._expand(task, current)]
                continue
            for one in (*self._revise(task), current):
                if self._draft.is_paused:
                    continue
                if task.is_empty:
                    empty.append((task, one))
                elif not self._view.has_moved(one) and self._has_worker(task, one):
                    ready[task.task_id, one.map_index] = (task, one)
        self._complete(empty)

    def _concerned(self, changed: frozenset[str]) -> list[str]:
        """The tasks to look at in the next round, sorted: those that changed, and those whose upstreams changed."""
        concerned = set(changed)
        for task_id in changed:
            concerned.update(self._draft.spec.tasks[task_id].downstream_task_ids)
            concerned.update(self._upstream.looking_far_below(task_id))
        # A task that maps over a result must be looked at in the same round as the task that pushes it.
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
        for task in self._draft.spec.tasks.values():
            if task.is_mapped:
                for source in expansion.closest_expansion_sources(self._draft.spec, task):
                    found.setdefault(source, set()).add(task.task_id)
        return {source: frozenset(tasks) for source, tasks in found.items()}

    # --- one instance -------------------------------------------------------------------------------------------------

    def _may_run(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Whether the instance may go to a worker now. If its upstreams rule that out for good, end it."""
        if instance.state not in SCHEDULABLE or self._view.has_moved(instance):
            return False
        evaluation = self._upstream.evaluate(task, instance)
        self._waiting.discard((task.task_id, instance.map_index))
        match evaluation.verdict:
            case Verdict.RUN:
                return self._is_time(task, instance)
            case Verdict.WAIT:
                self._draft.wait(instance, evaluation.reason, evaluation.dependency)
                self._waiting.add((task.task_id, instance.map_index))
            case Verdict.SKIP | Verdict.UPSTREAM_FAIL | Verdict.REMOVE:
                self._end(instance, evaluation)
            case _:
                assert_never(evaluation.verdict)
        return False

    def _end(self, instance: TaskInstance, evaluation: Evaluation) -> None:
        """End the instance as skipped, upstream_failed or removed, if that is the verdict."""
        match evaluation.verdict:
            case Verdict.SKIP:
                move = transition.skip
            case Verdict.UPSTREAM_FAIL:
                move = transition.upstream_fail
            case Verdict.REMOVE:
                move = transition.remove
            case Verdict.RUN | Verdict.WAIT:
                return
            case _:
                assert_never(evaluation.verdict)
        self._view.move(move(self._view.take_back(instance), at=self._draft.now, reason=evaluation.reason))

    def _is_time(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """For an instance whose upstreams let it run: whether it is due, and the previous run lets it run too."""
        if instance.due_at is not None and instance.due_at > self._draft.now:
            is_retried = instance.state is S.UP_FOR_RETRY
            reason = f"It is {'retried' if is_retried else 'continued'} at {instance.due_at.isoformat()}."
            self._draft.wait(instance, reason, Dependency.RETRY_PERIOD if is_retried else Dependency.RESCHEDULE)
            return False
        if (objection := self._past_objection(task)) is not None:
            self._draft.wait(instance, objection, Dependency.PREVIOUS_RUN)
            return False
        return True

    def _past_objection(self, task: TaskSpec) -> str | None:
        if not (task.depends_on_past or task.wait_for_downstream):
            return None
        if self._draft.past is None:
            return "The task depends on the past, and the run before this one was not looked at."
        return self._draft.past.objection(self._draft.spec, task)

    def _has_worker(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Whether a worker can run the instance; fails it otherwise."""
        if isinstance(where := place(task, self._draft.workers, instance.outgrew), Refused):
            refused = transition.refuse(instance, at=self._draft.now, retries=task.retries, reason=where.why)
            self._view.move(callback.with_task_callback(task, refused, emails=True))
            return False
        return True

    def _complete(self, empty: list[tuple[TaskSpec, TaskInstance]]) -> None:
        """End EmptyOperators as successful, without a worker. Airflow does so at the end of its pass, and Gust at the end of
        the round, so that no task maps over them earlier."""
        for task, instance in empty:
            if not self._view.has_moved(instance):
                self._view.move(transition.complete_empty(instance, at=self._draft.now, retries=task.retries))

    # --- mapped tasks -------------------------------------------------------------------------------------------------

    def _expand(self, task: TaskSpec, placeholder: TaskInstance) -> list[TaskInstance]:
        """Replace a mapped task's placeholder by its instances, now that its upstreams are done. Returns the instances; with
        nothing to map over, ends the placeholder and returns none."""
        length = self._view.map_length(task)
        if length is None:
            reason = "A task whose result it maps over has pushed nothing to map over."
            self._view.move(transition.upstream_fail(placeholder, at=self._draft.now, reason=reason))
            return []
        if length == 0:
            reason = "It maps over nothing: the length of its expansion is zero."
            self._view.move(transition.skip(placeholder, at=self._draft.now, reason=reason))
            return []
        self._draft.reasons.pop((task.task_id, UNMAPPED), None)
        self._view.expand(task, length)
        return list(self._view.instances_of(task.task_id).values())

    def _revise(self, task: TaskSpec) -> list[TaskInstance]:
        """Adapt an expanded task to the length that it maps over now: remove the instances beyond that length, whatever
        their state, and return the added ones, which may go at once. Does this once per task and round."""
        if not task.is_mapped or task.task_id in self._revised:
            return []
        self._revised.add(task.task_id)
        length = self._view.map_length(task)
        if length is None:
            return []
        for instance in list(self._view.instances_of(task.task_id).values()):
            if instance.map_index >= length and instance.state is not S.REMOVED:
                before = self._view.take_back(instance)
                reason = f"The task maps over {length} values now."
                self._view.move(transition.remove(before, at=self._draft.now, reason=reason))
        return self._view.grow(task, length)

    # --- overtaken instances ------------------------------------------------------------------------------------------

    def overtake(self) -> bool:
        """Returns whether the run is stuck: none of its unfinished instances, queued and running ones included, may run by
        its trigger rule, and none waits for anything but its upstreams. Called after `run`.

        As Airflow does, it ends instances that may no longer run, even if a worker has them, until it meets one that may: an
        API user's clear or mark has removed the reason for which they were started. It does nothing while an instance is
        deferred, waits for a person or another run, or has a limit of its own.
        """
        unfinished = sorted(self._draft.unfinished(), key=lambda pair: (pair[0].task_id, pair[1].map_index))
        if not unfinished or any(_may_wait_for_others(task, instance) for task, instance in unfinished):
            return False
        self._view.begin_round()
        changes_before = self._view.changes
        kinds: set[Dependency] = set()
        for task, instance in unfinished:
            is_waiting = (task.task_id, instance.map_index) in self._waiting
            if is_waiting and self._view.changes == changes_before:
                continue
            evaluation = self._upstream.evaluate(task, instance)
            if evaluation.verdict is Verdict.RUN:
                return False
            self._end(instance, evaluation)
            if evaluation.verdict is not Verdict.WAIT:
                kinds.add(evaluation.dependency)
        self.is_done_unnoticed = kinds == {Dependency.BRANCH}
        return True


def _may_wait_for_others(task: TaskSpec, instance: TaskInstance) -> bool:
    """Whether the instance may be waiting for a trigger, a person, another run or its task's limit: then the run is not
    stuck."""
    return (
        instance.state in {S.DEFERRED, S.AWAITING_INPUT}
        or task.depends_on_past
        or task.max_active_tis_per_dag is not None
        or task.max_active_tis_per_dagrun is not None
    )
