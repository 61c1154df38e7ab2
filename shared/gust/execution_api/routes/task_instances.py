from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from gust.errors import Invalid, NotFound
from gust.execution_api.datamodels.asset import asset_profile
from gust.execution_api.datamodels.taskinstance import (
    Breadcrumbs,
    CountTaskInstances,
    OutletEventPayload,
    PreviousTaskInstance,
    SelectTaskInstances,
    TIAwaitingInputStatePayload,
    TIDeferredStatePayload,
    TIEnterRunningPayload,
    TIHeartbeatInfo,
    TIRescheduleStatePayload,
    TIRetryStatePayload,
    TISkippedDownstreamTasksStatePayload,
    TIStateUpdate,
    TISuccessStatePayload,
    TITerminalStatePayload,
    breadcrumb,
    previous_successful_dagrun_response,
    previous_ti_response,
    run_context,
)
from gust.execution_api.routing import Access, Call, Fence, Routes, renewed_token
from gust.http.answer import NO_CONTENT, Answer
from gust.http.check import checked
from gust.model.dispatch import Dispatch
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.moment import later
from gust.model.state import FINISHED, DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.services.assets.active_assets import inactive_assets
from gust.services.context import Services
from gust.services.sealed import sealed_trigger
from gust.services.specs import load_spec, spec_of_instance
from gust.services.worker.ask_for_input import report_awaiting_input
from gust.services.worker.await_events import await_events
from gust.services.worker.find_task_instances import instances_of_runs, runs_asked_for, tasks_of_group
from gust.services.worker.report_task_instance import (
    heartbeat,
    known,
    report_deferral,
    report_failure,
    report_rendered_map_index,
    report_reschedule,
    report_retry,
    report_stopped,
    report_success,
    running,
)
from gust.services.worker.skip_downstream import skip_downstream
from gust.services.worker.start_task_instance import start_task_instance

routes = Routes("/task-instances")

MAX_PARTITION_KEY: Final = 250
"""Characters; Airflow's `ID_LEN`."""

# --- about many -------------------------------------------------------------------------------------------------------


@routes.get("/count", query=CountTaskInstances)
def get_task_instance_count(call: Call[None, CountTaskInstances]) -> Answer:
    states = call.query.states
    found = _selected(call.services, call.query, tasks_and_group=_in_both)
    return Answer(body=sum(not states or (str(i.state) if i.state else "null") in states for i in found))


@routes.get("/previous/{dag_id}/{task_id}", query=PreviousTaskInstance)
def get_previous_task_instance(call: Call[None, PreviousTaskInstance]) -> Answer:
    """The task's instance in the state given, of the latest run before the logical date given."""
    query, store = call.query, call.services.store
    for run in store.runs_before(call.path["dag_id"], query.logical_date):
        instance = store.get_instance(run.key.task_instance(call.path["task_id"], query.map_index))
        if instance is not None and query.state in (None, instance.state):
            return Answer(body=previous_ti_response(run, instance))
    return Answer(body=None)


@routes.get("/states", query=SelectTaskInstances)
def get_task_instance_states(call: Call[None, SelectTaskInstances]) -> Answer:
    states: dict[str, dict[str, Any]] = defaultdict(dict)
    for instance in _selected(call.services, call.query, tasks_and_group=_in_either):
        name = instance.task_id if instance.map_index < 0 else f"{instance.task_id}_{instance.map_index}"
        states[instance.run_id][name] = instance.state
    return Answer(body={"task_states": states})


@routes.get("/breadcrumbs", query=Breadcrumbs)
def get_task_instance_breadcrumbs(call: Call[None, Breadcrumbs]) -> Answer:
    """The finished instances of a run."""
    run = call.services.store.get_run(DagRunKey(call.query.dag_id, call.query.run_id))
    finished = [i for i in instances_of_runs(call.services, [run] if run else []) if i.state in FINISHED]
    in_order = sorted(finished, key=lambda instance: (instance.task_id, instance.map_index))
    return Answer(body={"breadcrumbs": [breadcrumb(instance) for instance in in_order]})


# --- about the caller's own try ---------------------------------------------------------------------------------------


@routes.patch("/{task_instance_id}/run", access=Access.OWN, body=TIEnterRunningPayload, fence=Fence.ITSELF, begins=True)
def ti_run(call: Call[TIEnterRunningPayload, None]) -> Answer:
    """Starts the try, and returns a token for its duration in exchange for the message's token."""
    body = call.body
    started = start_task_instance(call.services, call.caller, hostname=body.hostname, pid=body.pid, at=body.start_date)
    return Answer(body=run_context(started), headers=renewed_token(call))


@routes.patch("/{task_instance_id}/state", access=Access.OWN, body=TIStateUpdate, fence=Fence.ITSELF)
def ti_update_state(call: Call[Any, None]) -> Answer:
    services, caller, body = call.services, call.caller, call.body
    match body:
        case TISuccessStatePayload():
            report_success(
                services,
                caller,
                at=body.end_date,
                outlets=[ref for profile in body.task_outlets if (ref := profile.to_ref())],
                events=[payload.to_event() for payload in _outlet_events(body.outlet_events)],
                rendered_map_index=body.rendered_map_index,
            )
        case TITerminalStatePayload(state=S.FAILED):
            report_failure(services, caller, at=body.end_date, rendered_map_index=body.rendered_map_index)
        case TITerminalStatePayload():
            report_stopped(
                services, caller, state=body.state, at=body.end_date, rendered_map_index=body.rendered_map_index
            )
        case TIRetryStatePayload():
            report_retry(
                services,
                caller,
                at=body.end_date,
                delay=body.retry_delay_seconds,
                reason=body.retry_reason[:500] if body.retry_reason else None,
                rendered_map_index=body.rendered_map_index,
            )
        case TIDeferredStatePayload():
            report_deferral(
                services,
                caller,
                trigger=_parked(services, caller, body),
                rendered_map_index=body.rendered_map_index,
            )
        case TIRescheduleStatePayload():
            report_reschedule(services, caller, at=body.end_date, due_at=body.reschedule_date)
        case TIAwaitingInputStatePayload():
            report_awaiting_input(
                services,
                caller,
                next_method=body.next_method,
                next_kwargs=body.next_kwargs,
                timeout=body.timeout,
                rendered_map_index=body.rendered_map_index,
            )
        case _:
            running(services, caller)
            raise Invalid(f"A worker cannot move a task instance to {body.state}", field=("body", "state"))
    return NO_CONTENT


@routes.patch(
    "/{task_instance_id}/skip-downstream",
    access=Access.OWN,
    body=TISkippedDownstreamTasksStatePayload,
    fence=Fence.ITSELF,
)
def ti_skip_downstream(call: Call[TISkippedDownstreamTasksStatePayload, None]) -> Answer:
    targets = [(task, UNMAPPED) if isinstance(task, str) else task for task in call.body.tasks]
    skip_downstream(call.services, call.caller, targets)
    return NO_CONTENT


@routes.put("/{task_instance_id}/heartbeat", access=Access.OWN, body=TIHeartbeatInfo, fence=Fence.ITSELF)
def ti_heartbeat(call: Call[TIHeartbeatInfo, None]) -> Answer:
    """Records the heartbeat and renews the token."""
    heartbeat(call.services, call.caller, at=call.services.clock.now())
    return Answer(204, headers=renewed_token(call))


@routes.put("/{task_instance_id}/rtif", access=Access.OWN, body=dict[str, Any], fence=Fence.LAST_WORDS)
def ti_put_rtif(call: Call[dict[str, Any], None]) -> Answer:
    """Airflow's task runner sends the rendered fields once more after it has reported the end of the try."""
    caller = call.caller
    call.services.store.put_rendered_fields(caller.key, call.body, dispatch_count=caller.dispatch_count)
    return Answer(201, {"message": "Rendered task instance fields successfully set"})


@routes.patch("/{task_instance_id}/rendered-map-index", access=Access.OWN, body=str, fence=Fence.ITSELF)
def ti_patch_rendered_map_index(call: Call[str, None]) -> Answer:
    if not call.body:
        return Answer(422, {"detail": "rendered_map_index cannot be empty"})
    report_rendered_map_index(call.services, call.caller, rendered_map_index=call.body)
    return NO_CONTENT


@routes.get("/{task_instance_id}/previous-successful-dagrun", access=Access.OWN)
def get_previous_successful_dagrun(call: Call[None, None]) -> Answer:
    store = call.services.store
    run = store.get_run(call.caller.key.run)
    earlier = store.runs_before(run.dag_id, run.logical_date) if run and run.logical_date else iter(())
    succeeded = (other for other in earlier if other.state is DagRunState.SUCCESS)
    return Answer(body=previous_successful_dagrun_response(next(succeeded, None)))


@routes.get("/{task_instance_id}/validate-inlets-and-outlets", access=Access.OWN)
def validate_inlets_and_outlets(call: Call[None, None]) -> Answer:
    """The task's assets that are not active."""
    services = call.services
    instance = known(services, call.caller)
    run = services.store.get_run(instance.key.run)
    if run is None:
        raise NotFound("Task Instance not found")
    task = spec_of_instance(services, run, instance).tasks.get(instance.task_id)
    inactive = inactive_assets(services, (*task.inlets, *task.outlets)) if task else []
    return Answer(body={"inactive_assets": [asset_profile(ref) for ref in inactive]})


# --- helpers of the routes above --------------------------------------------------------------------------------------


def _outlet_events(raw: list[dict[str, Any]]) -> list[OutletEventPayload]:
    events = checked("body", raw, TypeAdapter(list[OutletEventPayload]).validate_python)
    for event in events:
        key = event.partition_key
        if key is not None and (not key.strip() or len(key) > MAX_PARTITION_KEY):
            raise Invalid(
                f"partition_key in outlet event must have 1 to {MAX_PARTITION_KEY} characters; got {key!r}",
                field=("body", "outlet_events"),
                value=key,
            )
    return events


def _parked(services: Services, caller: Dispatch, body: TIDeferredStatePayload) -> ParkedTrigger:
    timeout: timedelta | None = body.trigger_timeout
    parked = ParkedTrigger(
        classpath=body.classpath,
        kwargs=body.trigger_kwargs,
        next_method=body.next_method,
        next_kwargs=body.next_kwargs,
        timeout_at=None if timeout is None else later(services.clock.now(), timeout),
        queue=body.queue,
    )
    return sealed_trigger(services, await_events(services, caller, parked))


Chosen = Callable[[bool, bool], bool]
"""(is among the task ids, is in the group) → is selected; for requests that name both."""


def _in_both(among_tasks: bool, in_group: bool) -> bool:
    return among_tasks and in_group


def _in_either(among_tasks: bool, in_group: bool) -> bool:
    return among_tasks or in_group


def _selected(services: Services, query: SelectTaskInstances, *, tasks_and_group: Chosen) -> Iterator[TaskInstance]:
    """With tasks and a group Airflow counts the instances in both, and lists the states of the instances in either."""
    group = _tasks_of_group(services, query.dag_id, query.task_group_id) if query.task_group_id else None
    runs = runs_asked_for(services, query.dag_id, run_ids=query.run_ids, logical_dates=query.logical_dates)
    for instance in instances_of_runs(services, runs):
        if query.map_index not in (None, instance.map_index):
            continue
        among_tasks = not query.task_ids or instance.task_id in query.task_ids
        in_group = group is None or instance.task_id in group
        if tasks_and_group(among_tasks, in_group) if query.task_ids and group is not None else among_tasks and in_group:
            yield instance


def _tasks_of_group(services: Services, dag_id: str, group_id: str) -> frozenset[str]:
    dag = services.store.get_dag(dag_id)
    if dag is None:
        raise NotFound(f"The Dag with ID: `{dag_id}` was not found")
    tasks = tasks_of_group(load_spec(services.objects, dag.spec_key), group_id)
    if tasks is None:
        raise NotFound(f"Task group {group_id} not found in DAG {dag_id}")
    # Where the group has no instances, Airflow takes the id for a task's.
    return tasks or frozenset({group_id})
