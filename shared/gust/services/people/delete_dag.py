"""Delete a DAG with its history."""

from contextlib import suppress
from dataclasses import replace

from gust.errors import Conflict, NotFound, StaleBackfill, StaleDag
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.state import TaskInstanceState as S
from gust.services.assets.asset_references import change_references
from gust.services.assets.watchers import change_watchers
from gust.services.context import Services
from gust.services.people.delete_dag_run import delete_run
from gust.services.specs import load_spec


def delete_dag(services: Services, dag_id: str) -> None:
    """Delete runs, backfills, versions, warnings, its file's import error, then the DAG. As in Airflow the DAG comes back,
    without history, when the next deployment parses its file again.

    Raises NotFound, Conflict if one of its tasks runs, and Forbidden if S3 denies its spec; then nothing is changed. The DAG
    first stops making runs. If the deletion dies half-way, the request can be repeated.
    """
    store = services.store
    dag = store.get_dag(dag_id)
    if dag is None:
        raise NotFound(f"Dag with id: {dag_id} was not found")
    for run in store.list_runs(dag_id):
        # No instance of an ended run runs.
        state = None if run.is_finished else store.load_run(run.key)
        if state and any(instance.state is S.RUNNING for instance in state.instances.values()):
            raise Conflict(f"Task instances of dag with id: '{dag_id}' are still running")
    spec = _spec_of(services, dag)
    stopped = _stopped(services, dag)
    if stopped.spec_key != dag.spec_key:
        spec = _spec_of(services, stopped)
    dag = stopped
    _end_backfills(services, dag_id)
    for run in store.list_runs(dag_id):
        try:
            delete_run(services, run.key)
        except NotFound:
            continue
    store.delete_backfills(dag_id)
    store.delete_import_problem(dag.relative_fileloc)
    store.delete_source_file(dag.relative_fileloc)
    if spec is not None:
        _forget_assets(services, dag, spec)
    store.delete_dag(dag_id)


def _end_backfills(services: Services, dag_id: str) -> None:
    """Cancel the DAG's backfills, which would make further runs."""
    now = services.clock.now()
    while active := [backfill for backfill in services.store.list_backfills(dag_id) if backfill.is_active]:
        for backfill in active:
            ended = replace(backfill, is_paused=True, completed_at=now, updated_at=now, due_at=None)
            with suppress(StaleBackfill):
                services.store.end_backfill(backfill, ended, cancels=True)


def _spec_of(services: Services, dag: Dag) -> DagSpec | None:
    try:
        return load_spec(services.objects, dag.spec_key)
    except NotFound:
        return None


def _forget_assets(services: Services, dag: Dag, spec: DagSpec) -> None:
    """Delete the DAG's references to assets, its queue and its watchers' wants; the assets and their events stay."""
    change_references(services, spec, None, at=services.clock.now())
    change_watchers(services, dag.dag_id, spec, None)
    if dag.is_asset_triggered:
        services.store.delete_asset_queues(dag.dag_id)


def _stopped(services: Services, dag: Dag) -> Dag:
    while not (dag.is_stale and dag.next_run_after is None):
        try:
            after = replace(dag, is_stale=True, next_run_after=None)
            services.store.put_dag(dag, after)
        except StaleDag as moved_on:
            if moved_on.current is None:
                return dag
            dag = moved_on.current
        else:
            return after
    return dag
