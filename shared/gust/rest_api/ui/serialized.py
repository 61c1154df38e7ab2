"""Fields for the UI that the DagSpec lacks, from Airflow's serialized DAG; cached in a warm function."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from gust.errors import NotFound
from gust.http.answer import Json
from gust.ports.objects import Objects

KEPT: Final = 2048


@dataclass(frozen=True, slots=True)
class Serialized:
    edge_labels: dict[tuple[str, str], str]
    group_docs: dict[str, str]
    dependencies: list[Json]
    """Dependencies on other DAGs and on assets, which the parser found."""


NOTHING: Final = Serialized({}, {}, [])

_kept: OrderedDict[str, Serialized] = OrderedDict()
_lock = Lock()


def load_serialized(objects: Objects, serialized_key: str) -> Serialized:
    """The serialized DAG under the key; empty if it is missing in the bucket."""
    with _lock:
        if serialized_key in _kept:
            _kept.move_to_end(serialized_key)
            return _kept[serialized_key]
    try:
        found = read_serialized(json.loads(objects.get(serialized_key))["dag"])
    except NotFound:
        return NOTHING
    with _lock:
        _kept[serialized_key] = found
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def read_serialized(dag: dict[str, Any]) -> Serialized:
    docs: dict[str, str] = {}
    _collect_docs(dag.get("task_group") or {}, docs)
    labels = {
        (source, target): info["label"]
        for source, targets in (dag.get("edge_info") or {}).items()
        for target, info in targets.items()
        if info.get("label")
    }
    return Serialized(labels, docs, dag.get("dag_dependencies") or [])


def _collect_docs(group: dict[str, Any], docs: dict[str, str]) -> None:
    for child_id, (kind, child) in (group.get("children") or {}).items():
        if kind == "taskgroup":
            if child.get("doc_md") is not None:
                docs[child_id] = child["doc_md"]
            _collect_docs(child, docs)
