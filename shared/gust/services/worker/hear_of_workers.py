"""A host that runs workers of a queue shows that it is there."""

from __future__ import annotations

from datetime import datetime

from gust.errors import NotFound
from gust.services.context import Services


def hear_of_workers(services: Services, queue: str, *, at: datetime) -> None:
    """Note a sign of life of the queue's workers. Raises NotFound where no worker group is registered for the queue."""
    if not services.store.hear_of_worker_group(queue, at):
        raise NotFound(f"No workers are registered for the queue {queue!r}")
