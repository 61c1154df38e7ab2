"""The rules of a stack's event bus, for the commands that have CloudFormation delete the bus.

EventBridge deletes no bus that has rules, and CloudFormation knows neither the rules that the deployer makes for
`events.yaml` files nor those of others. The deployer may make its rules again at any moment until CloudFormation takes that
right away, which it does before it deletes the bus: rules that are found after CloudFormation's attempt are the last ones.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gust.cli import aws as cli_aws
from gust.cli.aws import AwsError, Clients, Stack
from gust.cli.changes import ChangeSet
from gust.cli.resources import Resource, of_type, resources_of

if TYPE_CHECKING:
    from gust.aws.event_bus import EventBridgeBus

BUS: Final = "EventBus"
QUEUE: Final = "EventsQueue"
"""Logical ids. The bus is there without the queue where a stack tells of events, or mails alerts, and takes none."""

SETTLES: Final = 10.0
"""Seconds after which EventBridge no longer counts a rule that was deleted."""


def bus_of(aws: Clients, stack: Stack) -> str | None:
    """The name of the stack's bus, if it has one."""
    return _bus_in(resources_of(aws, stack))


def _bus_in(resources: Sequence[Resource]) -> str | None:
    return next((each.id for each in resources if each.logical_id == BUS), None)


def why_bus_stays(aws: Clients, stack: Stack) -> str | None:
    """The rules of others, and the commands that remove them, if EventBridge would not delete the stack's bus for them."""
    resources = resources_of(aws, stack)
    if (bus := _bus_in(resources)) is None:
        return None
    # CloudFormation's name of a rule is BUS|RULE, or its ARN, which ends in /BUS/RULE.
    of_stack = {re.split(r"[|/]", rule.id)[-1] for rule in of_type(resources, "AWS::Events::Rule")}
    try:
        others = [rule for rule in _bus(aws, bus).rules_of_others() if rule["Name"] not in of_stack]
    except aws("events").exceptions.ResourceNotFoundException:  # the bus was deleted by hand
        return None
    if not others:
        return None
    commands = [line for rule in others for line in _removal(aws, bus, rule)]
    return "\n  ".join([f"EventBridge deletes no bus that has rules, and {bus} has some of others. First:", *commands])


def remove_rules(aws: Clients, bus: str) -> int:
    """Remove the rules of all `events.yaml` files; returns how many there were. A bus that is gone has none."""
    events = aws("events")
    try:
        return _bus(aws, bus).remove_rules()
    except events.exceptions.ResourceNotFoundException:
        return 0


def have_rules_made(aws: Clients, outputs: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Start a deployment of the DAG folder, which makes the rules of its `events.yaml` files even if nothing has changed.
    Returns the exit code. `outputs`: the stack's."""
    from gust.aws.deployments import StepFunctionsDeployments

    def start() -> None:
        machine = StepFunctionsDeployments(outputs["DeployBundleArn"], aws("stepfunctions"))
        machine.start(f"events-{uuid.uuid4().hex}")

    if why := _refusal(start):
        say(f"No events.yaml is followed before you upload a file to the DAG folder: {why}")
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class RulesOfChange:
    """What a change set means for the rules of the stack of this name."""

    aws: Clients
    name: str
    change: ChangeSet
    pause: Callable[[float], None] = time.sleep

    def check(self, present: Stack | None) -> None:
        """Raises AwsError, with the commands that help, where CloudFormation would fail at the bus."""
        if present and self.change.has("Remove", BUS) and (reason := why_bus_stays(self.aws, present)):
            raise AwsError(reason)
        if self.change.has("Add", BUS) and self._is_taken():
            raise AwsError(
                f"there is an event bus {self.name} already that is no part of the stack. docs/events.md has the commands "
                "that delete it (Without events again)."
            )

    def at_cleanup(self) -> None:
        """From here on no update is taken back: one that is needs its rules. `afterwards` tells what AWS refuses."""
        if self._takes_rules_away:
            _refusal(lambda: remove_rules(self.aws, self.name))

    def afterwards(self, deployed: Stack, say: Callable[[str], None]) -> int:
        """Complete a change that CloudFormation has made. Returns the exit code; the stack itself is deployed."""
        if self._takes_rules_away and (why := _refusal(self._remove_what_is_left)):
            say(f"Rules of the event bus may be left: {why}")
            return 1
        if self.change.has("Add", QUEUE) and not self.change.is_creation:
            return have_rules_made(self.aws, deployed.outputs, say)
        return 0

    @property
    def _takes_rules_away(self) -> bool:
        """What they lead to goes, or what they are on."""
        return self.change.has("Remove", QUEUE) or self.change.has("Remove", BUS)

    def _remove_what_is_left(self) -> None:
        """CloudFormation gives a bus up that it could not delete."""
        if remove_rules(self.aws, self.name):
            self.pause(SETTLES)
        if self.change.has("Remove", BUS):
            self.aws("events").delete_event_bus(Name=self.name)  # of one that is gone, too

    def _is_taken(self) -> bool:
        """Whether there is a bus of the stack's name. Where AWS does not say it, CloudFormation will see."""
        return _refusal(lambda: self.aws("events").describe_event_bus(Name=self.name)) is None


def _bus(aws: Clients, name: str) -> EventBridgeBus:
    from gust.aws.event_bus import EventBridgeBus

    return EventBridgeBus(aws("events"), bus=name)


def _removal(aws: Clients, bus: str, rule: Mapping[str, Any]) -> Iterator[str]:
    """Commands that delete the rule, also one that a service of AWS made, as for an archive of the bus, which stays."""
    name, maker = rule["Name"], rule.get("ManagedBy")
    end = f" --force    # of {maker}" if maker else ""
    targets = aws("events").list_targets_by_rule(EventBusName=bus, Rule=name)["Targets"]
    if ids := " ".join(target["Id"] for target in targets):
        yield f"aws events remove-targets --event-bus-name {bus} --rule {name} --ids {ids}{end}"
    yield f"aws events delete-rule --event-bus-name {bus} --name {name}{end}"


def _refusal(act: Callable[[], object]) -> str | None:
    """Does it. Returns AWS's reason where it refuses."""
    try:
        act()
    except Exception as problem:
        if (line := cli_aws.in_one_line(problem)) is None:
            raise
        return line
    return None
