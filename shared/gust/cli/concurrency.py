"""How many functions an account may run at once, said before the deployment: a new account has ten, and the stack's defaults
let tasks and triggers alone take 250. Workers would then wait for the execution API, which they leave no room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

FOR_TASKS: Final = 200
"""The template's WorkerConcurrency."""
FOR_TRIGGERS: Final = 50
"""The template's TriggererConcurrency."""
FOR_THE_REST: Final = 150
"""Execution API, scheduler, REST API, deployments, and what else the account runs."""

LEAST: Final = 2
"""Lambda's least MaximumConcurrency of a queue."""


def account_limit(region: str | None) -> int | None:
    """The account's concurrent executions in the region; `None` where it cannot be asked."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    patience = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        answer = boto3.client("lambda", region_name=region, config=patience).get_account_settings()
    except (BotoCoreError, ClientError):
        return None
    return int(answer["AccountLimit"]["ConcurrentExecutions"])


def advice(limit: int, *, told: str) -> str | None:
    """What to say before deploying to an account with that limit. `told` is all that SAM is told: a person may have said
    there how many tasks shall run."""
    if limit >= FOR_TASKS + FOR_TRIGGERS + FOR_THE_REST or "WorkerConcurrency" in told:
        return None
    tasks, triggers = max(LEAST, limit * 2 // 5), max(LEAST, limit // 10)
    return (
        f"gust: this account runs at most {limit} functions at once in this region, and the stack would let tasks take "
        f"{FOR_TASKS} and triggers {FOR_TRIGGERS} of them. Functions that report, schedule and answer would wait for those. "
        f"Deploy with\n  --parameter-overrides WorkerConcurrency={tasks} TriggererConcurrency={triggers}\n"
        "and ask AWS for a higher quota (Service Quotas, AWS Lambda, Concurrent executions)."
    )


def region_of(arguments: Sequence[str]) -> str | None:
    """The one that SAM is given; `None`: the one that the environment says."""
    for name, value in pairwise([*arguments, ""]):
        if name == "--region":
            return value
        if name.startswith("--region="):
            return name.partition("=")[2]
    return None
