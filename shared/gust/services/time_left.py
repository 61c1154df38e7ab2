"""How long a request may continue with work of unknown size.

An HTTP API hangs up after 30 seconds; after that the client could not tell which part was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gust.ports.clock import Clock

WORKS_FOR: Final = timedelta(seconds=12)
"""Leaves the rest of the 30 seconds to a cold start, the step under way, and writing the answer."""

A_MOMENT_MORE: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class TimeLeft:
    clock: Clock
    until: datetime

    @classmethod
    def of(cls, clock: Clock, *, since: datetime | None = None) -> TimeLeft:
        return cls(clock, (since or clock.now()) + WORKS_FOR)

    @property
    def is_long_over(self) -> bool:
        """Not even a short step fits into the remaining time."""
        return self.clock.now() >= self.until + A_MOMENT_MORE

    @property
    def is_over(self) -> bool:
        return self.clock.now() >= self.until
