"""Whether a parsed DAG fits into the items that will hold parts of it (`model.bounds`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gust.errors import Invalid
from gust.model.bounds import (
    LARGEST_ARGUMENTS,
    LARGEST_DAG,
    LARGEST_EXTRA,
    LARGEST_LIST,
    LARGEST_MODULES,
    LARGEST_SCHEDULE,
    LONGEST_KEY,
    cut,
    size_in_key,
    size_of,
)
from gust.model.dag_spec import AssetRef, DagSpec
from gust.scheduling.asset_condition import named_in


def check_dag(spec: DagSpec, assets: Iterable[AssetRef]) -> None:
    """Raises Invalid if a part of the DAG does not fit into the item that will hold it."""
    _check_together(
        {
            "description": spec.description,
            "dag_display_name": spec.dag_display_name,
            "tags": spec.tags,
            "owners": spec.owners,
            "access_control": spec.access_control,
            "timetable's summary": spec.timetable.summary,
            "timetable's description": spec.timetable.description,
            "allowed_run_types": spec.allowed_run_types,
            "file's path": spec.relative_fileloc + spec.fileloc,
        },
        LARGEST_DAG,
    )
    _check("deadline", spec.deadline, LARGEST_ARGUMENTS)
    _check("list of listeners", spec.listeners, LARGEST_LIST)
    _check("list of imported modules", spec.modules, LARGEST_MODULES)
    if spec.same_parse is not None:
        _check("list of what its parse stands on", spec.same_parse.model_dump(), LARGEST_MODULES)
    for task in spec.tasks.values():
        _check(f"task {task.task_id}'s start_trigger_args", task.start_trigger_args, LARGEST_ARGUMENTS)
        _check(f"task {task.task_id}'s pool", task.pool, LONGEST_KEY)
        _check(f"task {task.task_id}'s queue", task.queue, LONGEST_KEY)
        _check(f"task {task.task_id}'s executor", task.executor, LONGEST_KEY)
        for ref in (*task.inlets, *task.outlets):
            _check_name(ref, spec.dag_id, task.task_id)
    for watcher in spec.watchers:
        _check(f"arguments of the asset watcher {cut(watcher.name, 100)}", watcher.kwargs, LARGEST_ARGUMENTS)
    named = list(named_in(spec.timetable.asset_expression))
    _check("list of the assets in its schedule", [(ref.name, ref.uri, " " * 40) for ref in named], LARGEST_SCHEDULE)
    for ref in (*named, *assets):
        _check_name(ref, spec.dag_id)
    for ref in assets:
        _check(f"extra of asset {cut(ref.name or '', 100)}", json.dumps(ref.extra), LARGEST_EXTRA)
        _check(f"group of asset {cut(ref.name or '', 100)}", ref.group, LONGEST_KEY)


def _check_together(fields: dict[str, Any], limit: int) -> None:
    sizes = {name: size_of(value) for name, value in fields.items()}
    if (total := sum(sizes.values())) > limit:
        largest = max(sizes, key=lambda name: sizes[name])
        raise Invalid(
            f"Its {largest} takes {sizes[largest]:,} bytes. Description, tags, owners, access_control and names "
            f"may take {limit:,} bytes together, and take {total:,}."
        )


def _check(name: str, value: Any, limit: int) -> None:
    if (size := size_of(value)) > limit:
        raise Invalid(f"Its {name} takes {size:,} bytes; {limit:,} are possible.")


def _check_name(ref: AssetRef, *beside: str) -> None:
    """Check the key of a reference, which holds the asset's name and URI and the ids of DAG and task."""
    if (size := size_in_key(ref.name or "", ref.uri or "", *beside)) > LONGEST_KEY:
        raise Invalid(
            f"Name and URI of the asset {cut(ref.name or ref.uri or '', 100)} take {size:,} bytes, together with the ids "
            f"of DAG and task; at most {LONGEST_KEY:,} are possible."
        )
