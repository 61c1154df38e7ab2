from collections.abc import Callable
from typing import Any

from gust.errors import BadRequest, NotFound
from gust.execution_api.datamodels.dagrun import (
    CountDagRuns,
    PreviousDagRun,
    TriggerDAGRunPayload,
    dag_run_response,
)
from gust.execution_api.routing import Call, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunTriggeredByType, DagRunType
from gust.services.assets.consumed_events import assets_of, consumed_by
from gust.services.context import Services
from gust.services.worker.find_task_instances import runs_asked_for

routes = Routes("/dag-runs")


@routes.get("/count", query=CountDagRuns)
def get_dr_count(call: Call[None, CountDagRuns]) -> Answer:
    query = call.query
    runs = runs_asked_for(call.services, query.dag_id, run_ids=query.run_ids, logical_dates=query.logical_dates)
    return Answer(body=sum(not query.states or run.state in query.states for run in runs))


@routes.get("/previous", query=PreviousDagRun)
def get_previous_dagrun(call: Call[None, PreviousDagRun]) -> Answer:
    query = call.query
    earlier = call.services.store.runs_before(query.dag_id, query.logical_date)
    latest = next((run for run in earlier if query.state in (None, run.state)), None)
    return Answer(body=_response(call.services, latest) if latest else None)


@routes.get("/{dag_id}/{run_id}")
def get_dag_run(call: Call[None, None]) -> Answer:
    return Answer(body=_response(call.services, _run(call)))


@routes.post("/{dag_id}/{run_id}", body=TriggerDAGRunPayload)
def trigger_dag_run(call: Call[TriggerDAGRunPayload, None]) -> Answer:
    """Makes a run for TriggerDagRunOperator. Its `triggering_user_name` is that of the caller's run."""
    parent = call.services.store.get_run(call.caller.key.run)
    _create_dag_run()(
        call.services,
        call.path["dag_id"],
        run_id=call.path["run_id"],
        logical_date=call.body.logical_date,
        run_after=call.body.run_after,
        conf=call.body.conf,
        note=call.body.note,
        run_type=DagRunType.OPERATOR_TRIGGERED,
        triggered_by=DagRunTriggeredByType.OPERATOR,
        triggering_user_name=parent.triggering_user_name if parent else None,
        partition_key=call.body.partition_key,
    )
    return NO_CONTENT


def _create_dag_run() -> Callable[..., Any]:
    # Imported here: timetables are slow to import, and few tasks trigger runs.
    from gust.services.runs.create_dag_run import create_dag_run  # noqa: PLC0415

    return create_dag_run


@routes.post("/{dag_id}/{run_id}/clear")
def clear_dag_run(call: Call[None, None]) -> Answer:
    """Clears all task instances of an existing run, for TriggerDagRunOperator with `reset_dag_run`."""
    # Imported here: few tasks clear runs.
    from gust.services.people.clear_task_instances import clear_dag_run as clear  # noqa: PLC0415
    from gust.services.people.clear_task_instances import latest_version, runs_on_latest  # noqa: PLC0415

    services, dag_id, run_id = call.services, call.path["dag_id"], call.path["run_id"]
    dag = services.store.get_dag(dag_id)
    if dag is None or dag.is_stale:
        raise NotFound(f"Dag with dag_id: '{dag_id}' not found")
    if dag.has_import_errors:
        raise BadRequest(f"Dag with dag_id '{dag_id}' has import errors and cannot be triggered")
    key = DagRunKey(dag_id, run_id)
    if services.store.get_run(key) is None:
        raise NotFound(f"Dag run with run_id: '{run_id}' not found")
    _, newest = latest_version(services, dag_id)
    clear(services, key, on_latest_version=runs_on_latest(None, newest))
    return NO_CONTENT


@routes.get("/{dag_id}/{run_id}/state")
def get_dagrun_state(call: Call[None, None]) -> Answer:
    return Answer(body={"state": _run(call).state})


def _response(services: Services, run: DagRun) -> dict[str, Any]:
    events = consumed_by(services, run)
    return dag_run_response(run, events, assets_of(services, events))


def _run(call: Call[Any, Any]) -> DagRun:
    dag_id, run_id = call.path["dag_id"], call.path["run_id"]
    run = call.services.store.get_run(DagRunKey(dag_id, run_id))
    if run is None:
        raise NotFound(f"Dag run with dag_id '{dag_id}' and run_id '{run_id}' was not found")
    return run
