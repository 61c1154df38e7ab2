"""`./gust delete`: a stack, after telling what goes, what stays, and what that costs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from gust.cli import artifacts, changes, event_rules, workers
from gust.cli import aws as cli_aws
from gust.cli.aws import AwsError, Clients, Stack
from gust.cli.containers import containers_of, what_stops
from gust.cli.counted import counted
from gust.cli.deploy import VERSION_TAG
from gust.cli.event_sources import why_receiver_stays
from gust.cli.resources import store_of

HELP: Final = "delete a stack; says before what goes and what stays"

GB_MONTH: Final = 0.023
"""Dollars for a GB in S3 Standard for a month, at the list price of us-east-1."""
BACKUP_GB_MONTH: Final = 0.10
"""The same for a backup of a DynamoDB table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli_aws.add_arguments(parser)
    parser.add_argument(
        "--bucket", choices=["keep", "delete"], default="keep", help="the DAG files and XComs (%(default)s)"
    )
    parser.add_argument("--backup", action="store_true", help="make a backup of the table first; it stays")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace) -> int:
    return delete(options, cli_aws.clients(options), ask=_ask if sys.stdin.isatty() else None, say=_say)


def delete(
    options: argparse.Namespace,
    aws: Clients,
    *,
    ask: Callable[[str], str] | None,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """`ask` shows a prompt and returns what was typed; without it, `--yes` is needed. Returns the exit code."""
    stack = cli_aws.require_stack(aws, options.stack)
    if stack.status in changes.LEFT_OVER and VERSION_TAG in stack.tags and "TableName" not in stack.outputs:
        return _delete_rest(options, aws, stack, ask=ask, say=say, pause=pause)
    bucket, table = stack.outputs["BucketName"], stack.outputs["TableName"]
    described = _described(aws("dynamodb"), table)
    if described.get("DeletionProtectionEnabled"):
        raise AwsError(
            f"the table is protected; ./gust deploy --stack {stack.name} --set DeletionProtection=Disabled removes that."
        )
    cloudformation = aws("cloudformation")
    known = cloudformation.describe_stacks(StackName=stack.name)["Stacks"][0]
    if known.get("EnableTerminationProtection"):
        raise AwsError(
            "the stack is protected; `aws cloudformation update-termination-protection "
            f"--no-enable-termination-protection --stack-name {stack.name}` removes that."
        )
    if stack.status.endswith("_IN_PROGRESS") and stack.status != "DELETE_IN_PROGRESS":
        raise AwsError(f"{stack.name} is being changed ({stack.status}); try again when that has ended.")
    store = store_of(aws, stack)
    if described and (groups := [group.name for group in store.list_worker_groups()]):
        raise AwsError(
            f"its worker groups are stacks of their own, and would have no stack: {', '.join(groups)}. "
            f"`./gust workers remove NAME --stack {stack.name}` first."
        )
    if described and (reason := why_receiver_stays(aws, stack)):
        raise AwsError(reason)
    if reason := event_rules.why_bus_stays(aws, stack):
        raise AwsError(reason)
    objects, size = _contents(aws("s3"), bucket)
    contents = counted(objects, "object")
    say(f"This deletes the stack {stack.name}: functions, queues, logs, the API, and the table with its runs, XComs,")
    say("variables and connections. Its keys go too: without the encryption key, nothing reads those values again.")
    if options.bucket == "delete":
        say(f"It also deletes the bucket {bucket}: {contents}, {size / 1e9:.2f} GB, your DAG files among them.")
    else:
        say(
            f"What stays: the bucket {bucket}, {contents}, {size / 1e9:.2f} GB, about "
            f"${size / 1e9 * GB_MONTH:.2f} a month (--bucket delete)."
        )
    account, region = aws("sts").get_caller_identity()["Account"], cli_aws.region_of(aws("sts"))
    say(
        f"What also stays: the code of all stacks in {artifacts.bucket_name(account, region)}, if ./gust deploy made it."
    )
    if options.backup:
        gigabytes = described.get("TableSizeBytes", 0) / 1e9
        say(
            f"A backup of the table is made: about ${gigabytes * BACKUP_GB_MONTH:.2f} a month. Its secrets cannot be read."
        )
    groups = workers.named(aws, stack) if described else []
    if groups:
        say(f"It also deletes the stacks of its worker groups: {', '.join(groups)}.")
    containers = containers_of(aws, stack)
    if containers and (running := containers.count()):
        say(what_stops(running))
    if not _is_agreed(options, stack, ask, say):
        return 1
    if options.backup:
        made = aws("dynamodb").create_backup(
            TableName=table, BackupName=f"{stack.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        )
        say(f"Backup {made['BackupDetails']['BackupArn']}")
    from gust.aws import worker_groups

    for group in groups:
        worker_groups.remove(aws, stack.name, group)
        say(f"Deleted the workers of {group!r}.")
    bus = event_rules.bus_of(aws, stack)
    if containers:
        containers.stop_all(say, pause=pause)
    meanwhile = containers.stop_again if containers else None
    before = _begin(cloudformation, known["StackId"])
    # Not before AWS has accepted the deletion: a stack that stays needs its rules. CloudFormation comes to the bus late.
    count = event_rules.remove_rules(aws, bus) if bus else 0
    if count:
        say(f"Removed {counted(count, 'rule')} of events.yaml files.")
    try:
        changes.follow(cloudformation, known["StackId"], before, 0, say, pause=pause, meanwhile=meanwhile)
    except changes.DeploymentFailedError:
        if bus and event_rules.remove_rules(aws, bus):
            say("A deployment of the DAG folder has made rules again; they are removed.")
        elif not count:
            raise
        say("Deleting the rest of the stack …")
        pause(event_rules.SETTLES)
        before = _begin(cloudformation, known["StackId"])
        changes.follow(cloudformation, known["StackId"], before, 0, say, pause=pause, meanwhile=meanwhile)
    if options.bucket == "delete":
        _delete_bucket(aws("s3"), bucket)
        say(f"Deleted the bucket {bucket}.")
    return 0


def _delete_rest(
    options: argparse.Namespace,
    aws: Clients,
    stack: Stack,
    *,
    ask: Callable[[str], str] | None,
    say: Callable[[str], None],
    pause: Callable[[float], None],
) -> int:
    """Of a stack that was never whole: no task has run there, and it names neither bucket nor table."""
    if options.backup or options.bucket == "delete":
        raise AwsError(f"{stack.name} is {stack.status} and was never whole: leave out --backup and --bucket.")
    say(f"{stack.name} is {stack.status} and was never whole. This deletes what is left of it, but for its bucket.")
    if not _is_agreed(options, stack, ask, say):
        return 1
    cloudformation = aws("cloudformation")
    stack_id = cloudformation.describe_stacks(StackName=stack.name)["Stacks"][0]["StackId"]
    before = _begin(cloudformation, stack_id)
    changes.follow(cloudformation, stack_id, before, 0, say, pause=pause)
    return 0


def _is_agreed(
    options: argparse.Namespace, stack: Stack, ask: Callable[[str], str] | None, say: Callable[[str], None]
) -> bool:
    if options.yes:
        return True
    if ask is None:
        raise AwsError("this asks before it deletes anything, and here is no terminal: give --yes.")
    if ask("Type the stack's name to delete it: ").strip() == stack.name:
        return True
    say("Nothing was deleted.")
    return False


def _described(dynamodb: Any, table: str) -> dict[str, Any]:
    """The table; empty if an attempt to delete the stack has deleted it and failed at another resource."""
    try:
        return dict(dynamodb.describe_table(TableName=table)["Table"])
    except dynamodb.exceptions.ResourceNotFoundException:
        return {}


def _begin(cloudformation: Any, stack_id: str) -> str | None:
    """Have CloudFormation delete the stack, or what is left of it. Returns the newest event before that."""
    before = changes.newest_event(cloudformation, stack_id)
    cloudformation.delete_stack(StackName=stack_id)
    return before


def _contents(s3: Any, bucket: str) -> tuple[int, int]:
    """Objects, with their old versions, and their bytes."""
    count = size = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in page.get("Versions", []):
            count, size = count + 1, size + each["Size"]
    return count, size


def _delete_bucket(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        every = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if every:
            named = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in every]
            s3.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})
    s3.delete_bucket(Bucket=bucket)


def _ask(question: str) -> str:
    return input(question)


def _say(line: str) -> None:
    print(line, flush=True)
