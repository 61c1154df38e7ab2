"""Turns records of the table's stream into looks of the scheduler. The stream's filter is `Changes` in `template.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gust.model.workload import Wake, WakeDag, WakeLimit, WakeReaders, WakeRun
from gust.scheduling.quick_look import Change
from gust.store import keyspace


def wake_of(record: Mapping[str, Any], *, now: datetime) -> Wake:
    """A look at a run, at a limit whose slots were given back or changed, at a DAG for which an asset event waits, or at the
    readers of a variable or connection. Equal for records that ask for the same.

    Raises ValueError, LookupError or TypeError for a record that is none of these."""
    keys = record["dynamodb"]["Keys"]
    pk = keys["pk"]["S"]
    if (namespace := keyspace.namespace_of(pk)) is not None:
        return WakeReaders(namespace=namespace, key=keyspace.unescape(keys["sk"]["S"]))
    if (limit := keyspace.limit_of(pk)) is not None:
        return WakeLimit(limit=limit)
    if (dag_id := keyspace.queue_owner(pk)) is not None:
        return WakeDag(dag_id=dag_id, at=now)
    if (run := keyspace.run_key(pk)) is not None:
        return WakeRun(dag_id=run.dag_id, run_id=run.run_id, at=now)
    raise ValueError(f"{pk} is the partition of neither a run, nor a limit, nor a DAG's assets, nor settings")


def change_in(record: Mapping[str, Any]) -> Change | None:
    """What the record tells of a task instance; `None` for one of another item, or of a deleted instance."""
    keys, image = record["dynamodb"]["Keys"], record["dynamodb"].get("NewImage")
    try:
        key = keyspace.instance_key(keyspace.Key(keys["pk"]["S"], keys["sk"]["S"]))
        if key is None or image is None:
            return None
        return Change(key.task_id, key.map_index, image["edge"]["S"], int(image["dispatch_count"]["N"]))
    except (ValueError, LookupError, TypeError):
        return None
