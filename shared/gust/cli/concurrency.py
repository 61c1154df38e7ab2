"""Compares the account's concurrency limit with the stack's before a deployment. A new account runs ten functions at once,
and the stack's defaults let tasks and triggers take 250: workers would leave no concurrency to the execution API, and wait
for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

FOR_TASKS: Final = 200
"""The template's WorkerConcurrency."""
FOR_TRIGGERS: Final = 50
"""The template's TriggererConcurrency."""
FOR_THE_REST: Final = 150
"""Execution API, scheduler, REST API, deployments, and the account's other functions."""

LEAST: Final = 2
"""Lambda's minimum for a queue's MaximumConcurrency."""


def limit_of(aws: Callable[[str], Any]) -> int | None:
    """The account's limit of concurrent executions in the region; `None` if Lambda does not answer. `aws`: boto3's
    clients."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = aws("lambda").get_account_settings()
    except (BotoCoreError, ClientError):
        return None
    return int(answer["AccountLimit"]["ConcurrentExecutions"])


def fitting(limit: int) -> dict[str, str]:
    """Parameters for an account with that limit; empty if the template's defaults fit."""
    if limit >= FOR_TASKS + FOR_TRIGGERS + FOR_THE_REST:
        return {}
    return {
        "WorkerConcurrency": str(max(LEAST, limit * 2 // 5)),
        "TriggererConcurrency": str(max(LEAST, limit // 10)),
    }
