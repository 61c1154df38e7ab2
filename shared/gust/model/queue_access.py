"""Which DAGs may use the queue of a worker group, as the access document says.

    {"queues": [{"queue": "payroll", "path": "hr/*"}, {"queue": "payroll", "dag": "audit_of_payroll", "path": "audit/*"}]}

A queue that an entry names is for the DAGs of its entries alone. Every DAG may use any other queue.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from gust.model.dag_pattern import DagPattern, entries_of, matches


def _of_a_group(given: str) -> str:
    if given in {"", "default", "fargate"}:
        raise ValueError("is every stack's own queue; only those of worker groups can be kept for some DAGs")
    return given


class QueueAccess(DagPattern):
    """An entry of the access document's `queues`."""

    queue: Annotated[str, AfterValidator(_of_a_group)]
    """`*` matches any characters."""


def is_open_to_all(document: str, queue: str) -> bool:
    """No entry names the queue. Raises Invalid."""
    return not any(matches(entry.queue, queue) for entry in _queues_of(document))


def may_use_queue(document: str, queue: str, dag_id: str, path: str) -> bool:
    """Raises Invalid."""
    return is_open_to_all(document, queue) or any(
        matches(entry.queue, queue) and entry.fits(dag_id, path) for entry in _queues_of(document)
    )


@lru_cache(maxsize=8)
def _queues_of(document: str) -> tuple[QueueAccess, ...]:
    return entries_of(document, "queues", QueueAccess)
