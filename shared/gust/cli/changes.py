"""A stack's changes: CloudFormation's change set, what it would do, and its progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gust.cli.aws import AwsError, Clients, Stack
from gust.errors import GustError

NEW: Final = frozenset({"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"})
"""States of a stack that was never whole and holds nothing: its first change set waits, or was taken back."""

LEFT_OVER: Final = frozenset({"CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED"})
"""States of a stack that may hold a part of its resources, and that CloudFormation does not update."""

HOLDS_STATE: Final = frozenset(
    {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Logs::LogGroup", "AWS::SQS::Queue", "Custom::Keys"}
)

POLL_EVERY: Final = 3.0
"""Seconds between two looks at CloudFormation."""

CLEANUP: Final = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
"""State of a stack whose update can no longer be taken back, and which deletes the resources that it no longer has."""

TELL_EVERY: Final = 15.0
"""Seconds between two lines of progress."""


class DeploymentFailedError(GustError):
    """CloudFormation refused the change or took it back; the message holds its reasons."""


@dataclass(frozen=True, slots=True)
class Change:
    action: str
    """Add, Modify, Remove."""
    logical_id: str
    type: str
    replaces: bool

    @property
    def is_alarming(self) -> bool:
        """It deletes or replaces a resource that holds state."""
        return self.type in HOLDS_STATE and (self.replaces or self.action == "Remove")


@dataclass(frozen=True, slots=True)
class ChangeSet:
    id: str
    stack_id: str
    is_creation: bool
    changes: Sequence[Change]

    def has(self, action: str, logical_id: str) -> bool:
        return any((each.action, each.logical_id) == (action, logical_id) for each in self.changes)


def propose(
    aws: Clients,
    name: str,
    present: Stack | None,
    *,
    template_url: str,
    declared: Mapping[str, Any],
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    role: str | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> ChangeSet | None:
    """Have CloudFormation compute the change; `None` if nothing would change. Parameters that are not given keep their
    values. `declared`: the template's parameters. Raises DeploymentFailedError."""
    cloudformation = aws("cloudformation")
    if present and present.status.endswith("_IN_PROGRESS"):
        raise AwsError(f"{name} is being changed already ({present.status}); try again when that has ended.")
    kept = {} if present is None else {key for key in present.parameters if key in declared and key not in parameters}
    asked = cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=f"gust-{datetime.now(UTC):%Y%m%dT%H%M%S}",
        ChangeSetType="UPDATE" if present else "CREATE",
        TemplateURL=template_url,
        Parameters=[
            *({"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()),
            *({"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)),
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        **({"RoleARN": role} if role else {}),
        **({} if present else {"OnStackFailure": "DELETE"}),  # a first deployment that fails leaves nothing
    )
    while True:
        found = cloudformation.describe_change_set(ChangeSetName=asked["Id"])
        if found["Status"] == "CREATE_COMPLETE":
            break
        if found["Status"] == "FAILED":
            _drop(cloudformation, asked["Id"], name, is_creation=present is None)
            if present and not found.get("Changes"):
                return None
            raise DeploymentFailedError(f"CloudFormation refuses the change: {found.get('StatusReason', 'no reason')}")
        pause(POLL_EVERY)
    return ChangeSet(asked["Id"], asked["StackId"], present is None, _changes(cloudformation, asked["Id"]))


def clear(aws: Clients, name: str, *, role: str | None = None) -> None:
    """Delete a stack that is `NEW`: CloudFormation creates none where it is. Returns once it is gone."""
    cloudformation = aws("cloudformation")
    cloudformation.delete_stack(StackName=name, **({"RoleARN": role} if role else {}))
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 5})


def _drop(cloudformation: Any, change_set: str, name: str, *, is_creation: bool) -> None:
    """Also the empty stack that a change set for a new one has made."""
    if is_creation:
        cloudformation.delete_stack(StackName=name)
    else:
        cloudformation.delete_change_set(ChangeSetName=change_set)


def discard(aws: Clients, change: ChangeSet, name: str) -> None:
    _drop(aws("cloudformation"), change.id, name, is_creation=change.is_creation)


def _changes(cloudformation: Any, change_set: str) -> list[Change]:
    found: list[Change] = []
    token: dict[str, str] = {}
    while True:
        page = cloudformation.describe_change_set(ChangeSetName=change_set, **token)
        for each in page.get("Changes", []):
            of = each["ResourceChange"]
            replaces = of.get("Replacement") in ("True", "Conditional")
            found.append(Change(of["Action"], of["LogicalResourceId"], of["ResourceType"], replaces))
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


def told(change: ChangeSet) -> list[str]:
    """The change in lines for a person: kinds for a new stack, resources for an update."""
    if change.is_creation:
        kinds = Counter(each.type for each in change.changes)
        return [f"  {count:4} {kind.removeprefix('AWS::')}" for kind, count in sorted(kinds.items())]
    lines = []
    for each in sorted(change.changes, key=lambda one: (one.action, one.logical_id)):
        also = ", replaced" if each.replaces else ""
        alarm = "   <- IT HOLDS STATE" if each.is_alarming else ""
        lines.append(f"  {each.action.lower():7} {each.logical_id} ({each.type.removeprefix('AWS::')}{also}){alarm}")
    return lines


def carry_out(
    aws: Clients,
    change: ChangeSet,
    say: Callable[[str], None],
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    at_cleanup: Sequence[Callable[[], None]] = (),
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Execute the change and tell of its progress until it has ended; call `at_cleanup` once, when an update begins to
    delete what the stack no longer has, and `meanwhile` as `follow` does. Raises DeploymentFailedError with the reasons."""
    cloudformation = aws("cloudformation")
    began = newest_event(cloudformation, change.stack_id)
    cloudformation.execute_change_set(ChangeSetName=change.id)
    follow(
        cloudformation,
        change.stack_id,
        began,
        len(change.changes),
        say,
        pause=pause,
        clock=clock,
        at_cleanup=at_cleanup,
        meanwhile=meanwhile,
    )


def newest_event(cloudformation: Any, stack: str) -> str | None:
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return events[0]["EventId"] if events else None


def follow(
    cloudformation: Any,
    stack: str,
    after: str | None,
    total: int,
    say: Callable[[str], None],
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    at_cleanup: Sequence[Callable[[], None]] = (),
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Tell of the stack's events after one of them, until the stack rests. Call `meanwhile` at each look, unless
    CloudFormation takes the change back. Raises DeploymentFailedError."""
    began, told_at = clock(), clock()
    to_do = list(at_cleanup)
    while True:
        events = _events(cloudformation, stack, after)
        of_stack = [event for event in events if event.get("PhysicalResourceId") == event["StackId"]]
        events = [event for event in events if event not in of_stack]
        done = {event["LogicalResourceId"] for event in events if event["ResourceStatus"].endswith("_COMPLETE")}
        latest = {event["LogicalResourceId"]: event["ResourceStatus"] for event in events}
        busy = [name for name, status in latest.items() if status.endswith("_IN_PROGRESS") and name not in done]
        status = of_stack[-1]["ResourceStatus"] if of_stack else ""
        if any(event["ResourceStatus"] == CLEANUP for event in of_stack):
            while to_do:
                to_do.pop(0)()
        if status and not status.endswith("_IN_PROGRESS"):
            if "ROLLBACK" in status or "FAILED" in status or (status == "DELETE_COMPLETE" and total):
                raise DeploymentFailedError(f"CloudFormation took it back ({status}):\n" + "\n".join(reasons(events)))
            say(f"{status} after {clock() - began:.0f} s")
            return
        if clock() - told_at >= TELL_EVERY:
            told_at = clock()
            at = f"; at {', '.join(busy[:3])}" + (" …" if len(busy) > 3 else "") if busy else ""
            say(f"{len(done)} of {total} resources" + at if total else f"{len(done)} resources are gone" + at)
        if meanwhile and "ROLLBACK" not in status:
            meanwhile()
        pause(POLL_EVERY)


def _events(cloudformation: Any, stack: str, after: str | None) -> list[dict[str, Any]]:
    """The oldest first."""
    found: list[dict[str, Any]] = []
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
        for event in page["StackEvents"]:
            if event["EventId"] == after:
                return found[::-1]
            found.append(event)
    return found[::-1]


def reasons(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Failures that caused others: the first of each resource, without resources that were only cancelled."""
    lines = []
    for event in events:
        reason = event.get("ResourceStatusReason", "")
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason.lower():
            lines.append(f"  {event['LogicalResourceId']}: {reason or event['ResourceStatus']}")
    return list(dict.fromkeys(lines))
