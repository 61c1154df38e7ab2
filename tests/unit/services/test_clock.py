"""Clocks show aware moments in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gust.ports.clock import ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == clock.now() == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    assert clock.advance(1.5) == clock.now() == datetime(2026, 3, 1, 10, 0, 1, 500_000, tzinfo=UTC)
    clock.set(datetime(2026, 4, 1, tzinfo=UTC))
    assert clock.now() == datetime(2026, 4, 1, tzinfo=UTC)


def test_a_clock_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2026, 3, 1))  # noqa: DTZ001  # that is the point


def test_the_systems_clock_shows_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
