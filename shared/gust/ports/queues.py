"""The queues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gust.model.unsent import Unsent
from gust.model.worker_group import WorkerGroup
from gust.model.workload import (
    CallbackWorkload,
    ConnectionTestWorkload,
    ForTriggerer,
    TaskWorkload,
    Wake,
)


class Queues(Protocol):
    """SQS. A send returns once SQS has accepted the message. Delivery is at least once and unordered."""

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        """Send in batches of ten. Returns the workloads that SQS refused; the scheduler sends them again."""

    def send_to_group(self, group: WorkerGroup, workloads: Sequence[TaskWorkload]) -> list[Unsent]:
        """As `send_tasks`, to the group's queue. Where the group has no queue any longer, or the scheduler no right to it,
        the reason is in the answer."""

    def has_backlog(self, groups: Iterable[WorkerGroup] = ()) -> bool:
        """Whether task messages wait for a free worker of the default group or of `groups`; true if SQS does not answer."""

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        """As `send_tasks`, to the same workers."""

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        """Send to the same workers. Returns whether SQS accepted the message."""

    def send_triggers(self, workloads: Sequence[ForTriggerer], *, delay: float = 0) -> None:
        """Send to the triggerer, after `delay` seconds."""

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        """Have the scheduler look after `delay` seconds (at most 900)."""

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        """Send each wake-up with its own delay in seconds, in batches of ten. Tries all of them, then raises
        ServiceUnavailable if SQS refused some."""
