"""The stack's event bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gust.model.announcement import Announcement

OFF = "This stack takes no events: its operator deploys it with the parameter Events=Enabled, then save the file again."


class EventBus(Protocol):
    """The bus on which events come."""

    @property
    def is_on(self) -> bool:
        """Whether the stack takes events."""

    def why_invalid(self, pattern: str) -> str | None:
        """EventBridge's objection to the pattern (JSON); `None` if it has none."""

    def most_patterns(self) -> int:
        """How many patterns the bus has room for, beside the rules of others."""

    def follow(self, patterns: Mapping[str, str]) -> None:
        """Have events that match one of the patterns come to the stack's queue with the pattern's id, and no others.
        `patterns`: id → JSON. Repeating it changes nothing; it completes what a crash left half done."""

    def tell(self, announcements: Sequence[Announcement]) -> None:
        """Send them, in their order. Raises ServiceUnavailable if one was refused."""


class NoEventBus:
    """Of a stack without events, and of functions that need none."""

    is_on = False

    def why_invalid(self, pattern: str) -> str | None:  # noqa: ARG002 - no pattern is any use
        return OFF

    def most_patterns(self) -> int:
        return 0

    def follow(self, patterns: Mapping[str, str]) -> None:
        pass

    def tell(self, announcements: Sequence[Announcement]) -> None:
        pass
