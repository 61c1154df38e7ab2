"""Moments plus users' durations. A duration may be longer than the calendar: `timedelta(days=3_000_000)` is a valid
`dagrun_timeout`, and no `datetime` is that far from now.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime(1000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Far enough from both ends of the calendar that our own durations can be added to either without a check."""

MOST_SECONDS: Final = 999_999_998 * 86_400.0
"""A `timedelta` holds every number of seconds up to here, and down to as much below zero. The floats that its own bounds
give are too large for one."""


def later(moment: datetime, duration: timedelta | float) -> datetime:
    """The moment plus a duration (a number is one of seconds), between `EARLIEST` and `LATEST`. The moment itself where the
    duration is NaN."""
    if duration != duration:  # noqa: PLR0124 - NaN
        return moment
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    try:
        found = moment + (duration if isinstance(duration, timedelta) else timedelta(seconds=duration))
    except OverflowError:
        return LATEST if seconds > 0 else EARLIEST
    return min(max(found, EARLIEST), LATEST)
