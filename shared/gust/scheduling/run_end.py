"""Phase: the run is over. Its state, and what its end makes due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gust.model.bounds import listed
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.state import FAILED_STATES, DagRunState
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback
from gust.scheduling.callback import WhyEnded
from gust.scheduling.decision import Decision, SendCallback, StartNextRun
from gust.scheduling.draft import Draft


def outcome(draft: Draft) -> tuple[DagRunState, str]:
    """The state of a run whose instances have all finished, by its leaves, and the reason."""
    states = {t: [i.state for i in draft.view.instances_of(t).values()] for t in _deciding_tasks(draft.spec)}
    failed = sorted(t for t, of_task in states.items() if FAILED_STATES.intersection(of_task))
    if failed:
        return DagRunState.FAILED, f"Leaf tasks did not succeed: {listed(failed)}."
    return DagRunState.SUCCESS, "All leaf tasks succeeded or were skipped."


def _deciding_tasks(spec: DagSpec) -> list[str]:
    """The leaves. A teardown decides only with `on_failure_fail_dagrun`; otherwise its upstreams are the leaves."""
    leaves = [task.task_id for task in spec.tasks.values() if _is_effective_leaf(spec, task)]
    return leaves or list(spec.leaves)


def _is_effective_leaf(spec: DagSpec, task: TaskSpec) -> bool:
    return _counts_for_run(task) and not any(
        _counts_for_run(spec.tasks[downstream]) for downstream in task.downstream_task_ids
    )


def _counts_for_run(task: TaskSpec) -> bool:
    return not task.is_teardown or task.on_failure_fail_dagrun


def finish(
    draft: Draft, state: DagRunState, reason: str, *, why: WhyEnded, unfinished: Sequence[TaskInstance] = ()
) -> Decision:
    """The decision that ends the run. `unfinished`: the instances that had not ended when its end was decided."""
    finished = replace(
        draft.run,
        state=state,
        end_date=draft.now,
        last_scheduling_decision=draft.now,
        due_at=None,
        instance_states=draft.view.counted(),
        reason=reason,
    )
    instances = [instance for _, instance in draft.view.all_instances()]
    shown = callback.shown_at_end(draft.spec, why, instances, unfinished)
    transitions = draft.transitions()
    of_tries = callback.due_by(transitions)
    ending = callback.at_end(draft.spec, finished, draft.callbacks, why=why, shown=shown)
    return Decision(
        transitions=transitions,
        stopped=draft.stopped(),
        run=callback.run_that_calls_back(finished, draft.callbacks, of_tries, ending, now=draft.now),
        callbacks=ending,
        effects=(
            *(SendCallback(due) for due in (*of_tries, *callback.made(ending))),
            StartNextRun(draft.run.dag_id),
        ),
        reasons=draft.reasons,
        blocked_by=draft.blocked_by,
    )
