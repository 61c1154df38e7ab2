"""`gust.model.window`: which moments a list reads, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gust.model.window import NEWEST_FIRST, OLDEST_FIRST, Window

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


def test_both_bounds_are_included() -> None:
    window = Window(NOON, NOON + HOUR, ascending=True)
    moments = [NOON - TICK, NOON, NOON + HOUR, NOON + HOUR + TICK]
    assert [window.holds(moment) for moment in moments] == [False, True, True, False]
    assert NEWEST_FIRST.holds(datetime.min.replace(tzinfo=UTC))


def test_bounds_can_be_left_out_of_it() -> None:
    window = Window.between(NOON, NOON + HOUR, ascending=False)
    assert window == Window(NOON + TICK, NOON + HOUR - TICK, ascending=False)
    assert Window.between(None, None, ascending=True) == OLDEST_FIRST


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_the_calendar_are_bounds_like_others(moment: datetime) -> None:
    after, before = (Window.between(*bounds, ascending=True) for bounds in ((moment, None), (None, moment)))
    is_over = moment > NOON
    assert (after.holds(NOON), before.holds(NOON)) == (not is_over, is_over)


def test_it_becomes_narrower_only() -> None:
    window = Window(NOON, ascending=True)
    assert window.narrowed(NOON - HOUR, NOON + HOUR) == Window(NOON, NOON + HOUR, ascending=True)
    assert window.narrowed(NOON + HOUR).first == NOON + HOUR
    assert window.narrowed() == window


def test_it_reads_rows_in_its_order() -> None:
    assert list(OLDEST_FIRST.in_order([1, 2, 3])) == [1, 2, 3]
    assert list(OLDEST_FIRST.read(ascending=False).in_order([1, 2, 3])) == [3, 2, 1]
