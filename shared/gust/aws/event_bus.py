"""EventBridge behind the port `EventBus`: a rule for each pattern, with the stack's queue as its target.

A rule is named by its pattern's hash, so following means to make what is missing and to delete what is left over. It is
enabled only while it has its target, and its description has the target's hash: an enabled rule whose description is the
wanted one needs nothing more. A stack that turns events off and on again has another queue, and may have the same bus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from botocore.exceptions import ClientError

from gust.errors import ServiceUnavailable
from gust.model.announcement import SOURCE, Announcement
from gust.model.event_rule import MOST_PATTERNS

PREFIX: Final = "events.yaml-"
"""Of the rules that this makes and deletes. The dot sets them apart from those of the stack: no stack's name has one."""

TARGET: Final = "events"

RULES_OF_A_BUS: Final = 300
"""EventBridge's default quota."""

_AT_ONCE: Final = 10
"""Events of one call, at most."""

_SAMPLE: Final = json.dumps(
    {
        "id": "0",
        "account": "0",
        "source": "gust",
        "time": "2026-01-01T00:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail-type": "Sample",
        "detail": {},
    }
)


class EventBridgeBus:
    """Implements `ports.EventBus`."""

    is_on = True

    def __init__(self, client: Any, *, bus: str, queue_arn: str = "", dead_letters_arn: str = "") -> None:
        self._client = client
        self._bus = bus
        self._queue = queue_arn
        self._dead_letters = dead_letters_arn

    def why_invalid(self, pattern: str) -> str | None:
        try:
            self._client.test_event_pattern(EventPattern=pattern, Event=_SAMPLE)
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidEventPatternException":
                raise
            return str(error.response["Error"]["Message"])
        return None

    def most_patterns(self) -> int:
        return max(0, min(MOST_PATTERNS, RULES_OF_A_BUS - len(self.rules_of_others())))

    def rules_of_others(self) -> list[dict[str, Any]]:
        """The rules that `follow` did not make, as EventBridge describes them."""
        return [rule for rule in self._rules(prefix="") if not rule["Name"].startswith(PREFIX)]

    def remove_rules(self) -> int:
        """Remove the rules that `follow` has made; returns how many there were."""
        rules = list(self._rules())
        for rule in rules:
            self._remove(rule)
        return len(rules)

    def follow(self, patterns: Mapping[str, str]) -> None:
        wanted = {f"{PREFIX}{pattern_id}": pattern_id for pattern_id in patterns}
        found = {rule["Name"]: rule for rule in self._rules()}
        for name in sorted(found.keys() - wanted.keys()):  # first: a bus has room for RULES_OF_A_BUS
            self._remove(found[name])
        for name, pattern_id in sorted(wanted.items()):
            target, rule = self._target(pattern_id), found.get(name, {})
            is_enabled = rule.get("State") == "ENABLED"
            if not is_enabled or rule.get("Description") != _description(target):
                self._make(name, patterns[pattern_id], target, is_enabled=is_enabled)

    def tell(self, announcements: Sequence[Announcement]) -> None:
        for start in range(0, len(announcements), _AT_ONCE):
            entries = [self._entry(each) for each in announcements[start : start + _AT_ONCE]]
            answer = self._client.put_events(Entries=entries)
            if answer["FailedEntryCount"]:
                raise ServiceUnavailable(f"EventBridge refused {answer['FailedEntryCount']} of {len(entries)} events")

    def _entry(self, each: Announcement) -> dict[str, Any]:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": each.kind.value,
            "Time": each.at,
            "Detail": json.dumps(each.detail, separators=(",", ":")),
        }

    def _remove(self, rule: Mapping[str, Any]) -> None:
        """Another may do the same at the same time. A removal that ends half-way leaves a disabled rule: `follow` makes it
        whole again."""
        name = rule["Name"]
        with suppress(self._client.exceptions.ResourceNotFoundException):
            self._client.put_rule(
                EventBusName=self._bus, Name=name, EventPattern=rule["EventPattern"], State="DISABLED"
            )
            self._client.remove_targets(EventBusName=self._bus, Rule=name, Ids=[TARGET])
            self._client.delete_rule(EventBusName=self._bus, Name=name)

    def _target(self, pattern_id: str) -> dict[str, Any]:
        return {
            "Id": TARGET,
            "Arn": self._queue,
            "DeadLetterConfig": {"Arn": self._dead_letters},
            "InputTransformer": {
                "InputPathsMap": {},
                "InputTemplate": f'{{"pattern": "{pattern_id}", "event": <aws.events.event.json>}}',
            },
        }

    def _make(self, name: str, pattern: str, target: Mapping[str, Any], *, is_enabled: bool) -> None:
        """Make the rule, or give it this target in the place of its present one. An enabled rule stays enabled."""
        rule = {"Name": name, "EventBusName": self._bus, "EventPattern": pattern}
        if not is_enabled:
            self._client.put_rule(**rule, State="DISABLED")
        answer = self._client.put_targets(EventBusName=self._bus, Rule=name, Targets=[target])
        if answer.get("FailedEntryCount"):
            raise RuntimeError(f"EventBridge refused the target of {name}: {answer['FailedEntries']}")
        self._client.put_rule(**rule, State="ENABLED", Description=_description(target))

    def _rules(self, prefix: str = PREFIX) -> Iterator[dict[str, Any]]:
        asked = {"EventBusName": self._bus, **({"NamePrefix": prefix} if prefix else {})}
        while True:
            answer = self._client.list_rules(**asked)
            yield from answer["Rules"]
            if not answer.get("NextToken"):
                return
            asked["NextToken"] = answer["NextToken"]


def _description(target: Mapping[str, Any]) -> str:
    """Of a rule with this target."""
    return f"Of an events.yaml; target {sha256(json.dumps(target, sort_keys=True).encode()).hexdigest()[:12]}"
