"""The queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gust.model.workload import (
    CallbackWorkload,
    ConnectionTestWorkload,
    TaskWorkload,
    TriggerWorkload,
    Wake,
    WatcherWorkload,
)


class Queues(Protocol):
    """SQS. Sending returns once SQS has accepted; at-least-once, unordered."""

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        """Send in batches of ten; returns those that SQS refused (they stay `scheduled` and are sent again)."""

    def has_backlog(self) -> bool:
        """Whether tasks' messages wait for a free worker; also where SQS does not say."""

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        """As `send_tasks`, to the same workers."""

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        """To the same workers. Whether SQS accepted it."""

    def send_triggers(self, workloads: Sequence[TriggerWorkload | WatcherWorkload], *, delay: float = 0) -> None: ...

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        """Have the scheduler look again after `delay` seconds (at most 900)."""

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        """Send each wake-up with its own delay in seconds, in batches of ten. Tries all of them, then raises
        ServiceUnavailable if SQS refused some."""
