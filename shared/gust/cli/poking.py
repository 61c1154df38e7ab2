"""`./gust poking`: what sensors cost that hold a worker while they poke, by DAG.

A sensor that held its worker for a minute or longer says so in its log. CloudWatch Logs Insights sums that up. A metric for
each DAG would cost $0.30 a month; a query costs $0.005 for each GB of logs that it reads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust.cli import aws as cli_aws
from gust.cli.aws import AwsError, Clients
from gust.cli.counted import counted
from gust.cli.resources import resources_of

HELP: Final = "what sensors cost that hold a worker while they poke, by DAG"

GB_SECOND: Final = "0.0000133334"
"""Dollars of Lambda on arm64 in us-east-1."""

COMPUTED: Final = ("hours", "tries", "dollars")
"""What the query computes for each DAG."""

PER_GB_READ: Final = 0.005
"""Dollars of Logs Insights in us-east-1."""

MOST_DAYS: Final = 3650
"""No log group keeps its lines for longer."""

PATIENCE: Final = 60
"""Seconds until a query is given up."""


def query(memory: str) -> str:
    """Logs Insights' query. `memory`: MB of a worker. The dashboard has the same one."""
    return (
        "filter ispresent(seconds_poked) | stats sum(seconds_poked) / 3600 as hours, "
        f"sum(seconds_poked) * {memory} / 1024 * {GB_SECOND} as dollars, count(*) as tries by dag_id "
        "| sort hours desc | limit 50"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli_aws.add_arguments(parser)
    parser.add_argument("--days", type=_days, default=7, metavar="N", help="of the last N days (%(default)s)")


def run(options: argparse.Namespace) -> int:
    for line in poking(cli_aws.clients(options), options.stack, days=options.days, now=datetime.now(UTC)):
        print(line, flush=True)
    return 0


def poking(
    aws: Clients, name: str, *, days: int, now: datetime, pause: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """The lines of the table. Raises AwsError."""
    stack = cli_aws.require_stack(aws, name)
    memory = stack.parameters["WorkerMemory"]
    group = next((one.id for one in resources_of(aws, stack) if one.logical_id == "TaskLogs"), None)
    if group is None:
        raise AwsError(f"stack {name} has no log group of tasks: is it one of Gust?")
    found = _asked(
        aws("logs"),
        pause,
        logGroupName=group,
        queryString=query(memory),
        startTime=int((now - timedelta(days=days)).timestamp()),
        endTime=int(now.timestamp()),
    )
    answered = [{field["field"]: field["value"] for field in row} for row in found["results"] if row]
    # A group may lack the DAG, or what cannot be computed: another line of a log may have the field.
    rows = [{"dag_id": "?"} | row for row in answered if row.keys() >= {*COMPUTED}]
    missing = ", ".join(name for name in COMPUTED if any(name not in row for row in answered))
    if missing and not rows:
        raise AwsError(f"the answer of CloudWatch Logs has no {missing}: an emulator may not compute them.")
    if rows:
        width = max(len("DAG"), *(len(row["dag_id"]) for row in rows))
        yield f"{'DAG':{width}}     hours    tries  dollars"
        for row in rows:
            yield f"{row['dag_id']:{width}} {float(row['hours']):9.2f} {int(row['tries']):8} {float(row['dollars']):8.2f}"
        if missing:
            yield f"Left out: {len(answered) - len(rows)} of {len(answered)} rows of the answer, without {missing}."
        yield 'With deferrable=True or mode="reschedule" a sensor holds no worker (docs/waiting.md).'
    else:
        yield f"No sensor has held a worker for a minute or longer within {counted(days, 'day')}."
    read = float(found.get("statistics", {}).get("bytesScanned", 0)) / 1e9
    yield (
        f"Priced as Lambda in us-east-1 with {memory} MB (WorkerMemory), also tries in worker groups, in containers and "
        f"on hosts. The query has read {read:.2f} GB of logs (${read * PER_GB_READ:.4f})."
    )


def _asked(logs: Any, pause: Callable[[float], None], **asked: Any) -> dict[str, Any]:
    query_id = logs.start_query(**asked)["queryId"]
    for _ in range(PATIENCE):
        found: dict[str, Any] = logs.get_query_results(queryId=query_id)
        match found["status"]:
            case "Complete":
                return found
            case "Scheduled" | "Running":
                pause(1)
            case status:
                raise AwsError(f"the query of CloudWatch Logs ended as {status}; try again.")
    logs.stop_query(queryId=query_id)
    raise AwsError(f"CloudWatch Logs did not answer within {PATIENCE} s; ask for fewer --days.")


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MOST_DAYS}, not {text}")
    return int(text)
