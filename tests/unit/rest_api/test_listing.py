"""Patterns, ranges, order and pages, as PostgreSQL and Airflow have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gust.http.answer import Problem
from gust.rest_api.lists.filters import Filters, Paging, between, contains, query_of, starts_with, within
from gust.rest_api.lists.listing import Ordering, page

Row = tuple[int, int | None]

ORDERING = Ordering[Row](
    attributes={"id": lambda row: row[0], "value": lambda row: row[1]},
    key=lambda row: (row[0],),
)

rows = st.lists(st.tuples(st.integers(), st.none() | st.integers(0, 3)), unique_by=lambda row: row[0], max_size=30)
orders = st.lists(st.sampled_from(["id", "-id", "value", "-value"]), max_size=3)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (None, True),
        ("~", True),
        ("", True),
        ("LOAD", True),
        ("my.load", False),
        ("my_load", True),
        ("m%d", True),
        ("nope|load", True),
        ("nope | what", False),
        ("load[x]", False),
        ("my\\_load", False),
        ("load\\", False),
    ],
)
def test_a_pattern_is_sqls_ilike(pattern: str | None, matches: bool) -> None:
    assert contains("my-load", pattern) is matches


def test_a_pattern_may_take_the_bar_literally() -> None:
    assert contains("a|b", "a|b", alternatives=False)
    assert not contains("a", "a|b", alternatives=False)


@pytest.mark.parametrize(
    ("prefix", "matches"),
    [(None, True), ("~", True), ("my", True), ("my_", True), ("My", False), ("load", False), ("x|my", True)],
)
def test_a_prefix_is_exact_but_for_what_is_not_alphanumeric_at_its_end(prefix: str | None, matches: bool) -> None:
    assert starts_with("my-load", prefix) is matches


def test_what_is_missing_matches_no_pattern() -> None:
    assert contains(None, None)
    assert not contains(None, "~")
    assert not starts_with(None, "~")


def test_a_missing_moment_keeps_lower_bounds_and_counts_as_now_for_upper_ones() -> None:
    moment, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    query: Any = query_of(Paging, Filters[Any](between("start_date", datetime, lambda _: None)))

    def keeps(**bounds: datetime) -> bool:
        return within(query(**bounds), "start_date", None, missing_is=moment)

    assert keeps(start_date_gte=later)
    assert keeps(start_date_lt=later)
    assert not keeps(start_date_lt=moment)
    assert keeps(start_date_lte=moment.replace(tzinfo=None))
    assert not within(query(start_date_gte=later), "start_date", None)


@given(rows)
def test_null_is_greater_than_anything(given_rows: list[Row]) -> None:
    def values(order_by: str) -> list[int | None]:
        return [row[1] for row in ORDERING.resolve([order_by]).sort(given_rows)]

    present = sorted(row[1] for row in given_rows if row[1] is not None)
    nulls = [None] * (len(given_rows) - len(present))
    assert values("value") == [*present, *nulls]
    assert values("-value") == [*nulls, *reversed(present)]


@given(rows, orders, st.integers(1, 7))
def test_cursors_visit_every_row_once_in_order_forwards_and_backwards(
    given_rows: list[Row], order_by: list[str], limit: int
) -> None:
    order = ORDERING.resolve(order_by)
    expected = order.sort(given_rows)
    forwards: list[Row] = []
    cursor: str | None = ""
    found = page(given_rows, order, limit=limit, cursor="")
    assert found.previous_cursor is None
    while cursor is not None:
        found = page(given_rows, order, limit=limit, cursor=cursor)
        forwards += found.rows
        cursor = found.next_cursor
    assert forwards == expected
    backwards = found.rows
    while found.previous_cursor is not None:
        found = page(given_rows, order, limit=limit, cursor=found.previous_cursor)
        backwards = found.rows + backwards
    assert backwards == expected


@given(rows, orders, st.integers(0, 10), st.integers(0, 10))
def test_offsets_cut_the_ordered_rows(given_rows: list[Row], order_by: list[str], limit: int, offset: int) -> None:
    order = ORDERING.resolve(order_by)
    found = page(given_rows, order, limit=limit, offset=offset)
    assert found.rows == order.sort(given_rows)[offset : offset + limit]
    assert found.total_entries == len(given_rows)


def test_a_page_has_a_hundred_rows_at_most() -> None:
    many: list[Row] = [(number, None) for number in range(150)]
    assert len(page(many, ORDERING.resolve(["id"]), limit=1000).rows) == 100


def test_a_row_that_came_after_the_cursor_was_made_is_found() -> None:
    early: list[Row] = [(1, 1), (3, 1)]
    order = ORDERING.resolve(["id"])
    first = page(early, order, limit=1, cursor="")
    assert page([*early, (2, 1)], order, limit=1, cursor=first.next_cursor).rows == [(2, 1)]


@pytest.mark.parametrize("token", ["!", "xx", "eyJhIjoxfQ", "WzEsMiwzXQ", "WyJhIl0"])
def test_a_cursor_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(Problem) as refused:
        page([(1, 1)], ORDERING.resolve([]), limit=1, cursor=token)
    assert refused.value.status == 400
