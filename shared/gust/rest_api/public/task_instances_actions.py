"""Actions of API users on task instances: clear, set a state, write a note, delete."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import groupby
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, StringConstraints, field_validator, model_validator

from gust.http.answer import Answer, Json, Problem, bad_request, not_found
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.rest_api.http.request import ALL_PAGES, Body, Request, UpdateMask
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.bulk import (
    BulkAction,
    BulkDelete,
    BulkResult,
    BulkUpsert,
    answer_without_create,
    in_time,
)
from gust.rest_api.lists.shown_run import InstanceView, find_spec, load_view
from gust.rest_api.public.dags import existing_dag
from gust.rest_api.public.task_instances import MapIndex, no_instance, task_instance_responses
from gust.scheduling.run_view import RunView
from gust.scheduling.task_selection import Marker
from gust.services.context import Services
from gust.services.people.annotate_task_instances import Annotate
from gust.services.people.clear_task_instances import (
    Clear,
    clear_task_instances,
    runs_between,
    runs_on_latest,
    selected,
    with_relatives,
)
from gust.services.people.delete_dag_run import delete_task_instance
from gust.services.people.edit_run import edit_run
from gust.services.people.pending_edit import as_it_will_be, written
from gust.services.people.set_state import Mark, mark_task_instances, to_be_marked
from gust.services.specs import load_spec
from gust.services.time_left import TimeLeft
from gust.services.worker.find_task_instances import all_instances, tasks_of_group

Note = Annotated[str, StringConstraints(max_length=1000)]

# --- clearing ---------------------------------------------------------------------------------------------------------


class ClearBody(Body):
    dry_run: bool = True
    start_date: AwareDatetime | None = None
    end_date: AwareDatetime | None = None
    only_failed: bool = True
    only_running: bool = False
    reset_dag_runs: bool = True
    task_ids: list[str | tuple[str, int]] | None = None
    dag_run_id: str | None = None
    include_upstream: bool = False
    include_downstream: bool = False
    include_future: bool = False
    include_past: bool = False
    run_on_latest_version: bool | None = None
    prevent_running_task: bool = False
    note: Note | None = None

    @model_validator(mode="before")
    @classmethod
    def what_goes_together(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        start, end, run_id = data.get("start_date"), data.get("end_date"), data.get("dag_run_id")
        if data.get("only_failed") and data.get("only_running"):
            raise ValueError("only_failed and only_running both are set to True")
        if start and end and start > end:
            raise ValueError("end_date is sooner than start_date")
        if start and end and run_id:
            raise ValueError("Exactly one of dag_run_id or (start_date and end_date) must be provided")
        if start and run_id:
            raise ValueError("Exactly one of dag_run_id or start_date must be provided")
        if end and run_id:
            raise ValueError("Exactly one of dag_run_id or end_date must be provided")
        if isinstance(data.get("task_ids"), list) and len(data["task_ids"]) < 1:
            raise ValueError("task_ids list should have at least 1 element.")
        return data


@operation("post_clear_task_instances")
def post_clear_task_instances(services: Services, request: Request) -> Json:
    body = request.body(ClearBody)
    dag = existing_dag(services, request.path["dag_id"])
    latest = load_spec(services.objects, dag.spec_key)
    spec, view, keys = latest, None, None
    if body.dag_run_id is not None:
        state = services.store.load_run(DagRunKey(dag.dag_id, body.dag_run_id))
        if state is None:
            raise not_found(f"Dag Run id {body.dag_run_id} not found in dag {dag.dag_id}")
        spec = load_spec(services.objects, state.run.spec_key)
        view = RunView(spec, state.run, state.instances, request.now)
        keys = _runs_around(services, state.run, body)
    else:
        start = None if body.include_past else body.start_date
        keys = runs_between(services, dag.dag_id, start, None if body.include_future else body.end_date)
    clear = Clear(
        markers=_markers(body, spec, view),
        only_failed=body.only_failed,
        only_running=body.only_running,
        reset_dag_runs=body.reset_dag_runs,
        on_latest_version=runs_on_latest(body.run_on_latest_version, latest),
        prevents_running=body.prevent_running_task,
        note=body.note,
    )
    if body.dry_run:
        return collection(services, [instance for key in keys for instance in selected(services, key, clear)])
    time_left = TimeLeft.of(services.clock, since=request.now)
    return collection(services, clear_task_instances(services, keys, clear, time_left=time_left))


def _runs_around(services: Services, run: DagRun, body: ClearBody) -> list[DagRunKey]:
    if not (body.include_past or body.include_future):
        return [run.key]
    if run.logical_date is None:
        raise bad_request(
            "Cannot use include_past or include_future with no logical_date(e.g. manually or asset-triggered)."
        )
    start = None if body.include_past else run.logical_date
    return runs_between(services, run.dag_id, start, None if body.include_future else run.logical_date)


def _markers(body: ClearBody, spec: DagSpec, view: RunView | None) -> frozenset[Marker] | None:
    if body.task_ids is None:
        return None
    return with_relatives(view, spec, body.task_ids, upstream=body.include_upstream, downstream=body.include_downstream)


# --- states and notes -------------------------------------------------------------------------------------------------

STATES: Final = [TaskInstanceState.SUCCESS.value, TaskInstanceState.FAILED.value, TaskInstanceState.SKIPPED.value]


class PatchBody(Body):
    new_state: TaskInstanceState | None = None
    note: Note | None = None
    include_upstream: bool = False
    include_downstream: bool = False
    include_future: bool = False
    include_past: bool = False

    @field_validator("new_state", mode="before")
    @classmethod
    def one_that_a_person_may_set(cls, state: Any) -> Any:
        if state is None:
            raise ValueError("'new_state' should not be empty")
        state = str(state).lower()
        if state not in STATES:
            raise ValueError(f"'{state}' is not one of {STATES}")
        return state

    def changed(self, mask: Collection[str] | None) -> set[str]:
        return self.model_fields_set.intersection(mask) if mask else set(self.model_fields_set)

    def mark(self, tasks: Iterable[Marker]) -> Mark | None:
        if self.new_state is None:
            return None
        return Mark(
            tasks=tuple(tasks),
            state=self.new_state,
            upstream=self.include_upstream,
            downstream=self.include_downstream,
            future=self.include_future,
            past=self.include_past,
        )


@operation("patch_task_instance")
@operation("patch_task_instance_by_map_index")
def patch_task_instance(services: Services, request: Request) -> Json:
    key, marker, instances, (body, mask) = _patch_request(services, request)
    update(services, key, marker, instances, (body, mask))
    return collection(services, instances, again=True)


@operation("patch_task_instance_dry_run")
@operation("patch_task_instance_dry_run_by_map_index")
def patch_task_instance_dry_run(services: Services, request: Request) -> Json:
    key, marker, instances, (body, mask) = _patch_request(services, request)
    mark = body.mark([marker])
    if mark is None or "new_state" not in body.changed(mask):
        return collection(services, instances)
    return collection(services, to_be_marked(services, key, mark))


def _patch_request(
    services: Services, request: Request
) -> tuple[DagRunKey, Marker, list[TaskInstance], tuple[PatchBody, list[str] | None]]:
    """The run, the task or one mapped instance of it, the instances, and the changes."""
    map_index = request.path_value("map_index", int) if "map_index" in request.path else None
    body, mask = request.body(PatchBody), request.query(UpdateMask).update_mask
    key, task_id = _run_key(request), request.path["task_id"]
    instances = _existing(services, key, task_id, map_index)
    return key, _marker(task_id, map_index), instances, (body, mask)


def update(
    services: Services,
    key: DagRunKey,
    marker: Marker,
    instances: Collection[TaskInstance],
    change: tuple[PatchBody, Collection[str] | None],
) -> None:
    """Writes the note, then the state, as far as body and mask have them. Problem 409 if all instances have the state:
    then nothing changes, and failed downstream instances are not cleared."""
    body, mask = change
    changed = body.changed(mask)
    mark = body.mark([marker]) if "new_state" in changed else None
    task_id = marker if isinstance(marker, str) else marker[0]
    has_it = Problem(409, f"Task id {task_id} is already in {body.new_state} state")
    if mark is not None and not to_be_marked(services, key, mark):
        raise has_it
    if "note" in changed and (mask or body.note is not None):
        annotate(services, key, instances, body.note)
    if mark is not None and not mark_task_instances(services, key, mark):
        raise has_it


def annotate(services: Services, key: DagRunKey, instances: Collection[TaskInstance], note: str | None) -> None:
    edit = Annotate(frozenset((instance.task_id, instance.map_index) for instance in instances), note)
    edit_run(services, key, partial(edit.plan, services), action=partial(written, edit))


def _existing(services: Services, key: DagRunKey, task_id: str, map_index: int | None) -> list[TaskInstance]:
    """The task's instances in the run, or the mapped one. Problem 404 with a list of one sentence, as in Airflow."""
    spec = load_spec(services.objects, existing_dag(services, key.dag_id).spec_key)
    if task_id not in spec.tasks:
        raise not_found(f"Task '{task_id}' not found in Dag '{key.dag_id}'")
    found = [i for i in _instances(services, key) if i.task_id == task_id and map_index in (None, i.map_index)]
    if not found:
        raise Problem(
            404,
            [
                f"The Task Instance with dag_id: `{key.dag_id}`, run_id: `{key.run_id}`, task_id: `{task_id}` "  # type: ignore[list-item]
                f"and map_index: `{map_index}` was not found"
            ],
        )
    return found


def _marker(task_id: str, map_index: int | None) -> Marker:
    return task_id if map_index is None else (task_id, map_index)


# --- groups -----------------------------------------------------------------------------------------------------------


@operation("patch_task_group_instances")
def patch_task_group_instances(services: Services, request: Request) -> Json:
    body, mask = request.body(PatchBody), request.query(UpdateMask).update_mask
    key = _run_key(request)
    tasks, instances = _group(services, request)
    changed = body.changed(mask)
    mark = body.mark(tasks) if "new_state" in changed else None
    have_it = Problem(409, f"All task instances in the group are already in {body.new_state} state")
    if mark is not None and not to_be_marked(services, key, mark):
        raise have_it
    if "note" in changed and (mask or body.note is not None):
        annotate(services, key, instances, body.note)
    if mark is not None:
        instances = mark_task_instances(services, key, mark)
        if not instances:
            raise have_it
    return collection(services, instances, again=True)


@operation("patch_task_group_instances_dry_run")
def patch_task_group_instances_dry_run(services: Services, request: Request) -> Json:
    body = request.body(PatchBody)
    tasks, instances = _group(services, request)
    mark = body.mark(tasks)
    return collection(services, instances if mark is None else to_be_marked(services, _run_key(request), mark))


def _group(services: Services, request: Request) -> tuple[list[str], list[TaskInstance]]:
    key, group_id = _run_key(request), request.path["group_id"]
    spec = load_spec(services.objects, existing_dag(services, key.dag_id).spec_key)
    tasks = tasks_of_group(spec, group_id)
    if tasks is None:
        raise not_found(f"Task group '{group_id}' not found in DAG '{key.dag_id}'")
    found = [instance for instance in _instances(services, key) if instance.task_id in tasks]
    if not found:
        raise not_found(f"No task instances found for task group '{group_id}' in dag run '{key.run_id}'")
    return sorted(tasks), sorted(found, key=lambda instance: (instance.task_id, instance.map_index))


# --- deleting ---------------------------------------------------------------------------------------------------------


@operation("delete_task_instance")
def delete(services: Services, request: Request) -> Answer:
    key, task_id = _run_key(request), request.path["task_id"]
    map_index = request.query(MapIndex).map_index
    view = load_view(services, key)
    if view is None or view.instance(task_id, map_index) is None:
        raise no_instance(request, map_index, None)
    delete_task_instance(services, key.task_instance(task_id, map_index))
    return Answer()


# --- many at once -----------------------------------------------------------------------------------------------------


class BulkTaskInstance(PatchBody):
    task_id: str
    map_index: int | None = None
    dag_id: str | None = None
    dag_run_id: str | None = None


class BulkTaskInstancesBody(Body):
    actions: list[Annotated[BulkUpsert[BulkTaskInstance] | BulkDelete[BulkTaskInstance], Field(discriminator="action")]]


Wanted = tuple[DagRunKey, str, int | None]
"""A run, a task, and a map index or `None` for all instances."""


@operation("bulk_task_instances")
def bulk_task_instances(services: Services, request: Request) -> Json:
    time_left = TimeLeft.of(services.clock, since=request.now)

    def plan(
        action: BulkUpsert[BulkTaskInstance] | BulkDelete[BulkTaskInstance], result: BulkResult
    ) -> Callable[[], None]:
        wanted = _wanted(request, action.entities, result)
        if isinstance(action, BulkDelete):
            return partial(_bulk_delete, services, action, wanted, result, time_left)
        return partial(_bulk_update, services, action, wanted, result, time_left)

    refusal = "Task instances bulk create is not supported"
    return answer_without_create(request.body(BulkTaskInstancesBody).actions, refusal=refusal, plan=plan)


def _wanted(
    request: Request, entities: Iterable[str | BulkTaskInstance], result: BulkResult
) -> dict[Wanted, BulkTaskInstance | None]:
    """The entities, those of a single instance first, as in Airflow; of several for the same instances the last
    counts."""
    wanted: dict[Wanted, BulkTaskInstance | None] = {}
    for entity in entities:
        named = entity if isinstance(entity, str) else entity.task_id
        body = None if isinstance(entity, str) else entity
        dag_id = (body.dag_id if body else None) or request.path["dag_id"]
        run_id = (body.dag_run_id if body else None) or request.path["dag_run_id"]
        if ALL_PAGES in (dag_id, run_id):
            where = "BulkTaskInstanceBody object, not as string" if body is None else "request body"
            result.refuse(
                f"When using wildcard in path, dag_id and dag_run_id must be specified in {where} for task_id: {named}",
                400,
            )
            continue
        wanted[DagRunKey(dag_id, run_id), named, body.map_index if body else None] = body
    return dict(sorted(wanted.items(), key=lambda item: item[0][2] is None))


def _found(
    services: Services, action: BulkAction, wanted: Mapping[Wanted, Any]
) -> list[tuple[Wanted, list[TaskInstance]]]:
    """The instances of each entity. Problem 404 if some do not exist and the action does not skip them."""
    found: list[tuple[Wanted, list[TaskInstance]]] = []
    missing = []
    of_run: dict[DagRunKey, list[TaskInstance]] = {}
    for key, task_id, map_index in wanted:
        if key not in of_run:
            of_run[key] = _instances(services, key)
        instances = [i for i in of_run[key] if i.task_id == task_id and map_index in (None, i.map_index)]
        found.append(((key, task_id, map_index), instances))
        if instances or action.skips_missing:
            continue
        if map_index is None:
            raise not_found(
                f"No task instances found for dag_id: {key.dag_id}, run_id: {key.run_id}, task_id: {task_id}"
            )
        missing.append({"dag_id": key.dag_id, "dag_run_id": key.run_id, "task_id": task_id, "map_index": map_index})
    if missing:
        raise not_found(f"The task instances with these identifiers: {missing} were not found")
    return found


def _bulk_update(
    services: Services,
    action: BulkUpsert[BulkTaskInstance],
    wanted: Mapping[Wanted, Any],
    result: BulkResult,
    time_left: TimeLeft,
) -> None:
    for named, instance in in_time(_each(_found(services, action, wanted)), time_left):
        key, task_id, _ = named
        _existing(services, key, task_id, instance.map_index)
        change = wanted[named], action.update_mask
        update(services, key, (task_id, instance.map_index), [instance], change)
        result.success.append(f"{key.dag_id}.{key.run_id}.{task_id}[{instance.map_index}]")


def _bulk_delete(
    services: Services,
    action: BulkDelete[BulkTaskInstance],
    wanted: Mapping[Wanted, Any],
    result: BulkResult,
    time_left: TimeLeft,
) -> None:
    for (key, task_id, _), instance in in_time(_each(_found(services, action, wanted)), time_left):
        delete_task_instance(services, instance.key)
        result.success.append(f"{key.dag_id}.{key.run_id}.{task_id}[{instance.map_index}]")


def _each(found: Iterable[tuple[Wanted, list[TaskInstance]]]) -> list[tuple[Wanted, TaskInstance]]:
    return [(wanted, instance) for wanted, instances in found for instance in instances]


# ----------------------------------------------------------------------------------------------------------------------


def collection(services: Services, instances: Iterable[TaskInstance], *, again: bool = False) -> Json:
    """The answer with the instances as given, or with `again` as newly read."""
    views = list(shown(services, instances, again=again))
    return {
        "task_instances": task_instance_responses(services, views),
        "total_entries": len(views),
        "total_entries_limit": None,
        "next_cursor": None,
        "previous_cursor": None,
    }


def shown(services: Services, instances: Iterable[TaskInstance], *, again: bool = False) -> Iterable[InstanceView]:
    for key, of_run in groupby(instances, key=lambda instance: instance.key.run):
        state = services.store.load_run(key)
        if state is None:
            continue
        state = as_it_will_be(services, state)
        spec = find_spec(services, state.run)
        for given in of_run:
            instance = state.instances.get((given.task_id, given.map_index), given) if again else given
            yield InstanceView(state.run, instance, spec.tasks.get(instance.task_id) if spec else None)


def _instances(services: Services, key: DagRunKey) -> list[TaskInstance]:
    state = services.store.load_run(key)
    return [] if state is None else _of_run(services, state)


def _of_run(services: Services, state: RunState) -> list[TaskInstance]:
    return all_instances(load_spec(services.objects, state.run.spec_key), state, services.clock.now())


def _run_key(request: Request) -> DagRunKey:
    return DagRunKey(request.path["dag_id"], request.path["dag_run_id"])
