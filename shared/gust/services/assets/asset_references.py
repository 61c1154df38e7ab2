"""Keeps the index of references from DAGs and tasks to assets in step with the DAGs.

When a DAG's schedule drops an asset, the queued events of that asset are deleted with the reference, as in Airflow.
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
    """The references of the DAG's schedule, and those of its tasks to assets."""
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
    """Write the differences. It is repeatable and goes before the write that makes `after` the DAG's spec: after a crash in
    between, `before` is still in place, and the repeated activation does it again. `None`: no DAG, or a stale one."""
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
        # Events from aliases and references are queued under their asset, so they are deleted only with the last reference.
        assets = [ref.asset for ref in dropped if ref.what == "asset"] if is_scheduled else None
        services.store.unqueue(before.dag_id, assets=assets)
    if before is not None and before.timetable.partitioned:
        _release_partitions(services, before.dag_id, after)


def _release_partitions(services: Services, dag_id: str, after: DagSpec | None) -> None:
    """Pending partitions of a DAG whose file is gone wait for it to come back, off the tick's index; those of a DAG that no
    longer listens to partitions are deleted. Partitions under changed mappers are dropped at the next look."""
    if after is not None and after.timetable.partitioned:
        return
    for partition in services.store.pending_partitions(dag_id):
        if after is None:
            services.store.postpone(partition, due_at=None)
            continue
        with suppress(StaleAssetQueue):  # an event has just come; the next look finds a DAG without partitions
            services.store.drop_partition(partition)


def _in_order(references: Iterable[AssetReference]) -> list[AssetReference]:
    return sorted(references, key=lambda ref: (ref.use, ref.what, ref.name, ref.uri, ref.task_id))
