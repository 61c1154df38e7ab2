"""Clear task instances, so that they run again. Rules: Airflow's `dag.clear` and `clear_task_instances`.

Each run is an edit session of its own (`edit_run`). A clear that dies between two runs has cleared the first; sending the
request again clears the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from gust.errors import BadRequest, Conflict, NotFound, Unfinished
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.run_state import RunState
from gust.model.state import FAILED_STATES
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.window import Window
from gust.scheduling import task_selection, transition
from gust.scheduling.clearing import Version, cleared, reset
from gust.scheduling.run_view import RunView
from gust.scheduling.task_selection import Marker
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.people.edit_run import Edit, Edited, edit_run
from gust.services.specs import load_spec
from gust.services.time_left import TimeLeft
from gust.services.worker.find_task_instances import all_instances

MOST_RUNS: Final = 2000
"""The most runs of one action. Each is read, and some are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """The request, the same for each run."""

    markers: frozenset[Marker] | None = None
    """`None`: every instance."""
    only_failed: bool = False
    """Clear only failed and upstream_failed instances."""
    only_running: bool = False
    reset_dag_runs: bool = True
    """Queue finished runs again. Otherwise they stay finished, and their cleared instances do not run."""
    on_latest_version: bool = False
    prevents_running: bool = False
    """Refuse if one of the instances runs."""
    note: str | None = None
    """`None`: each keeps its own; an empty one removes it."""

    def plan(self, services: Services, state: RunState) -> Edit:
        return plan_clear(services, state, self)

    def covers(self, instance: TaskInstance) -> bool:
        states = {*(FAILED_STATES if self.only_failed else ()), *((S.RUNNING,) if self.only_running else ())}
        return (not states or instance.state in states) and is_marked(instance, self.markers)


def is_marked(instance: TaskInstance, markers: Collection[Marker] | None) -> bool:
    return markers is None or instance.task_id in markers or (instance.task_id, instance.map_index) in markers


def selected(services: Services, key: DagRunKey, request: Clear) -> list[TaskInstance]:
    """The instances that the clear would clear, as they are now. Empty if the run is gone."""
    state = services.store.load_run(key)
    return [] if state is None else _selected(services, state, request)


def clear_task_instances(
    services: Services, keys: Iterable[DagRunKey], request: Clear, *, time_left: TimeLeft | None = None
) -> list[TaskInstance]:
    """Clear the instances in every run that `asked` selects; returns them as they are afterwards, run by run.

    A running instance is `restarting` until its worker has ended it. Repeating the request after a crash does the rest. If
    the time is over, the scheduler clears the rest, and the returned instances are as they will be. Raises Conflict before
    any write if an instance runs and `prevents_running` is set, or if another action holds a run; raises Unfinished if there
    was no time to begin some of the runs.
    """
    keys, time_left = list(keys), time_left or TimeLeft.of(services.clock)
    if request.prevents_running:
        for key in keys:
            _check_none_runs(selected(services, key, request))
    return [
        instance
        for key in begun_in_time(keys, time_left)
        for instance in _clear_in_run(services, key, request, time_left)
    ]


def begun_in_time(keys: Sequence[DagRunKey], time_left: TimeLeft) -> Iterator[DagRunKey]:
    """The runs of an action, one after the other. Raises Unfinished when there is no time to begin another."""
    for done, key in enumerate(keys):
        if time_left.is_long_over:
            raise Unfinished(f"{done} of {len(keys)} runs are done; send the request again for the others")
        yield key


def clear_dag_run(
    services: Services, key: DagRunKey, *, only_failed: bool = False, on_latest_version: bool = False
) -> DagRun:
    """Every instance of the run, or the failed ones. Raises NotFound, Conflict."""
    request = Clear(only_failed=only_failed, on_latest_version=on_latest_version)
    return _edit(services, key, request).run


def queue_new_tasks(services: Services, key: DagRunKey) -> DagRun:
    """Move the run to the DAG's newest version, for the tasks that its own version lacks; clears nothing else. Without such
    tasks nothing changes."""

    def plan(state: RunState) -> Edit:
        latest, spec = latest_version(services, key.dag_id)
        if spec.tasks.keys() <= load_spec(services.objects, state.run.spec_key).tasks.keys():
            return Edit()
        return Edit(first=lambda run: reset(run, at=services.clock.now(), version=latest))

    return edit_run(services, key, plan).run


def runs_between(services: Services, dag_id: str, start: datetime | None, end: datetime | None) -> list[DagRunKey]:
    """Runs whose logical date is between `start` and `end`, both included; all runs if neither is given. Latest last. Raises
    BadRequest for more than `MOST_RUNS`."""
    if start is None and end is None:
        keys = [run.key for run in reversed(services.store.list_runs(dag_id, limit=MOST_RUNS + 1))]
    else:
        found = services.store.runs_of_dates(dag_id, Window(start, end, ascending=True))
        keys = [run.key for run in islice(found, MOST_RUNS + 1)]
    if len(keys) > MOST_RUNS:
        raise BadRequest(f"The request selects more than {MOST_RUNS} runs of {dag_id}: choose a shorter time")
    return keys


def with_relatives(
    view: RunView | None, spec: DagSpec, markers: Collection[Marker], *, upstream: bool, downstream: bool
) -> frozenset[Marker]:
    """The markers and the tasks up- and downstream that the request includes. Within one run, a mapped instance selects the
    instances of its own map index; without a run (`view`), whole tasks. Then the setups and teardowns of all of them."""
    found: set[Marker] = set(markers)
    if view is None and (upstream or downstream):
        named = {marker if isinstance(marker, str) else marker[0] for marker in markers}
        found |= task_selection.select(spec, named, upstream=upstream, downstream=downstream, exclude_original=True)
    if view is not None and upstream:
        found |= task_selection.relatives_in_run(view, found, upstream=True)
    if view is not None and downstream:
        found |= task_selection.relatives_in_run(view, found, upstream=False)
    named = {marker if isinstance(marker, str) else marker[0] for marker in found}
    return frozenset(found | (task_selection.select(spec, named) - named))


def latest_version(services: Services, dag_id: str) -> tuple[Version, DagSpec]:
    """The DAG's newest version. Raises NotFound."""
    dag = services.store.get_dag(dag_id)
    if dag is None:
        raise NotFound(f"The Dag with ID: `{dag_id}` was not found")
    spec = load_spec(services.objects, dag.spec_key)
    bundle_version = None if spec.disable_bundle_versioning else dag.bundle_version
    return Version(dag.version_number, dag.spec_key, bundle_version), spec


def runs_on_latest(request: bool | None, spec: DagSpec) -> bool:
    """The request's choice, else that of the DAG's newest version, else False."""
    return request if request is not None else bool(spec.rerun_with_latest_version)


# ----------------------------------------------------------------------------------------------------------------------


def _clear_in_run(services: Services, key: DagRunKey, request: Clear, time_left: TimeLeft) -> list[TaskInstance]:
    before = selected(services, key, request)
    if not before:
        return []
    edited = _edit(services, key, request, time_left)
    return [edited.moved.get(instance.key, instance) for instance in before]


def _edit(services: Services, key: DagRunKey, request: Clear, time_left: TimeLeft | None = None) -> Edited:
    # Imported here: `pending_edit` imports all actions.
    from gust.services.people.pending_edit import written  # noqa: PLC0415

    plan = partial(request.plan, services)
    return edit_run(services, key, plan, action=lambda: written(request), time_left=time_left)


def plan_clear(services: Services, state: RunState, request: Clear) -> Edit:
    run, now = state.run, services.clock.now()
    chosen = _selected(services, state, request)
    if not chosen:
        return Edit()
    if request.prevents_running:
        _check_none_runs(chosen)
    version: Version | None = None
    spec = load_spec(services.objects, run.spec_key)
    if request.on_latest_version:
        version, spec = latest_version(services, run.dag_id)
    if version is not None and request.reset_dag_runs:
        # The tries that end now belong to the version that the run leaves.
        chosen = [replace(i, version_number=i.version_number or run.version_number) for i in chosen]
    moves = [move for instance in chosen if (move := _move(spec, instance, request, version, now)) is not None]
    if version is not None and request.reset_dag_runs:
        moves += _moves_of_others(spec, state, version, {instance.key for instance in chosen}, now)
    return Edit(
        moves=[moves],
        first=(lambda seen: reset(seen, at=now, version=version)) if request.reset_dag_runs else None,
    )


def _selected(services: Services, state: RunState, request: Clear) -> list[TaskInstance]:
    """Upstream first: if the clear dies half-way, the rest is downstream of the cleared part."""
    spec = load_spec(services.objects, state.run.spec_key)
    return [i for i in all_instances(spec, state, services.clock.now()) if request.covers(i)]


def _check_none_runs(instances: Sequence[TaskInstance]) -> None:
    if any(instance.state is S.RUNNING for instance in instances):
        raise Conflict(
            "AirflowClearRunningTaskException: Disable 'prevent_running_task' to proceed, or wait until the task is not "
            "running, queued, or scheduled state."
        )


def _move(
    spec: DagSpec, instance: TaskInstance, request: Clear, version: Version | None, now: datetime
) -> Transition | None:
    move = cleared(spec, instance, at=now)
    if move is not None and move.edge == "clear":
        number = instance.version_number
        if version is not None:
            number = None if request.reset_dag_runs else version.number
        move = replace(move, after=replace(move.after, version_number=number))
    if request.note is None:
        return move
    note = request.note or None
    if move is None:
        return transition.annotate(instance, note=note) if note != instance.note else None
    return transition.annotated(move, note=note)


def _moves_of_others(
    spec: DagSpec, state: RunState, version: Version, chosen: Collection[object], now: datetime
) -> Iterable[Transition]:
    """The moves that a change of the run's version needs: instances that are not cleared keep the version that made them,
    and instances of tasks that the new version lacks are removed."""
    moves_on = version.number != state.run.version_number
    for instance in state.instances.values():
        if instance.key in chosen:
            continue
        is_gone = instance.task_id not in spec.tasks
        if is_gone and instance.state is not S.REMOVED and state.run.is_finished:
            yield transition.remove(
                instance, at=now, reason="The DAG version that its run goes on with has no such task."
            )
        elif not is_gone and instance.state is S.REMOVED and instance.map_index == UNMAPPED and moves_on:
            yield transition.clear(instance, at=now, retries=spec.tasks[instance.task_id].retries)
        elif moves_on and instance.version_number is None:
            yield transition.pin(instance, version_number=state.run.version_number)
