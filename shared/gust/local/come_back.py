"""Messages of functions that have ended come again soon.

A function hides the message it works on for a minute at a time (`gust.aws.queues.Receipt`), so that what it dies upon is not
missed for as long as the queue hides its messages. One that dies before it can say so (`kill -9` while it imports Airflow)
has hidden nothing. The emulator knows when a function has ended; Lambda does, too, and waits all the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gust.aws.queues import HIDDEN_FOR


def let_messages_come_back() -> None:
    """Changes MiniStack, for as long as the process lives."""
    from ministack.services import lambda_svc

    run = lambda_svc._run_sqs_batch

    def run_and_look(esm: Any, function: Any, event: Any, batch: Sequence[dict[str, Any]], *queue: Any) -> None:
        handles = [message["receipt_handle"] for message in batch]
        try:
            run(esm, function, event, batch, *queue)
        finally:
            let_go(batch, handles, now=time.time())

    lambda_svc._run_sqs_batch = run_and_look


def let_go(batch: Sequence[dict[str, Any]], handles: Sequence[str], *, now: float) -> None:
    """Who else has received one of them meanwhile keeps it. Those that are deleted are in no queue any more."""
    for message, handle in zip(batch, handles, strict=True):
        if message["receipt_handle"] == handle:
            message["visible_at"] = min(message["visible_at"], now + HIDDEN_FOR)
