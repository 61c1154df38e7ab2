"""`./gust logs`: what a stack's functions printed, or the log of one task."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust.cli import aws as cli_aws
from gust.cli.aws import AwsError, Clients, Stack
from gust.cli.resources import of_type, resources_of, store_of

HELP: Final = "what a stack's functions printed, or the log of a task"

POLL_EVERY: Final = 2.0
"""Seconds between two looks for new lines."""

LATE: Final = 5_000
"""Milliseconds by which a line may appear after newer ones of other streams."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli_aws.add_arguments(parser)
    parser.add_argument("--function", metavar="NAME", help="this function alone: scheduler, worker, api, …")
    parser.add_argument("--task", type=_dag_and_task, metavar="DAG/TASK", help="the last try of a task instead")
    parser.add_argument("--run", metavar="RUN_ID", help="with --task: of this run (the newest)")
    parser.add_argument("--map-index", type=int, default=-1, metavar="N", help="with --task: of this map index")
    parser.add_argument(
        "--since", type=_ago, default=timedelta(minutes=10), metavar="10m", help="so long ago, or later"
    )
    parser.add_argument("--filter", default="", metavar="PATTERN", help="a filter pattern of CloudWatch Logs")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")


def _say(line: str) -> None:
    """Beside the lines themselves, which another program may read."""
    print(f"gust: {line}", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    aws = cli_aws.clients(options)
    stack = cli_aws.require_stack(aws, options.stack)
    lines = of_task(aws, stack, options) if options.task else of_functions(aws, stack, options)
    try:
        for line in lines:
            print(line, flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


# --- functions --------------------------------------------------------------------------------------------------------


def of_functions(
    aws: Clients,
    stack: Stack,
    options: argparse.Namespace,
    *,
    pause: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = _say,
) -> Iterator[str]:
    """The lines in their order. `say` gets a line where the first look finds none. Raises AwsError."""
    groups = _groups(aws, stack, options.function)
    since = int((datetime.now(UTC) - options.since).timestamp() * 1000)
    seen: dict[str, int] = {}
    """Event id → its time, of events that the next look may return again."""
    is_first_look = True
    while True:
        found = [
            (event["timestamp"], _id(event), name, event["message"])
            for name, group in groups.items()
            for event in _events(aws("logs"), group, since, options.filter)
            if _id(event) not in seen
        ]
        for moment, event_id, name, message in sorted(found):
            seen[event_id] = moment
            yield f"{_clock(moment)}  {name:18} {_readable(message)}"
        if is_first_look and not found:
            say(_none(groups, since, options))
        is_first_look = False
        if not options.follow:
            return
        since = max([since, *(moment - LATE for moment in seen.values())])
        seen = {event_id: moment for event_id, moment in seen.items() if moment >= since}
        pause(POLL_EVERY)


def _groups(aws: Clients, stack: Stack, function: str | None) -> dict[str, str]:
    """Name of the function → its log group. Raises AwsError for a name that is none."""
    prefix = f"{stack.name}-"
    groups = {}
    for each in of_type(resources_of(aws, stack), "AWS::Lambda::Function"):
        found = aws("lambda").get_function_configuration(FunctionName=each.id)
        groups[each.id.removeprefix(prefix)] = (
            found.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{each.id}"
        )
    if function is None:
        return groups
    if function not in groups:
        raise AwsError(f"{stack.name} has no function {function}; it has: {', '.join(sorted(groups))}.")
    return {function: groups[function]}


def _none(groups: Iterable[str], since: int, options: argparse.Namespace) -> str:
    """What a person reads who sees no lines."""
    functions = f"function{'' if options.function else 's'} {', '.join(sorted(groups))}"
    pattern = f" with {options.filter}" if options.filter else ""
    then = "waiting for new ones (Ctrl-C ends it)" if options.follow else "--since looks further back"
    return f"no lines{pattern} since {_clock(since)} UTC of the {functions}; {then}."


def _events(client: Any, group: str, since: int, pattern: str) -> Iterator[dict[str, Any]]:
    asked = {"logGroupName": group, "startTime": since, **({"filterPattern": pattern} if pattern else {})}
    for page in client.get_paginator("filter_log_events").paginate(**asked):
        yield from page["events"]


def _id(event: dict[str, Any]) -> str:
    """The emulator gives events none."""
    return str(event.get("eventId") or (event.get("logStreamName"), event["timestamp"], event["message"]))


def _readable(message: str) -> str:
    """A structured line as words: level, message, and the other fields that say something."""
    try:
        fields = json.loads(message)
    except ValueError:
        return message.rstrip()
    if not isinstance(fields, dict):
        return message.rstrip()
    level, text = fields.pop("level", ""), fields.pop("message", "")
    if not text:
        return message.rstrip()
    hidden = ("timestamp", "service", "location", "xray_trace_id", "function_name", "cold_start", "requestId")
    rest = " ".join(f"{name}={value}" for name, value in fields.items() if name not in hidden)
    return f"{level:7} {text} {rest}".rstrip()


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


# --- a task -----------------------------------------------------------------------------------------------------------


def of_task(
    aws: Clients,
    stack: Stack,
    options: argparse.Namespace,
    *,
    pause: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = _say,
) -> Iterator[str]:
    """The lines of the newest try. `say` gets a line where there is none. Raises AwsError."""
    from gust.aws.logs import CloudWatchLogReader
    from gust.local.console import Console
    from gust.model.keys import DagRunKey

    dag_id, _, task_id = options.task.partition("/")
    store = store_of(aws, stack)
    runs = store.list_runs(dag_id, limit=1) if options.run is None else store.get_runs([DagRunKey(dag_id, options.run)])
    if not runs:
        raise AwsError(f"{dag_id} has no run{f' {options.run}' if options.run else ''}.")
    key = runs[0].key.task_instance(task_id, options.map_index)
    reader, console, token = CloudWatchLogReader(stack.outputs["TaskLogGroup"], aws("logs")), Console(sys.stdout), None
    is_first_look = True
    while True:
        instance = store.get_instance(key)
        if instance is None:
            raise AwsError(f"{key.run.run_id} has no instance of {task_id} yet; --map-index names a mapped one.")
        lines, token = reader.read_try(instance, token=token)
        for line in lines:
            yield console.line(line)
        if is_first_look and not lines:
            state = instance.state or "none"
            say(f"the log of {options.task} in {key.run.run_id} has no lines; the task instance's state is {state}.")
        is_first_look = False
        if lines and token:
            continue
        if token is None or not options.follow:
            return
        pause(POLL_EVERY)


def _dag_and_task(text: str) -> str:
    dag_id, _, task_id = text.partition("/")
    if not dag_id or not task_id:
        raise argparse.ArgumentTypeError("a DAG's id, a slash and a task's id, e.g. etl/load")
    return text


def _ago(text: str) -> timedelta:
    if not (found := re.fullmatch(r"(\d+)([smhd])", text)):
        raise argparse.ArgumentTypeError("a number and s, m, h or d, e.g. 10m")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})
