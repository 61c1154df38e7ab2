"""Keep the index of who names which asset in step with the DAGs.

A DAG whose schedule drops an asset forgets what waited for it, as Airflow's does: its reference takes its queue with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from gust.errors import StaleAssetQueue
from gust.model.asset import AssetAlias, AssetReference
from gust.model.dag_spec import DagSpec
from gust.scheduling.asset_condition import named_in
from gust.services.context import Services


def references_of(spec: DagSpec) -> frozenset[AssetReference]:
    """What the DAG's schedule names, and which assets its tasks do."""
    of_schedule = {
        AssetReference(use="schedule", what=ref.kind, dag_id=spec.dag_id, name=ref.name or "", uri=ref.uri or "")
        for ref in named_in(spec.timetable.asset_expression)
    }
    of_tasks = {
        AssetReference(
            use="inlet" if refs is task.inlets else "outlet",
            what="asset",
            dag_id=spec.dag_id,
            task_id=task.task_id,
            name=ref.name or "",
            uri=ref.uri or "",
        )
        for task in spec.tasks.values()
        for refs in (task.inlets, task.outlets)
        for ref in refs
        if ref.kind == "asset"
    }
    return frozenset(of_schedule | of_tasks)


def aliases_of(spec: DagSpec) -> set[AssetAlias]:
    refs = [*named_in(spec.timetable.asset_expression)]
    for task in spec.tasks.values():
        refs += [*task.inlets, *task.outlets]
    return {AssetAlias(name=ref.name or "", group=ref.group) for ref in refs if ref.kind == "alias"}


def change_references(services: Services, before: DagSpec | None, after: DagSpec | None, *, at: datetime) -> None:
    """Write what differs. Repeatable, so it goes before the write that makes `after` the DAG's: who dies in between leaves
    `before` in its place and does it again. `None`: no DAG, or one that is stale."""
    old, new = (references_of(spec) if spec else frozenset() for spec in (before, after))
    known_aliases = aliases_of(before) if before else set()
    for alias in sorted(aliases_of(after) - known_aliases if after else (), key=lambda alias: alias.name):
        services.store.put_asset_alias(alias)
    for reference in _in_order(new - old):
        services.store.put_asset_reference(replace(reference, created_at=at))
    gone = _in_order(old - new)
    for reference in gone:
        services.store.delete_asset_reference(reference)
    if before is not None and (dropped := [ref for ref in gone if ref.use == "schedule"]):
        is_scheduled = after is not None and after.timetable.asset_expression is not None
        # What came through aliases and references waits under the asset it came to, so all goes only with the last.
        assets = [ref.asset for ref in dropped if ref.what == "asset"] if is_scheduled else None
        services.store.unqueue(before.dag_id, assets=assets)
    if before is not None and before.timetable.partitioned:
        _release_partitions(services, before.dag_id, after)


def _release_partitions(services: Services, dag_id: str, after: DagSpec | None) -> None:
    """Those of a DAG whose file is gone wait for it to come back, and keep no tick busy; those of one that listens to
    partitions no more go. What changed mappers make stale is dropped when it is looked at."""
    if after is not None and after.timetable.partitioned:
        return
    for partition in services.store.pending_partitions(dag_id):
        if after is None:
            services.store.settle(partition, due_at=None)
            continue
        with suppress(StaleAssetQueue):  # an event has just come; who looks at it next finds a DAG without partitions
            services.store.drop_partition(partition)


def _in_order(references: Iterable[AssetReference]) -> list[AssetReference]:
    return sorted(references, key=lambda ref: (ref.use, ref.what, ref.name, ref.uri, ref.task_id))
