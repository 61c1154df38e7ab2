"""Compares the account's concurrency limit with the stack's before a deployment. A new account runs ten functions at once,
and the stack's defaults let tasks and triggers take 250: workers would leave no concurrency to the execution API, and wait
for it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

FOR_TASKS: Final = 200
"""The template's WorkerConcurrency."""
FOR_TRIGGERS: Final = 50
"""The template's TriggererConcurrency."""
FOR_THE_REST: Final = 150
"""Execution API, scheduler, REST API, deployments, and the account's other functions."""

LEAST: Final = 2
"""Lambda's minimum for a queue's MaximumConcurrency."""


def account_limit(region: str | None) -> int | None:
    """The account's limit of concurrent executions in the region; `None` if Lambda does not answer."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    patience = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        answer = boto3.client("lambda", region_name=region, config=patience).get_account_settings()
    except (BotoCoreError, ClientError):
        return None
    return int(answer["AccountLimit"]["ConcurrentExecutions"])


def advice(limit: int, *, settings: str) -> str | None:
    """A warning for an account with that limit; `None` if the limit is enough. `told` holds SAM's arguments and settings:
    if they set WorkerConcurrency, there is no warning."""
    if limit >= FOR_TASKS + FOR_TRIGGERS + FOR_THE_REST or "WorkerConcurrency" in settings:
        return None
    tasks, triggers = max(LEAST, limit * 2 // 5), max(LEAST, limit // 10)
    return (
        f"gust: this account runs at most {limit} functions at once in this region, and the stack lets tasks take "
        f"{FOR_TASKS} and triggers {FOR_TRIGGERS} of them. Scheduler, execution API and REST API would have to wait. "
        f"Deploy with\n  --parameter-overrides WorkerConcurrency={tasks} TriggererConcurrency={triggers}\n"
        "and ask AWS for a higher quota (Service Quotas, AWS Lambda, Concurrent executions)."
    )


def region_of(arguments: Sequence[str]) -> str | None:
    """The region in SAM's arguments; `None`: the environment's."""
    for name, value in pairwise([*arguments, ""]):
        if name == "--region":
            return value
        if name.startswith("--region="):
            return name.partition("=")[2]
    return None
