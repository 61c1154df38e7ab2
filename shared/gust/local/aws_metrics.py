"""Metrics that AWS itself keeps of queues, streams and schedules, as far as alarms and the dashboard read them.

The emulator looks at its queues and streams several times a minute (`Watch.look`). As on AWS, a queue without messages has
no values, nor has a stream without new records, so an idle stack adds none but its ticks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gust.local.metrics import Value

LAMBDA: Final = "AWS/Lambda"
SQS: Final = "AWS/SQS"
EVENTS: Final = "AWS/Events"


class Queue(NamedTuple):
    name: str
    visible: int
    """Messages that no function has begun."""
    not_visible: int
    age: float
    """Seconds since its oldest message was sent."""


class Stream(NamedTuple):
    function: str
    """The function that reads the stream."""
    position: int
    age: float
    """Seconds since the oldest record came that the function has not been given; 0 without one."""
    shard: str = ""
    """Of a stream with several; a function may read several streams."""


def of_invocation(function: str, *, failed: bool, milliseconds: float) -> Iterator[Value]:
    named = {"FunctionName": function}
    yield Value("Invocations", 1, "Count", named, LAMBDA)
    yield Value("Errors", float(failed), "Count", named, LAMBDA)
    yield Value("Duration", milliseconds, "Milliseconds", named, LAMBDA)


def of_throttle(function: str) -> Value:
    return Value("Throttles", 1, "Count", {"FunctionName": function}, LAMBDA)


@dataclass
class Watch:
    """What the last look found, so that the next one tells a change from silence."""

    pace: float = 1.0
    """How many seconds of age a second counts for, in tests."""
    _filled: set[str] = field(default_factory=set)
    _positions: dict[tuple[str, str], int] = field(default_factory=dict)
    _fired: dict[str, float] = field(default_factory=dict)

    def look(self, queues: Iterable[Queue], streams: Iterable[Stream], fired: Mapping[str, float]) -> Iterator[Value]:
        """`fired`: rule → when it last fired (seconds since 1970)."""
        for queue in queues:
            is_filled = bool(queue.visible or queue.not_visible)
            if is_filled or queue.name in self._filled:
                named = {"QueueName": queue.name}
                yield Value("ApproximateNumberOfMessagesVisible", queue.visible, "Count", named, SQS)
                yield Value("ApproximateNumberOfMessagesNotVisible", queue.not_visible, "Count", named, SQS)
                yield Value("ApproximateAgeOfOldestMessage", queue.age * self.pace, "Seconds", named, SQS)
            (self._filled.add if is_filled else self._filled.discard)(queue.name)
        for stream in streams:
            place = stream.function, stream.shard
            if stream.age or self._positions.get(place) != stream.position:
                milliseconds = stream.age * self.pace * 1000
                yield Value("IteratorAge", milliseconds, "Milliseconds", {"FunctionName": stream.function}, LAMBDA)
            self._positions[place] = stream.position
        for rule, at in fired.items():
            if self._fired.get(rule) != at:
                yield Value("TriggeredRules", 1, "Count", {"RuleName": rule}, EVENTS)
            self._fired[rule] = at
