"""Whether an instance may go on, as far as other instances of its run are concerned.

Finds the upstream instances that are relevant (in a mapped group those of its own map index), counts them, and asks the
trigger rule; then setups further up, a teardown's scope, and the tasks whose XCom it maps over.
Rules: `TriggerRuleDep`, `MappedTaskUpstreamDep` and `_get_relevant_map_indexes` of Airflow 3.3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from functools import cached_property

from gust.model.dag_spec import TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.state import FAILED_STATES, FINISHED, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import expansion
from gust.scheduling.dependency import Dependency
from gust.scheduling.run_view import RunView
from gust.scheduling.trigger_rule import Evaluation, UpstreamCounts, Verdict, evaluate, evaluate_setups

MET_BY_SOME = frozenset(
    {
        TriggerRule.ONE_SUCCESS,
        TriggerRule.ONE_FAILED,
        TriggerRule.ONE_DONE,
        TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    }
)
"""Rules that a part of the upstreams can decide: a placeholder looks at all instances before it judges by them."""


class Upstream:
    def __init__(self, view: RunView) -> None:
        self._view = view
        self._tasks = view.spec.tasks
        self._setups_of: dict[str, list[str]] = {}
        self._closures: dict[tuple[str, bool], frozenset[str]] = {}
        """Of the tasks that were asked about; the same all through a decision."""

    def evaluate(self, task: TaskSpec, instance: TaskInstance) -> Evaluation:
        """What its upstreams say about the instance, which is in a state the scheduler may move it from."""
        by_branch = self._by_branches(task, instance)
        if by_branch is not None:
            return by_branch
        by_rule = self._by_trigger_rule(task, instance)
        if by_rule.verdict not in {Verdict.RUN, Verdict.WAIT}:
            return by_rule
        by_sources = self._by_mapped_sources(task)
        if by_sources is not None and (by_rule.verdict is Verdict.RUN or by_sources.verdict is not Verdict.WAIT):
            return by_sources
        return by_rule

    # --- branches -----------------------------------------------------------------------------------------------------

    def _by_branches(self, task: TaskSpec, instance: TaskInstance) -> Evaluation | None:
        """A branch or short circuit directly upstream that has ended skips the instance, whatever its rule; `None`: no
        objection.

        Where the branch is mapped itself, the instance heeds that of its own map index. A plain branch inside a mapped
        group has no effect: Airflow 3.3.2 looks for its decision under map index -1, where there is none.
        """
        for upstream_id in task.upstream_task_ids:
            branch = self._tasks[upstream_id]
            if not branch.can_skip_downstream or not any(self._view.seen_states(upstream_id).get(s) for s in FINISHED):
                continue
            index = instance.map_index if branch.expansion is not None else UNMAPPED
            upstream_instance = self._view.instances_of(upstream_id).get(index)
            if upstream_instance is not None and _is_skipped(task.task_id, upstream_instance.skip_decision):
                return Evaluation(Verdict.SKIP, f"Skipped by {upstream_id}.", Dependency.BRANCH)
        return None

    # --- trigger rule, setups, teardown -------------------------------------------------------------------------------

    def _by_trigger_rule(self, task: TaskSpec, instance: TaskInstance) -> Evaluation:
        if not task.upstream_task_ids:
            return Evaluation(Verdict.RUN, "The task has no upstream tasks.")
        if task.trigger_rule is TriggerRule.ALWAYS:
            return Evaluation(Verdict.RUN, "Trigger rule always waits for nothing.")
        setups = self._by_indirect_setups(task, instance)
        if setups is not None and setups.verdict not in {Verdict.RUN, Verdict.WAIT}:
            return setups
        direct = self._by_direct_upstreams(task, instance)
        if direct.verdict is not Verdict.RUN:
            return direct
        if setups is not None and setups.verdict is Verdict.WAIT:
            return setups
        return self._by_teardown_scope(task, instance) or direct

    def _by_direct_upstreams(self, task: TaskSpec, instance: TaskInstance) -> Evaluation:
        counts = self._counts(task, instance, task.upstream_task_ids)
        return evaluate(task.trigger_rule, counts, map_index=instance.map_index)

    def _by_indirect_setups(self, task: TaskSpec, instance: TaskInstance) -> Evaluation | None:
        """Setups whose teardown is still to come, or that have none, must have succeeded before anything in between."""
        if not self._view.spec.has_setups or task.is_teardown:
            return None
        indirect = self._indirect_setups(task)
        if not indirect:
            return None
        return evaluate_setups(self._counts(task, instance, indirect), map_index=instance.map_index)

    def _indirect_setups(self, task: TaskSpec) -> list[str]:
        if task.task_id in self._setups_of:
            return self._setups_of[task.task_id]
        teardowns_below = {t for t in self.all_downstream(task.task_id) if self._tasks[t].is_teardown}
        relevant = [
            setup
            for setup in self._all_upstream(task.task_id)
            if self._tasks[setup].is_setup
            and (
                not any(self._tasks[t].is_teardown for t in self._tasks[setup].downstream_task_ids)
                or teardowns_below.intersection(self._tasks[setup].downstream_task_ids)
            )
        ]
        indirect = [setup for setup in relevant if setup not in task.upstream_task_ids]
        self._setups_of[task.task_id] = indirect
        return indirect

    def _by_teardown_scope(self, task: TaskSpec, instance: TaskInstance) -> Evaluation | None:
        """A teardown also waits for the tasks between its setups and its direct upstreams."""
        if not task.is_teardown:
            return None
        indirect = self._all_upstream(task.task_id).difference(task.upstream_task_ids)
        setups = [u for u in task.upstream_task_ids if self._tasks[u].is_setup]
        in_scope = {t for setup in setups for t in indirect & self.all_downstream(setup)}
        counts = self._counts(task, instance, in_scope)
        if counts.all_done:
            return None
        return Evaluation(Verdict.WAIT, f"The teardown waits for all tasks after its setup: {counts}.")

    # --- mapping ------------------------------------------------------------------------------------------------------

    def _by_mapped_sources(self, task: TaskSpec) -> Evaluation | None:
        """A task that gives its XCom to be mapped over must have succeeded, whatever the trigger rule; `None`: no
        objection.

        A source that is mapped itself and expanded counts as good, as in Airflow: its instances that pushed are the
        length.
        """
        if not task.is_mapped:
            return None
        states = {
            source.state
            for task_id in expansion.closest_expansion_sources(self._view.spec, task)
            if (source := self._view.instances_of(task_id).get(UNMAPPED)) is not None and source.state in FINISHED
        }
        if states <= {S.SUCCESS}:
            return None
        if states & FAILED_STATES:
            return Evaluation(
                Verdict.UPSTREAM_FAIL, "A task whose result it maps over has failed.", Dependency.MAPPED_SOURCES
            )
        if S.SKIPPED in states:
            return Evaluation(Verdict.SKIP, "A task whose result it maps over was skipped.", Dependency.MAPPED_SOURCES)
        return Evaluation(Verdict.WAIT, "A task whose result it maps over was removed.", Dependency.MAPPED_SOURCES)

    # --- counting the relevant instances ------------------------------------------------------------------------------

    def _counts(self, task: TaskSpec, instance: TaskInstance, upstream_ids: Collection[str]) -> UpstreamCounts:
        """As Airflow counts in one pass of its scheduler: how many there are by now, and how many of them had finished
        when the pass began."""
        states: Counter[S | None] = Counter()
        setup_states: Counter[S | None] = Counter()
        total = setups = 0
        any_mapped = any(self._tasks[u].is_mapped for u in upstream_ids)
        for upstream_id in upstream_ids:
            count, of_one = self._relevant(task, instance, self._tasks[upstream_id])
            if not any_mapped:
                # A task that this run leaves out by its dates counts as one that never finishes, except beside mapped
                # ones, where Airflow counts rows.
                count = 1
            total += count
            states += of_one
            if self._tasks[upstream_id].is_setup:
                setups += count
                setup_states += of_one
        return UpstreamCounts.of(states, setup_states, total=total, setups_total=setups)

    def _relevant(self, task: TaskSpec, instance: TaskInstance, upstream: TaskSpec) -> tuple[int, Counter[S | None]]:
        """How many instances of `upstream` matter to the instance, and the states they were seen in."""
        indexes = self.relevant_map_indexes(task, instance.map_index, upstream) if task.mapped_groups else None
        existing = self._view.instances_of(upstream.task_id)
        if indexes is None:
            return len(existing), Counter(self._view.seen_states(upstream.task_id))
        wanted = (UNMAPPED, *indexes)
        seen = self._view.seen_instances(upstream.task_id)
        return sum(i in existing for i in wanted), Counter(seen[i].state for i in wanted if i in seen)

    def relevant_map_indexes(self, task: TaskSpec, map_index: int, upstream: TaskSpec) -> Iterable[int] | None:
        """The upstream's map indexes that instance `map_index` of `task` depends on; `None`: all of them.

        Within a mapped group an instance depends on those of its own turn of the innermost group that both are in.
        """
        common = [group for group in upstream.mapped_groups if group in task.mapped_groups]
        if not common:
            return None
        if map_index == UNMAPPED and task.trigger_rule in MET_BY_SOME:
            sources = expansion.expansion_sources(self._view.spec, task)
            if upstream.task_id not in sources:
                return None
        length = self._view.map_length(task)
        turns = self._view.group_length(common[-1])
        if not length or not turns:
            return None
        if map_index == UNMAPPED:
            return ()
        turn = map_index * turns // length
        if not self._is_mapped_further(upstream, common[-1]):
            return range(turn, turn + 1)
        # By the task's own length, not the upstream's: in nested mapped groups Airflow's task depends on, and is given
        # the XComs of, fewer instances than one would think.
        per_turn = length // turns
        return range(turn * per_turn, (turn + 1) * per_turn)

    def _is_mapped_further(self, task: TaskSpec, group_id: str) -> bool:
        """Whether the task has several instances in one turn of the mapped group, by its form if not in this run."""
        return task.expansion is not None or task.mapped_groups[-1] != group_id

    # --- relatives ----------------------------------------------------------------------------------------------------

    def _all_upstream(self, task_id: str) -> frozenset[str]:
        return self._closure(task_id, upstream=True)

    def all_downstream(self, task_id: str) -> frozenset[str]:
        return self._closure(task_id, upstream=False)

    def looking_far_below(self, task_id: str) -> Iterable[str]:
        """Downstream tasks that look at more than those directly upstream of them, and may see this one: below a setup all
        do, and anywhere teardowns look at their scope, and tasks of mapped groups at what these are mapped over."""
        if not self._any_looks_far:
            return ()
        below = self.all_downstream(task_id)
        if self._tasks[task_id].is_setup:
            return below
        return (t for t in below if self._tasks[t].is_teardown or self._tasks[t].mapped_groups)

    @cached_property
    def _any_looks_far(self) -> bool:
        return any(task.is_setup or task.is_teardown or task.mapped_groups for task in self._tasks.values())

    def _closure(self, task_id: str, *, upstream: bool) -> frozenset[str]:
        if (task_id, upstream) in self._closures:
            return self._closures[task_id, upstream]
        found: set[str] = set()
        open_ends = [task_id]
        while open_ends:
            task = self._tasks[open_ends.pop()]
            for relative in task.upstream_task_ids if upstream else task.downstream_task_ids:
                if relative not in found:
                    found.add(relative)
                    open_ends.append(relative)
        self._closures[task_id, upstream] = frozenset(found)
        return self._closures[task_id, upstream]


def _is_skipped(task_id: str, decision: dict[str, list[str]]) -> bool:
    if "followed" in decision:
        return task_id not in decision["followed"]
    return task_id in decision.get("skipped", ())
