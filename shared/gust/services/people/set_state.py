"""Mark task instances, or a whole run, with a state. Rules: Airflow's `set_task_instance_state`,
`set_task_group_state` and `mark_tasks`.

After marking tasks, failed instances downstream of them are cleared, so that the run continues from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from gust.errors import NotFound
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.model.state import FAILED_STATES, FINISHED, DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import task_selection, timetable, transition
from gust.scheduling.clearing import cleared, queued_again, reset
from gust.scheduling.task_selection import Marker
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.people.clear_task_instances import begun_in_time, is_marked, latest_version, runs_between
from gust.services.people.edit_run import Edit, edit_run
from gust.services.specs import load_spec
from gust.services.time_left import TimeLeft
from gust.services.worker.clear_task_state import clear_task_state_on_success
from gust.services.worker.find_task_instances import all_instances

ACTIVE: frozenset[S | None] = frozenset({S.RUNNING, S.DEFERRED, S.UP_FOR_RESCHEDULE, S.AWAITING_INPUT})
"""When a run is marked, instances in these states get the run's state; instances that have not begun are skipped."""

BY_TIMETABLE = frozenset({DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The request, for a run and the runs before or after it."""

    tasks: Sequence[Marker]
    state: S
    upstream: bool = False
    downstream: bool = False
    future: bool = False
    past: bool = False

    def markers(self, spec: DagSpec) -> set[Marker]:
        """The tasks and those up- and downstream that the request includes; downstream without teardowns."""
        found: set[Marker] = set(self.tasks)
        for task_id in self.task_ids:
            if self.downstream:
                below = task_selection.all_relatives(spec, task_id, upstream=False)
                found |= {t for t in below if not spec.tasks[t].is_teardown}
            if self.upstream:
                found |= task_selection.all_relatives(spec, task_id, upstream=True)
        return found

    @property
    def task_ids(self) -> set[str]:
        return {marker if isinstance(marker, str) else marker[0] for marker in self.tasks}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkInRun:
    """The request, for one run."""

    state: S
    markers: frozenset[Marker]
    resumed: frozenset[str]
    """Tasks whose failed instances are cleared, so that the run continues from there."""

    def plan(self, services: Services, state: RunState) -> Edit:
        return _plan_marks(services, state, self)


@dataclass(frozen=True, slots=True)
class MarkRun:
    """The request, for a run as a whole."""

    state: DagRunState

    def plan(self, services: Services, state: RunState) -> Edit:
        return _plan_run(services, state, self.state)


def to_be_marked(services: Services, key: DagRunKey, request: Mark) -> list[TaskInstance]:
    """The instances that `mark_task_instances` would mark, as they are now. Raises NotFound."""
    _, spec = latest_version(services, key.dag_id)
    markers = request.markers(spec)
    return [
        i
        for run in _runs_to_mark(services, key, request, spec)
        for i in _marked(_state(services, run), markers, services, request.state)
    ]


def mark_task_instances(services: Services, key: DagRunKey, request: Mark) -> list[TaskInstance]:
    """Mark the instances, and clear failed ones downstream of the tasks themselves. Returns the marked instances: none
    if all were in that state already; as they will be if the scheduler does the rest. Repeating it changes nothing.
    Raises NotFound, Conflict if another action holds a run, Unfinished if there was no time to begin some of the runs.
    """
    # Imported here: `pending_edit` imports all actions.
    from gust.services.people.pending_edit import written  # noqa: PLC0415

    time_left = TimeLeft.of(services.clock)
    _, spec = latest_version(services, key.dag_id)
    markers = request.markers(spec)
    resumed = task_selection.select(spec, request.task_ids, downstream=True) - request.task_ids
    marking = {run.run_id for run in _runs_to_mark(services, key, request, spec)}
    clearing = {run.run_id for run in _runs_to_resume(services, key, request)}
    altered: list[TaskInstance] = []
    in_order = sorted(marking | clearing, key=lambda run_id: (run_id != key.run_id, run_id))
    for run in begun_in_time([DagRunKey(key.dag_id, run_id) for run_id in in_order], time_left):
        mark = MarkInRun(
            state=request.state,
            markers=frozenset(markers if run.run_id in marking else ()),
            resumed=frozenset(resumed if run.run_id in clearing else ()),
        )
        edited = edit_run(
            services, run, partial(mark.plan, services), action=partial(written, mark), time_left=time_left
        )
        altered += [instance for instance in edited.moved.values() if instance.state is request.state]
    if request.state is S.SUCCESS:
        clear_task_state_on_success(services, [instance.key for instance in altered])
    return altered


def set_dag_run_state(services: Services, key: DagRunKey, state: DagRunState) -> DagRun:
    """Set it to success or failed: active instances get that state, and instances that have not begun are skipped, except
    teardowns: they run, and the run ends by itself after them. Or queue the run again, as it is.

    Raises NotFound, Conflict if another action holds the run.
    """
    # Imported here: `pending_edit` imports all actions.
    from gust.services.people.pending_edit import written  # noqa: PLC0415

    mark = MarkRun(state)
    return edit_run(services, key, partial(mark.plan, services), action=partial(written, mark)).run


# --- tasks ------------------------------------------------------------------------------------------------------------


def _plan_marks(services: Services, state: RunState, request: MarkInRun) -> Edit:
    now = services.clock.now()
    reason = f"Marked {request.state} by a person."
    marks = [
        transition.mark(i, state=request.state, at=now, reason=reason)
        for i in _marked(state, request.markers, services, request.state)
    ]
    after: Mapping[object, TaskInstance] = {move.after.key: move.after for move in marks}
    spec = load_spec(services.objects, state.run.spec_key)
    clears = [
        clear
        for instance in (after.get(i.key, i) for i in all_instances(spec, state, now))
        if instance.task_id in request.resumed and instance.state in FAILED_STATES
        if (clear := cleared(spec, instance, at=now)) is not None
    ]
    # A marked instance cannot be marked again, so clear first: a repeated request after a crash must find the clears done.
    before = [clear for clear in clears if clear.before.key not in after]
    behind = [clear for clear in clears if clear.before.key in after]
    return Edit(
        moves=[before, marks, behind],
        first=(lambda run: reset(run, at=now)) if clears else None,
        # Planned again, it would mark again the instances that it cleared downstream of its own marks.
        can_be_resumed=not behind,
    )


def _marked(state: RunState, markers: Collection[Marker], services: Services, to: S) -> list[TaskInstance]:
    spec = load_spec(services.objects, state.run.spec_key)
    instances = all_instances(spec, state, services.clock.now())
    return [i for i in instances if is_marked(i, markers) and i.state is not to]


def _runs_to_mark(services: Services, key: DagRunKey, request: Mark, spec: DagSpec) -> list[DagRun]:
    """The run, and if the request includes past or future, the runs whose logical dates are on the DAG's timetable."""
    run = _run(services, key)
    date = run.logical_date
    if date is None or not (request.past or request.future):
        return [run]
    others = [*(services.store.runs_before(key.dag_id, date) if request.past else ()),
              *(services.store.runs_after(key.dag_id, date) if request.future else ())]  # fmt: skip
    if not spec.timetable.can_be_scheduled:
        return [run, *others]
    if not spec.timetable.periodic:
        return [run]
    return [run, *(other for other in others if _is_on_timetable(spec, other))]


def _is_on_timetable(spec: DagSpec, run: DagRun) -> bool:
    if run.run_type in BY_TIMETABLE or run.logical_date is None:
        return run.run_type in BY_TIMETABLE
    if not timetable.can_be_computed(spec.timetable):
        return False
    found = timetable.next_dagrun(
        spec.timetable,
        last=None,
        earliest=run.logical_date,
        latest=None,
        catchup=True,
        now=run.logical_date,
    )
    return found is not None and found.logical_date == run.logical_date


def _runs_to_resume(services: Services, key: DagRunKey, request: Mark) -> list[DagRunKey]:
    """The runs in which failed tasks downstream are cleared: by logical date alone, whatever the timetable says."""
    date = _run(services, key).logical_date
    if not request.future and not request.past:
        return [key]
    if request.future and request.past:
        return runs_between(services, key.dag_id, None, None)
    if date is None:
        return [key]  # Airflow goes through all runs here, having no date to compare.
    return runs_between(services, key.dag_id, date if request.future else None, date if request.past else None)


def _run(services: Services, key: DagRunKey) -> DagRun:
    run = services.store.get_run(key)
    if run is None:
        raise NotFound(f"The DagRun with dag_id: `{key.dag_id}` and run_id: `{key.run_id}` was not found")
    return run


def _state(services: Services, run: DagRun) -> RunState:
    return services.store.load_run(run.key) or RunState(run, {})


# --- runs -------------------------------------------------------------------------------------------------------------


def _plan_run(services: Services, seen: RunState, state: DagRunState) -> Edit:
    now = services.clock.now()
    if state is DagRunState.QUEUED:
        return Edit(last=lambda run: _queued(run, now))
    spec = load_spec(services.objects, seen.run.spec_key)
    unfinished = [i for i in all_instances(spec, seen, now) if i.task_id in spec.tasks and i.state not in FINISHED]
    moves = [
        _mark_with_run(instance, state, now) for instance in unfinished if not spec.tasks[instance.task_id].is_teardown
    ]
    waits_for_teardown = any(spec.tasks[instance.task_id].is_teardown for instance in unfinished)
    return Edit(moves=[moves], last=None if waits_for_teardown else _ended(state, now))


def _mark_with_run(instance: TaskInstance, state: DagRunState, now: datetime) -> Transition:
    reason = f"Its run was marked {state} by a person."
    return transition.mark(instance, state=S(state) if instance.state in ACTIVE else S.SKIPPED, at=now, reason=reason)


def _ended(state: DagRunState, now: datetime) -> Callable[[DagRun], DagRun]:
    def ended(run: DagRun) -> DagRun:
        end = run.end_date if run.is_finished else now
        return replace(run, state=state, end_date=end, due_at=None, reason=f"Marked {state} by a person.")

    return ended


def _queued(run: DagRun, now: datetime) -> DagRun:
    return replace(run, queued_at=now) if run.state is DagRunState.QUEUED else queued_again(run, at=now)
