"""`./gust status`: what a stack is, what runs in it, what waits, and what failed."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust.cli import aws as cli_aws
from gust.cli.aws import Clients
from gust.cli.deploy import VERSION_TAG
from gust.cli.resources import depths, of_type, resources_of, store_of

HELP: Final = "what runs in a stack, what waits, and what failed"

MOST_RUNS: Final = 100
"""Unfinished runs whose tasks are counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli_aws.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    for line in status(cli_aws.clients(options), options.stack, now=datetime.now(UTC)):
        print(line, flush=True)
    return 0


def status(aws: Clients, name: str, *, now: datetime) -> Iterator[str]:
    stack = cli_aws.require_stack(aws, name)
    resources = resources_of(aws, stack)
    yield f"Stack {stack.name}, {stack.status}, Gust {stack.tags.get(VERSION_TAG, 'of unknown version')}"
    endpoints = stack.parameters.get("ApiVpcEndpoints", "")
    private = f"   private, through {endpoints}" if endpoints else ""
    yield f"  {stack.outputs.get('ApiUrl', 'no address')}{private}"
    yield f"  s3://{stack.outputs.get('BucketName', '')}/dags/"
    yield "Functions"
    for function in of_type(resources, "AWS::Lambda::Function"):
        yield f"  {function.logical_id.removesuffix('Function'):20} {_of_function(aws, function.id)}"
    yield "Queues                 waiting  in flight  delayed"
    for depth in depths(aws, resources):
        mark = "   <- see docs/runbooks.md" if depth.is_of_dead_letters and depth.waiting else ""
        yield f"  {depth.queue:20} {depth.waiting:7} {depth.in_flight:10} {depth.delayed:8}{mark}"
    yield from _state(store_of(aws, stack), now)


def _of_function(aws: Clients, name: str) -> str:
    found = aws("lambda").get_function_configuration(FunctionName=name)
    states = {found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")} - {"Active", "Successful"}
    changed = f"{found['LastModified']:.16}".replace("T", " ")
    trouble = f"   {', '.join(sorted(states))}" if states else ""
    return f"{found['MemorySize']:5} MB  {found['Timeout']:4} s  changed {changed}{trouble}"


def _state(store: Any, now: datetime) -> Iterator[str]:
    bundle, turn = store.active_bundle(), store.deployment_turn()
    yield (
        f"Bundle  {bundle.version[:12]}, made {bundle.created_at:%Y-%m-%d %H:%M} UTC" if bundle else "Bundle  none yet"
    )
    if turn is not None and turn.holder and turn.until > now:
        yield f"  deploying: {turn.holder}"
    problems = store.list_import_problems()
    yield f"Import errors  {len(problems)}"
    for problem in problems:
        yield f"  {problem.filename}: {(problem.stack_trace.strip().splitlines() or [''])[-1][:200]}"
    beat = store.last_alive().get("scheduler")
    yield f"Scheduler  last tick {_ago(beat, now)}"
    keys = [key for key, _ in store.due_runs(now + timedelta(days=36_500))]
    counted = Counter(
        instance.state for state in store.load_runs(keys[:MOST_RUNS]) for instance in state.instances.values()
    )
    more = f" (tasks of {MOST_RUNS} of them)" if len(keys) > MOST_RUNS else ""
    busy = ", ".join(
        f"{counted[state]} {state}" for state in ("running", "queued", "scheduled", "deferred") if counted[state]
    )
    yield f"Unfinished runs  {len(keys)}{more}; tasks: {busy or 'none running'}"


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{max(0.0, (now - moment).total_seconds()):.0f} s ago"
