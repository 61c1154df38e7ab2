"""Partitions of asset-triggered DAGs: partitions that wait for events, and runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from gust.http.answer import Json, not_found
from gust.http.check import Query
from gust.model.asset import AssetKey, PendingPartition, number_of
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunType
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.filters import Elsewhere
from gust.rest_api.lists.many import many
from gust.rest_api.public.asset_expression import asset_expression
from gust.scheduling.asset_condition import named_in
from gust.scheduling.partition_mapper import AssetMapper, mappers_of
from gust.services.context import Services
from gust.services.specs import load_spec

LAST_RUNS: Final = 50
"""The newest runs of each DAG that are searched for runs of partitions."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The keys that one asset's mapper requires for a partition, and the keys received."""

    received: frozenset[str]
    required: frozenset[str]
    is_rollup: bool
    failed: bool = False
    """The mapper has failed: the partition waits."""

    @classmethod
    def of_none(cls, *, is_rollup: bool = False) -> Progress:
        """No partition waits."""
        return cls(frozenset(), frozenset(), is_rollup)

    @property
    def required_count(self) -> int:
        return 1 if self.failed else len(self.required)

    @property
    def received_count(self) -> int:
        """For an asset without rollup one event is enough."""
        if not self.is_rollup:
            return min(1, len(self.received))
        return len(self.received & self.required)

    @property
    def is_complete(self) -> bool:
        return self.received_count >= self.required_count > 0


def assets_of_schedule(spec: DagSpec) -> list[AssetKey]:
    named = named_in(spec.timetable.asset_expression)
    return list(dict.fromkeys(AssetKey(ref.name or "", ref.uri or "") for ref in named if ref.kind == "asset"))


def nothing_yet(spec: DagSpec, assets: Iterable[AssetKey]) -> dict[AssetKey, Progress]:
    mappers = mappers_of(spec.timetable)
    return {key: Progress.of_none(is_rollup=mappers.of_asset(key).is_rollup) for key in assets}


def progress_of(spec: DagSpec, partition: PendingPartition, assets: Iterable[AssetKey]) -> dict[AssetKey, Progress]:
    received: dict[AssetKey, set[str]] = defaultdict(set)
    for event in partition.received:
        received[event.asset].add(event.source_key)
    return _progress(spec, partition.partition_key, received, assets)


def _progress(
    spec: DagSpec, partition_key: str, received: Mapping[AssetKey, set[str]], assets: Iterable[AssetKey]
) -> dict[AssetKey, Progress]:
    mappers = mappers_of(spec.timetable)
    return {key: _of_asset(mappers.of_asset(key), partition_key, received.get(key, set())) for key in assets}


def _of_asset(mapper: AssetMapper, partition_key: str, received: set[str]) -> Progress:
    if not mapper.is_rollup:
        return Progress(frozenset(received), frozenset({partition_key}), is_rollup=False)
    try:
        return Progress(frozenset(received), mapper.required_keys(partition_key), is_rollup=True)
    except Exception:  # any error of a mapper: the scheduler waits too
        return Progress(frozenset(), frozenset(), is_rollup=True, failed=True)


# --- the list ---------------------------------------------------------------------------------------------------------


class PartitionsQuery(Query):
    dag_id: Annotated[str | None, Elsewhere("one DAG is read instead of all")] = None
    has_created_dag_run_id: Annotated[bool | None, Elsewhere("chooses between waiting partitions and runs")] = None


@ui_operation("get_partitioned_dag_runs")
def get_partitioned_dag_runs(services: Services, request: Request) -> Json:
    query = request.query(PartitionsQuery)
    dags = [
        dag
        for dag in (services.store.list_dags() if query.dag_id is None else [services.store.get_dag(query.dag_id)])
        if dag is not None and (dag.timetable_partitioned and dag.is_asset_triggered)
    ]
    rows = [row for found in many.map(lambda dag: _rows(services, dag, query), dags) for row in found]
    if not rows:
        if query.dag_id is not None and services.store.get_dag(query.dag_id) is None:
            raise not_found(f"Dag with id {query.dag_id} was not found")
        return {"partitioned_dag_runs": [], "total": 0, "asset_expressions": None}
    rows.sort(key=lambda row: row["created_at"] or "", reverse=True)
    shown = {row["dag_id"] for row in rows}
    specs = {dag.dag_id: load_spec(services.objects, dag.spec_key) for dag in dags if dag.dag_id in shown}
    expressions = {dag_id: asset_expression(spec) for dag_id, spec in specs.items()}
    return {
        "partitioned_dag_runs": rows,
        "total": len(rows),
        "asset_expressions": expressions if query.dag_id is None else None,
    }


def _rows(services: Services, dag: Dag, query: PartitionsQuery) -> list[Json]:
    spec = load_spec(services.objects, dag.spec_key)
    assets = assets_of_schedule(spec)
    rows = []
    if query.has_created_dag_run_id is not True:
        rows += [
            _row(dag, partition.partition_key, partition.created_at.isoformat(), progress_of(spec, partition, assets))
            for partition in services.store.pending_partitions(dag.dag_id)
        ]
    if query.has_created_dag_run_id is not False:
        rows += [_row_of_run(services, dag, spec, assets, run) for run in _made(services, dag)]
    return rows


def _made(services: Services, dag: Dag) -> list[DagRun]:
    return [
        run
        for run in services.store.list_runs(dag.dag_id, limit=LAST_RUNS)
        if run.run_type is DagRunType.ASSET_TRIGGERED and run.partition_key is not None
    ]


def _row_of_run(services: Services, dag: Dag, spec: DagSpec, assets: Sequence[AssetKey], run: DagRun) -> Json:
    received: dict[AssetKey, set[str]] = defaultdict(set)
    for event in services.store.consumed_events(run.key):
        received[event.asset].add(event.partition_key or "")
    progress = _progress(spec, run.partition_key or "", received, assets)
    return _row(dag, run.partition_key or "", run.queued_at.isoformat(), progress, run)


def _row(
    dag: Dag, partition_key: str, created_at: str, progress: Mapping[AssetKey, Progress], run: DagRun | None = None
) -> Json:
    return {
        "id": number_of(dag.dag_id, partition_key, run.run_id if run else ""),
        "dag_id": dag.dag_id,
        "partition_key": partition_key,
        "created_at": created_at,
        "total_received": sum(one.received_count for one in progress.values()),
        "total_required": sum(one.required_count for one in progress.values()),
        "state": run.state.value if run else "pending",
        "created_dag_run_id": run.run_id if run else None,
    }


# --- one that waits ---------------------------------------------------------------------------------------------------


class PartitionQuery(Query):
    partition_key: str


@ui_operation("get_pending_partitioned_dag_run")
def get_pending_partitioned_dag_run(services: Services, request: Request) -> Json:
    dag_id, key = request.path["dag_id"], request.query(PartitionQuery).partition_key
    dag = services.store.get_dag(dag_id)
    pending = [p for p in services.store.pending_partitions(dag_id) if p.partition_key == key]
    if dag is None or not pending:
        raise not_found(f"No PartitionedDagRun for dag={dag_id} partition={key}")
    spec = load_spec(services.objects, dag.spec_key)
    known = {asset.key for asset in services.store.list_assets()}
    progress = progress_of(spec, pending[-1], sorted(assets_of_schedule(spec), key=lambda asset: asset.uri))
    last_event = max((event.timestamp for event in pending[-1].received), default=pending[-1].created_at)
    return {
        "id": number_of(dag_id, key, ""),
        "dag_id": dag_id,
        "partition_key": key,
        "created_at": pending[-1].created_at.isoformat(),
        "updated_at": last_event.isoformat(),
        "created_dag_run_id": None,
        "assets": [_asset(asset, one, asset in known) for asset, one in progress.items()],
        "total_required": sum(one.required_count for one in progress.values()),
        "total_received": sum(one.received_count for one in progress.values()),
        "asset_expression": asset_expression(spec),
    }


def _asset(asset: AssetKey, progress: Progress, is_known: bool) -> Json:
    return {
        "asset_id": number_of(*asset),
        "asset_name": asset.name,
        "asset_uri": asset.uri,
        "received": progress.is_complete,
        "received_count": progress.received_count,
        "required_count": progress.required_count,
        "received_keys": sorted(progress.received),
        "required_keys": sorted(progress.required),
        "is_rollup": progress.is_rollup,
        "mapper_error": progress.failed,
        "asset_inactive": not is_known,
    }
