"""Actions of API users on runs: set a state, write a note, clear, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from gust.errors import StaleDagRun
from gust.http.answer import Answer, Json, Problem, bad_request, not_found
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
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
from gust.rest_api.lists.shown_run import load_view
from gust.rest_api.public.dag_run import existing_run, versions_reader
from gust.rest_api.public.dags import existing_dag
from gust.rest_api.public.task_instances import task_instance_responses
from gust.rest_api.public.task_instances_actions import shown
from gust.services.context import Services
from gust.services.people.clear_task_instances import (
    Clear,
    clear_dag_run,
    clear_task_instances,
    latest_version,
    queue_new_tasks,
    runs_on_latest,
    selected,
)
from gust.services.people.delete_dag_run import delete_dag_run
from gust.services.people.set_state import set_dag_run_state
from gust.services.runs.partition_runs import PartitionWindow, forget_partition, runs_in_window, runs_of_key
from gust.services.runs.public_form import dag_run_fields
from gust.services.specs import load_spec
from gust.services.time_left import TimeLeft

Note = Annotated[str, Field(max_length=1000)]

ATTEMPTS: Final = 10


class Mutable(StrEnum):
    """States that an API user may set."""

    QUEUED = DagRunState.QUEUED
    SUCCESS = DagRunState.SUCCESS
    FAILED = DagRunState.FAILED


# --- state and note ---------------------------------------------------------------------------------------------------


class RunPatchBody(Body):
    state: Mutable | None = None
    note: Note | None = None


@operation("patch_dag_run")
def patch_dag_run(services: Services, request: Request) -> Json:
    body, mask = request.body(RunPatchBody), request.query(UpdateMask).update_mask
    key = _key(request)
    existing_run(services, key)
    changed = body.model_fields_set.intersection(mask) if mask else body.model_fields_set
    if "note" in changed:
        annotate(services, key, body.note)
    if "state" in changed and body.state is not None:
        set_dag_run_state(services, key, DagRunState(body.state))
    return _shown(services, existing_run(services, key))


def annotate(services: Services, key: DagRunKey, note: str | None) -> None:
    """Sets the run's note; an empty one removes it. Problem 404."""
    for _ in range(ATTEMPTS):
        run = existing_run(services, key)
        if run.note == (note or None):
            return None
        try:
            return services.store.update_run(run, replace(run, note=note or None))
        except StaleDagRun:
            continue
    raise Problem(409, f"The DagRun `{key.run_id}` of `{key.dag_id}` was changed by another request; try again")


# --- clearing ---------------------------------------------------------------------------------------------------------


class _Clearing(Body):
    dry_run: bool = True
    only_failed: bool = False
    only_new: bool = False
    run_on_latest_version: bool | None = None
    note: Note | None = None

    @model_validator(mode="before")
    @classmethod
    def new_or_failed(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("only_new") and data.get("only_failed"):
            raise ValueError("only_new and only_failed are mutually exclusive")
        return data


class RunClearBody(_Clearing):
    pass


@operation("clear_dag_run")
def clear(services: Services, request: Request) -> Json:
    body, key = request.body(RunClearBody), _key(request)
    existing_run(services, key)
    if body.dry_run:
        return _collection(_would_clear(services, key, body))
    return _shown(services, _clear(services, key, body))


def _would_clear(services: Services, key: DagRunKey, body: _Clearing) -> list[Json]:
    if not body.only_new:
        found = selected(services, key, Clear(only_failed=body.only_failed))
        return task_instance_responses(services, list(shown(services, found)))
    _, latest = latest_version(services, key.dag_id)
    there = {instance.task_id for instance in selected(services, key, Clear())}
    return [{"task_id": task_id, "task_display_name": task_id} for task_id in sorted(latest.tasks.keys() - there)]


def _clear(services: Services, key: DagRunKey, body: _Clearing) -> DagRun:
    _, latest = latest_version(services, key.dag_id)
    if body.only_new:
        run = queue_new_tasks(services, key)
    else:
        on_latest = runs_on_latest(body.run_on_latest_version, latest)
        run = clear_dag_run(services, key, only_failed=body.only_failed, on_latest_version=on_latest)
    if body.note is not None:
        annotate(services, key, body.note)
        run = existing_run(services, key)
    return run


class NamedRun(Body):
    dag_run_id: str
    dag_id: str | None = None
    state: Mutable | None = None
    note: Note | None = None


class PartitionSelectors(Body):
    partition_key: str | None = None
    partition_date_start: datetime | None = None
    partition_date_end: datetime | None = None

    def check_one_way_to_select(self, other: str, *, is_given: bool) -> None:
        """Raises ValueError for none, or for more than one."""
        start, end = self.partition_date_start, self.partition_date_end
        if sum((is_given, self.partition_key is not None, start is not None or end is not None)) != 1:
            raise ValueError(
                f"Exactly one of {other}, partition_key, or a partition date window "
                "(partition_date_start / partition_date_end) must be provided."
            )
        if start is not None and end is not None and _with_zone(start) > _with_zone(end):
            raise ValueError("partition_date_start must be on or before partition_date_end.")


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class RunsClearBody(_Clearing, PartitionSelectors):
    dag_runs: list[NamedRun] = []

    @model_validator(mode="after")
    def one_way_to_select(self) -> RunsClearBody:
        self.check_one_way_to_select("dag_runs (non-empty)", is_given=bool(self.dag_runs))
        return self


@operation("clear_dag_runs")
def clear_many(services: Services, request: Request) -> Json:
    body, dag_id = request.body(RunsClearBody), request.path["dag_id"]
    keys = list(
        dict.fromkeys(_named(body.dag_runs, dag_id) if body.dag_runs else _of_partition(services, body, dag_id))
    )
    for key in keys:
        existing_run(services, key)
    if body.dry_run:
        return _collection([one for key in keys for one in _would_clear(services, key, body)])
    version_of = versions_reader(services)
    runs = [_clear(services, key, body) for key in keys]
    return {
        "dag_runs": [dag_run_fields(run, version_of(run.dag_id, run.version_number)) for run in runs],
        "total_entries": len(runs),
        "total_entries_limit": None,
        "next_cursor": None,
        "previous_cursor": None,
    }


def _named(runs: Iterable[NamedRun], dag_id: str) -> Iterable[DagRunKey]:
    for run in runs:
        if dag_id == ALL_PAGES:
            if not run.dag_id or run.dag_id == ALL_PAGES:
                raise bad_request(
                    "When the URL dag_id is '~', every entry must provide a concrete dag_id "
                    f"(missing on dag_run_id: {run.dag_run_id!r})."
                )
        elif run.dag_id not in (None, "", dag_id):
            raise bad_request(f"Entry dag_id {run.dag_id!r} does not match the URL dag_id {dag_id!r}.")
        yield DagRunKey(run.dag_id or dag_id, run.dag_run_id)


def _of_partition(services: Services, body: RunsClearBody, dag_id: str) -> Iterable[DagRunKey]:
    if dag_id == ALL_PAGES:
        raise bad_request("Partition selectors require a concrete dag_id; '~' is not supported.")
    return (run.key for run in _selected_by_partition(services, body, existing_dag(services, dag_id)))


def _selected_by_partition(services: Services, selectors: PartitionSelectors, dag: Dag) -> list[DagRun]:
    if selectors.partition_key is not None:
        return runs_of_key(services, dag.dag_id, selectors.partition_key)
    timetable = load_spec(services.objects, dag.spec_key).timetable
    window = PartitionWindow.between(timetable, selectors.partition_date_start, selectors.partition_date_end)
    return runs_in_window(services, dag.dag_id, window)


# --- partitions -------------------------------------------------------------------------------------------------------


class ClearPartitionsBody(PartitionSelectors):
    run_id: str | None = None
    clear_task_instances: bool = False
    dry_run: bool = True

    @model_validator(mode="after")
    def one_way_to_select(self) -> ClearPartitionsBody:
        self.check_one_way_to_select("run_id", is_given=self.run_id is not None)
        return self


@operation("clear_dag_run_partitions")
def clear_dag_run_partitions(services: Services, request: Request) -> Json:
    """Takes the runs out of their partitions, and clears them if the body wants it. No match is no error."""
    body, dag = request.body(ClearPartitionsBody), existing_dag(services, request.path["dag_id"])
    if body.run_id is not None:
        found = services.store.get_run(DagRunKey(dag.dag_id, body.run_id))
        runs = [found] if found else []
    else:
        runs = _selected_by_partition(services, body, dag)
    partitioned = [run for run in runs if run.partition_key is not None or run.partition_date is not None]
    again = runs if body.clear_task_instances else []
    counted = sum(len(view.instances) for run in again if (view := load_view(services, run.key)))
    if not body.dry_run:
        for run in partitioned:
            forget_partition(services, run.key)
        clear_task_instances(services, [run.key for run in again], Clear())
    return {
        "dag_runs_cleared": len(partitioned),
        "task_instances_cleared": counted,
        "dry_run": body.dry_run,
    }


# --- deleting ---------------------------------------------------------------------------------------------------------


@operation("delete_dag_run")
def delete(services: Services, request: Request) -> Answer:
    delete_dag_run(services, _key(request))
    return Answer(204)


# --- many at once -----------------------------------------------------------------------------------------------------


class BulkRunsBody(Body):
    actions: list[Annotated[BulkUpsert[NamedRun] | BulkDelete[NamedRun], Field(discriminator="action")]]


@operation("bulk_dag_runs")
def bulk_dag_runs(services: Services, request: Request) -> Json:
    time_left = TimeLeft.of(services.clock, since=request.now)

    def plan(action: BulkUpsert[NamedRun] | BulkDelete[NamedRun], result: BulkResult) -> Callable[[], None]:
        wanted = _wanted(request.path["dag_id"], action.entities, result)
        work = _delete_one if isinstance(action, BulkDelete) else _update_one
        return partial(_each, services, action, wanted, result=result, work=work, time_left=time_left)

    refusal = "Dag Runs bulk create is not supported. Use the trigger Dag Run endpoint instead."
    return answer_without_create(request.body(BulkRunsBody).actions, refusal=refusal, plan=plan)


def _wanted(dag_id: str, entities: Iterable[str | NamedRun], result: BulkResult) -> dict[DagRunKey, NamedRun | None]:
    wanted: dict[DagRunKey, NamedRun | None] = {}
    for entity in entities:
        body = None if isinstance(entity, str) else entity
        run_id = entity if isinstance(entity, str) else entity.dag_run_id
        of_dag = (body.dag_id if body else None) or dag_id
        if ALL_PAGES in (of_dag, run_id):
            where = "BulkDAGRunBody object, not as string" if body is None else "request body"
            result.refuse(
                f"When using wildcard in path, dag_id must be specified in {where} for dag_run_id: {run_id}", 400
            )
            continue
        wanted[DagRunKey(of_dag, run_id)] = body
    return wanted


def _each(
    services: Services,
    action: BulkAction,
    wanted: Mapping[DagRunKey, Any],
    *,
    result: BulkResult,
    work: Callable[[Services, DagRunKey, Any, BulkResult], None],
    time_left: TimeLeft,
) -> None:
    missing = sorted((key.dag_id, key.run_id) for key in wanted if services.store.get_run(key) is None)
    if missing and not action.skips_missing:
        raise not_found(f"The DagRuns with these identifiers: {missing} were not found")
    for key, body in in_time(wanted.items(), time_left):
        if (key.dag_id, key.run_id) not in missing:
            work(services, key, body, result)


def _update_one(services: Services, key: DagRunKey, body: NamedRun, result: BulkResult) -> None:
    if body.state is not None:
        set_dag_run_state(services, key, DagRunState(body.state))
    if body.note is not None:
        annotate(services, key, body.note)
    result.success.append(f"{key.dag_id}.{key.run_id}")


def _delete_one(services: Services, key: DagRunKey, _: Any, result: BulkResult) -> None:
    """Deletes one run. A running one is an error in the result; the others are deleted."""
    before = len(result.errors)
    result.guard(lambda: delete_dag_run(services, key))
    if len(result.errors) == before:
        result.success.append(f"{key.dag_id}.{key.run_id}")


# ----------------------------------------------------------------------------------------------------------------------


def _collection(instances: list[Json]) -> Json:
    return {"task_instances": instances, "total_entries": len(instances)}


def _shown(services: Services, run: DagRun) -> Json:
    return dag_run_fields(run, services.store.get_version(run.dag_id, run.version_number))


def _key(request: Request) -> DagRunKey:
    return DagRunKey(request.path["dag_id"], request.path["dag_run_id"])
