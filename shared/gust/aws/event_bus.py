"""EventBridge behind the port `EventBus`: a rule for each pattern, with the stack's queue as its target.

A rule is named by its pattern's hash, so following means to make what is missing and to delete what is left over. It is
enabled only once it has its target: a rule that is enabled needs nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
        others = sum(not rule["Name"].startswith(PREFIX) for rule in self._rules(prefix=""))
        return max(0, min(MOST_PATTERNS, RULES_OF_A_BUS - others))

    def follow(self, patterns: Mapping[str, str]) -> None:
        wanted = {f"{PREFIX}{pattern_id}": pattern_id for pattern_id in patterns}
        found = {rule["Name"]: rule["State"] for rule in self._rules()}
        for name in sorted(found.keys() - wanted.keys()):  # first: a bus has room for RULES_OF_A_BUS
            self._client.remove_targets(EventBusName=self._bus, Rule=name, Ids=[TARGET])
            self._client.delete_rule(EventBusName=self._bus, Name=name)
        for name, pattern_id in sorted(wanted.items()):
            if found.get(name) != "ENABLED":
                self._make(name, pattern_id, patterns[pattern_id])

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

    def _make(self, name: str, pattern_id: str, pattern: str) -> None:
        rule = {"Name": name, "EventBusName": self._bus, "EventPattern": pattern, "Description": "Of an events.yaml"}
        self._client.put_rule(**rule, State="DISABLED")
        answer = self._client.put_targets(
            EventBusName=self._bus,
            Rule=name,
            Targets=[
                {
                    "Id": TARGET,
                    "Arn": self._queue,
                    "DeadLetterConfig": {"Arn": self._dead_letters},
                    "InputTransformer": {
                        "InputPathsMap": {},
                        "InputTemplate": f'{{"pattern": "{pattern_id}", "event": <aws.events.event.json>}}',
                    },
                }
            ],
        )
        if answer.get("FailedEntryCount"):
            raise RuntimeError(f"EventBridge refused the target of {name}: {answer['FailedEntries']}")
        self._client.put_rule(**rule, State="ENABLED")

    def _rules(self, prefix: str = PREFIX) -> Iterator[dict[str, Any]]:
        asked = {"EventBusName": self._bus, **({"NamePrefix": prefix} if prefix else {})}
        while True:
            answer = self._client.list_rules(**asked)
            yield from answer["Rules"]
            if not answer.get("NextToken"):
                return
            asked["NextToken"] = answer["NextToken"]
