"""How long a request may go on with work of which it cannot say beforehand how much there is.

An HTTP API hangs up after 30 seconds, and who asked does not know then what was done and what was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gust.ports.clock import Clock

WORKS_FOR: Final = timedelta(seconds=12)
"""Leaves the rest of the 30 seconds to a cold start, the step that is under way, and writing the answer."""

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
        """There is not even time left for what takes a moment."""
        return self.clock.now() >= self.until + A_MOMENT_MORE

    @property
    def is_over(self) -> bool:
        return self.clock.now() >= self.until
