"""The queues, on SQS: `tasks` for workers, `triggers` for the triggerer, `wakes` for the scheduler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectionFailed
from pydantic import BaseModel

from gust.errors import Unwell
from gust.model.workload import (
    CallbackWorkload,
    ConnectionTestWorkload,
    TaskWorkload,
    TriggerWorkload,
    Wake,
    WatcherWorkload,
)

LONGEST_DELAY: Final = 900
"""Seconds that SQS holds a message back at most; who waits longer wakes, looks and waits again."""
_WAITING: Final = "ApproximateNumberOfMessages"
"""Messages that no consumer has taken; those in flight are not among them."""
_PER_BATCH: Final = 10
_BYTES_PER_BATCH: Final = 1024 * 1024

_THROTTLED: Final = frozenset({"RequestThrottled", "Throttling", "ThrottlingException", "OverLimit"})

Message = TypeVar("Message", bound=BaseModel)


class SqsQueues:
    """Implements `services.ports.Queues`. `client` is a boto3 SQS client, one per process."""

    def __init__(self, client: Any, *, task_queue_url: str, trigger_queue_url: str, wake_queue_url: str) -> None:
        self._client = client
        self._task_queue_url = task_queue_url
        self._trigger_queue_url = trigger_queue_url
        self._wake_queue_url = wake_queue_url

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        """A batch that SQS does not answer counts as refused: its messages may have arrived nevertheless, which is
        harmless, because a dispatch starts once."""
        return self._send(self._task_queue_url, [(workload, 0) for workload in workloads])

    def has_backlog(self) -> bool:
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self._task_queue_url, AttributeNames=[_WAITING])
        except (ClientError, HTTPClientError, ConnectionFailed) as error:
            if not _passes(error):
                raise
            return True
        return int(answer["Attributes"][_WAITING]) > 0

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        return self._send(self._task_queue_url, [(workload, 0) for workload in workloads])

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        return not self._send(self._task_queue_url, [(workload, 0)])

    def send_triggers(self, workloads: Sequence[TriggerWorkload | WatcherWorkload], *, delay: float = 0) -> None:
        """Raises Unwell where SQS refuses some; all may be sent again."""
        if refused := self._send(self._trigger_queue_url, [(workload, delay) for workload in workloads]):
            raise Unwell(f"SQS refused {len(refused)} of {len(workloads)} triggers")

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        try:
            self._client.send_message(
                QueueUrl=self._wake_queue_url, MessageBody=wake.model_dump_json(), DelaySeconds=_seconds(delay)
            )
        except (ClientError, HTTPClientError, ConnectionFailed) as error:
            if not _passes(error):
                raise
            raise Unwell(f"SQS send_message: {error}") from error

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        if refused := self._send(self._wake_queue_url, wakes):
            raise Unwell(f"SQS refused {len(refused)} of {len(wakes)} wake-ups")

    def _send(self, queue_url: str, messages: Iterable[tuple[Message, float]]) -> list[Message]:
        """Each after its delay. Returns those that SQS refused."""
        refused: list[Message] = []
        for batch in _batches((message, message.model_dump_json(), delay) for message, delay in messages):
            entries = [
                {"Id": str(number), "MessageBody": body, "DelaySeconds": _seconds(delay)}
                for number, (_, body, delay) in enumerate(batch)
            ]
            try:
                answer = self._client.send_message_batch(QueueUrl=queue_url, Entries=entries)
            except (ClientError, HTTPClientError, ConnectionFailed) as error:
                if not _passes(error):
                    raise
                refused += [message for message, _, _ in batch]
                continue
            refused += [batch[int(failure["Id"])][0] for failure in answer.get("Failed", ())]
        return refused


def _batches(messages: Iterable[tuple[Message, str, float]]) -> Iterator[list[tuple[Message, str, float]]]:
    """Ten messages and 1 MiB at most."""
    batch: list[tuple[Message, str, float]] = []
    size = 0
    for message in messages:
        length = len(message[1].encode())
        if batch and (len(batch) == _PER_BATCH or size + length > _BYTES_PER_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch


def _passes(error: Exception) -> bool:
    """SQS is unwell or throttles; a queue that does not exist or may not be used is our bug."""
    if not isinstance(error, ClientError):
        return True
    is_theirs: bool = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return is_theirs or error.response["Error"]["Code"] in _THROTTLED


def _seconds(delay: float) -> int:
    """Whole seconds, never early, and as long as SQS can."""
    return min(max(math.ceil(delay), 0), LONGEST_DELAY)
