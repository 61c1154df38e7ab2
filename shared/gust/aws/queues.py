"""The queues, on SQS: `tasks` for workers, `triggers` for the triggerer, `wakes` for the scheduler."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectionFailed
from pydantic import BaseModel

from gust.aws.tokens import MESSAGE_LIFETIME
from gust.errors import ServiceUnavailable
from gust.model.dispatch import Scope
from gust.model.unsent import Unsent
from gust.model.worker_group import WorkerGroup
from gust.model.workload import (
    CallbackWorkload,
    ConnectionTestWorkload,
    ForTriggerer,
    TaskWorkload,
    Wake,
)

LONGEST_DELAY: Final = 900
"""SQS's longest delay in seconds; a longer wait is several messages, one after the other."""
_WAITING: Final = "ApproximateNumberOfMessages"
"""Messages that no consumer has received; messages in flight are not counted."""
_PER_BATCH: Final = 10
_BYTES_PER_BATCH: Final = 1024 * 1024

NO_QUEUE: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})

_THROTTLED: Final = frozenset({"RequestThrottled", "Throttling", "ThrottlingException", "OverLimit"})

HIDDEN_FOR: Final = 60
"""Seconds until SQS delivers a message again, counted from the last call that hid it."""

RENEWED_EVERY: Final = 20
"""Seconds between two calls that hide a message, from a function that works on it for long."""

LONGEST_HIDDEN: Final = 12 * 3600
"""SQS's longest visibility timeout in seconds."""

COMES_BACK_AFTER: Final = (5, 10, 20, 40, 60)
"""Seconds until SQS delivers a failed message again, by how often it was received."""

log = logging.getLogger(__name__)

Message = TypeVar("Message", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One delivery of one message to a function that an event source mapping feeds.

    Lambda's poller receives and deletes the message. Lambda wants a queue to hide its messages for longer than the
    function may run, so a function that dies would be missed for that long. The function therefore hides the message for
    `HIDDEN_FOR` seconds when its work will last, and again every `RENEWED_EVERY` seconds while it needs it. A function that
    fails gives the message back. A refusal by SQS is logged and harmless: the message then comes at its old time."""

    client: Any
    """A boto3 SQS client."""
    queue_url: str
    handle: str
    received: int = 1
    """How often the message was received, this time included."""

    @classmethod
    def of(cls, record: Mapping[str, Any], client: Any, queue_url: str) -> Self:
        """`record` is one record of the event from Lambda's poller."""
        received = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
        return cls(client, queue_url, record["receiptHandle"], received)

    def hide(self, seconds: float = HIDDEN_FOR) -> bool:
        """Hide the message for that many seconds from now. Returns whether SQS accepted it."""
        visible_in = min(max(math.ceil(seconds), 0), LONGEST_HIDDEN)
        try:
            self.client.change_message_visibility(
                QueueUrl=self.queue_url, ReceiptHandle=self.handle, VisibilityTimeout=visible_in
            )
        except (ClientError, HTTPClientError, ConnectionFailed) as error:
            log.warning("SQS does not hide a message for %d seconds: %s", visible_in, error)
            return False
        return True

    def give_back(self) -> bool:
        """Have SQS deliver the message again after some seconds. For a function that reports it as failed."""
        return self.hide(COMES_BACK_AFTER[min(self.received, len(COMES_BACK_AFTER)) - 1])


class SqsQueues:
    """Implements `ports.Queues`. `client` is a boto3 SQS client, one per process."""

    def __init__(self, client: Any, *, task_queue_url: str, trigger_queue_url: str, wake_queue_url: str) -> None:
        self._client = client
        self._task_queue_url = task_queue_url
        self._trigger_queue_url = trigger_queue_url
        self._wake_queue_url = wake_queue_url

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        """Returns the refused ones. A batch without an answer counts as refused: its messages may have arrived nevertheless,
        which is harmless, because a dispatch starts once."""
        return self._send(self._task_queue_url, [(workload, 0) for workload in workloads])

    def send_to_group(self, group: WorkerGroup, workloads: Sequence[TaskWorkload]) -> list[Unsent]:
        try:
            return [Unsent(one) for one in self._send(group.queue_url, [(workload, 0) for workload in workloads])]
        except ClientError as error:
            why = f"The queue of the workers {group.name!r} takes no task: {error}"
            if error.response["Error"]["Code"] in NO_QUEUE:
                why = f"The workers {group.name!r} have been removed: their queue is gone."
            return [Unsent(workload, why) for workload in workloads]

    def has_backlog(self, groups: Iterable[WorkerGroup] = ()) -> bool:
        return any(self._has_waiting(url) for url in (self._task_queue_url, *(group.queue_url for group in groups)))

    def _has_waiting(self, queue_url: str) -> bool:
        try:
            answer = self._client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[_WAITING])
        except (ClientError, HTTPClientError, ConnectionFailed) as error:
            if not _passes(error):
                if queue_url == self._task_queue_url:
                    raise
                return False  # a group's queue that is gone holds nothing
            return True
        return int(answer["Attributes"][_WAITING]) > 0

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        return self._send(self._task_queue_url, [(workload, 0) for workload in workloads])

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        return not self._send(self._task_queue_url, [(workload, 0)])

    def send_triggers(self, workloads: Sequence[ForTriggerer], *, delay: float = 0) -> None:
        """Raises ServiceUnavailable if SQS refuses some; all may be sent again."""
        if refused := self._send(self._trigger_queue_url, [(workload, delay) for workload in workloads]):
            raise ServiceUnavailable(f"SQS refused {len(refused)} of {len(workloads)} triggers")

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        try:
            self._client.send_message(
                QueueUrl=self._wake_queue_url, MessageBody=wake.model_dump_json(), DelaySeconds=_seconds(delay)
            )
        except (ClientError, HTTPClientError, ConnectionFailed) as error:
            if not _passes(error):
                raise
            raise ServiceUnavailable(f"SQS send_message: {error}") from error

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        if refused := self._send(self._wake_queue_url, wakes):
            raise ServiceUnavailable(f"SQS refused {len(refused)} of {len(wakes)} wake-ups")

    def _send(self, queue_url: str, messages: Iterable[tuple[Message, float]]) -> list[Message]:
        """Send each message with its delay in seconds. Returns the messages that SQS refused."""
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


def is_outdated(message: dict[str, Any], now: float) -> bool:
    """Whether the token in the message has expired. Hosts may be away for days, and the scheduler sends a task anew every
    ten minutes: the messages before the last hour's are many, and start nothing. `now`: seconds since 1970."""
    sent = int(message.get("Attributes", {}).get("SentTimestamp", now * 1000)) / 1000
    return now - sent > MESSAGE_LIFETIME[Scope.EXECUTION].total_seconds()


def _batches(messages: Iterable[tuple[Message, str, float]]) -> Iterator[list[tuple[Message, str, float]]]:
    """Batches of at most ten messages and 1 MiB."""
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
    """Whether a retry may succeed: SQS fails or throttles. A missing queue or missing right is our bug."""
    if not isinstance(error, ClientError):
        return True
    is_theirs: bool = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return is_theirs or error.response["Error"]["Code"] in _THROTTLED


def _seconds(delay: float) -> int:
    """The delay in whole seconds, rounded up, at most SQS's longest."""
    return min(max(math.ceil(delay), 0), LONGEST_DELAY)
