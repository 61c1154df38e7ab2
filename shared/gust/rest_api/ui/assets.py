"""`/ui/next_run_assets`: the assets that an asset-triggered DAG still waits for."""

from __future__ import annotations

from gust.http.answer import Json, not_found
from gust.model.asset import AssetKey, number_of
from gust.model.dag import Dag
from gust.model.history_query import AssetEventSource
from gust.model.window import Window
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.public.asset_expression import asset_expression
from gust.rest_api.ui.partitioned_dag_runs import Progress, assets_of_schedule, nothing_yet, progress_of
from gust.services.context import Services
from gust.services.specs import load_spec


@ui_operation("next_run_assets")
def next_run_assets(services: Services, request: Request) -> Json:
    dag = services.store.get_dag(request.path["dag_id"])
    if dag is None:
        raise not_found(f"Dag with id {request.path['dag_id']} was not found")
    spec = load_spec(services.objects, dag.spec_key)
    assets = sorted(assets_of_schedule(spec), key=lambda key: key.uri)
    known = {asset.key for asset in services.store.list_assets()} if assets else set()
    if not dag.timetable_partitioned:
        queue = services.store.asset_queue(dag.dag_id) if assets else None
        queued = queue.queued if queue else {}
        rows = [
            _row(services, dag, key, Progress.of_none(), is_queued=key in queued, is_known=key in known)
            for key in assets
        ]
        return {"asset_expression": asset_expression(spec), "events": rows, "pending_partition_count": None}
    pending = services.store.pending_partitions(dag.dag_id)
    came = {event.asset for partition in pending for event in partition.received}
    # The scheduler evaluates the first one first.
    progress = progress_of(spec, pending[0], assets) if pending else nothing_yet(spec, assets)
    return {
        "asset_expression": asset_expression(spec),
        "events": [
            _row(services, dag, key, progress[key], is_queued=key in came, is_known=key in known) for key in assets
        ],
        "pending_partition_count": len(pending),
    }


def _row(services: Services, dag: Dag, key: AssetKey, progress: Progress, *, is_queued: bool, is_known: bool) -> Json:
    is_ready = is_queued and (not progress.required or len(progress.received) >= len(progress.required))
    return {
        "id": number_of(*key),
        "name": key.name,
        "uri": key.uri,
        "last_update": _last_update(services, dag, key) if is_ready and not progress.failed else None,
        "received_count": len(progress.received),
        "required_count": len(progress.required) or 1,
        "received_keys": sorted(progress.received),
        "required_keys": sorted(progress.required),
        "is_rollup": progress.is_rollup,
        "mapper_error": progress.failed,
        "asset_inactive": not is_known,
    }


def _last_update(services: Services, dag: Dag, key: AssetKey) -> object:
    """The time of the newest event since the DAG's last run."""
    last = next(iter(services.store.list_runs(dag.dag_id, limit=1)), None)
    since = last.logical_date if last else None
    window = Window(since, ascending=False)
    events = services.store.list_asset_events(AssetEventSource(name=key.name, uri=key.uri), window, limit=1)
    return events[0].timestamp if events else None
