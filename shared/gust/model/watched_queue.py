"""An SQS queue whose messages Lambda brings to the stack, so that no watcher polls it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

SQS_TRIGGER: Final = "airflow.providers.amazon.aws.triggers.sqs.SqsSensorTrigger"
"""The class of `MessageQueueTrigger`'s triggers for SQS, too."""

_REGION: Final = re.compile(r"(?:^|\.)([a-z]{2}(?:-[a-z]+)+-[0-9])(?=\.)")


def queue_of(classpath: str, kwargs: Mapping[str, Any]) -> str | None:
    """The queue that the trigger reads, as `region:account:name`; without a region where its address has none, as an
    emulator's. `None`: Lambda cannot read for the trigger, because it filters, leaves messages on the queue, or is no SQS
    trigger of Airflow's own."""
    if (
        classpath != SQS_TRIGGER
        or kwargs.get("message_filtering")
        or not kwargs.get("delete_message_on_reception", True)
    ):
        return None
    try:
        address = urlsplit(str(kwargs.get("sqs_queue")))
    except ValueError:
        return None
    account, _, name = address.path.strip("/").partition("/")
    if not account.isdigit() or not name or "/" in name:
        return None
    region = _REGION.search(address.hostname or "")
    return f"{region[1] if region else ''}:{account}:{name}"


def names_of(arn: str) -> frozenset[str]:
    """What `queue_of` returns for triggers that read the queue with this ARN."""
    region, account, name = arn.split(":")[3:]
    return frozenset({f"{region}:{account}:{name}", f":{account}:{name}"})


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message as Lambda brings it. Its id stays the same however often it is delivered."""

    message_id: str
    receipt_handle: str
    body: str
    md5_of_body: str

    @property
    def payload(self) -> dict[str, Any]:
        """What Airflow's trigger says of it. The trigger may put several messages into one event."""
        message = {
            "MessageId": self.message_id,
            "ReceiptHandle": self.receipt_handle,
            "MD5OfBody": self.md5_of_body,
            "Body": self.body,
        }
        return {"status": "success", "message_batch": [message]}
