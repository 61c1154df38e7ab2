"""Order and pages of lists, as in Airflow on PostgreSQL."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cmp_to_key
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from gust.http.answer import Json, Problem, bad_request
from gust.rest_api.lists.filters import MAXIMUM_LIMIT, Filters, ListQuery

RowT = TypeVar("RowT")

MAXIMUM_BATCH: Final = 10_000
"""A larger `page_limit` of a batch list, which has no maximum in Airflow, is lowered to this: an answer must be made in
time and fit into a Lambda function's response."""
COUNT_LIMIT: Final = 50_000
"""`total_entries` of a list read by cursor is not counted beyond this."""
MAXIMUM_SORT_CRITERIA: Final = 10


# --- order ------------------------------------------------------------------------------------------------------------

SortValue = str | int | float | bool | None


@dataclass(frozen=True)
class Ordering(Generic[RowT]):
    """The attributes that a list can be ordered by, and the key that makes the order total."""

    attributes: Mapping[str, Callable[[RowT], Any]]
    key: Callable[[RowT], tuple[Any, ...]]
    """Unique; breaks ties, descending where the first criterion is."""

    def limited_to(self, *names: str) -> Ordering[RowT]:
        """The ordering with these attributes only."""
        return Ordering({name: self.attributes[name] for name in names}, self.key)

    def resolve(self, order_by: Sequence[str]) -> Order[RowT]:
        """Problem 400 for more than ten criteria, or one the list does not have."""
        if len(order_by) > MAXIMUM_SORT_CRITERIA:
            raise bad_request(
                f"Ordering with more than {MAXIMUM_SORT_CRITERIA} parameters is not allowed. Provided: {list(order_by)}"
            )
        criteria: list[tuple[Callable[[RowT], Any], bool]] = []
        for criterion in order_by:
            name = criterion.lstrip("-")
            if name not in self.attributes:
                raise bad_request(f"Ordering with '{name}' is disallowed or the attribute does not exist on the model")
            criteria.append((self.attributes[name], criterion.startswith("-")))
        return Order(tuple(criteria), self.key, bool(order_by) and order_by[0].startswith("-"))


def named(*names: str) -> dict[str, Callable[[Any], Any]]:
    """Attributes of an `Ordering` that have the same names in the row."""
    return {name: attrgetter(name) for name in names}


@dataclass(frozen=True)
class Order(Generic[RowT]):
    criteria: tuple[tuple[Callable[[RowT], Any], bool], ...]
    key: Callable[[RowT], tuple[Any, ...]]
    key_descends: bool

    def is_by(self, *names: Callable[[RowT], Any]) -> bool:
        """Whether the order uses only these attributes, all in one direction."""
        return all(get in names and descends == self.key_descends for get, descends in self.criteria)

    def values(self, row: RowT) -> list[SortValue]:
        return [*(_sortable(get(row)) for get, _ in self.criteria), *(_sortable(part) for part in self.key(row))]

    def compare(self, left: Sequence[SortValue], right: Sequence[SortValue]) -> int:
        """PostgreSQL's order: NULL is greater than anything."""
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            if one == other:
                continue
            descends = self.criteria[place][1] if place < len(self.criteria) else self.key_descends
            # One column has values of one type.
            greater = one is None or (other is not None and one > other)  # type: ignore[operator]
            return -1 if greater == descends else 1
        return 0

    def sort(self, rows: Iterable[RowT]) -> list[RowT]:
        by_values = cmp_to_key(self.compare)
        return sorted(rows, key=lambda row: by_values(self.values(row)))


def _sortable(value: Any) -> SortValue:
    """The value in a form that has the same order and can be encoded in JSON."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if value is None or isinstance(value, str | int | float):
        return str(value) if isinstance(value, str) else value
    return json.dumps(value, sort_keys=True, default=str)


# --- pages ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page(Generic[RowT]):
    rows: list[RowT]
    total_entries: int
    total_entries_limit: int | None = None
    next_cursor: str | None = None
    previous_cursor: str | None = None

    def answer(self, name: str, response: Callable[[RowT], Any]) -> Json:
        """The body of a list that is read by offset: each row's response under `name`."""
        return {name: [response(row) for row in self.rows], "total_entries": self.total_entries}

    def with_cursors(self) -> Json:
        """The page's fields of a list that can be read by cursor."""
        return {
            "total_entries": self.total_entries,
            "total_entries_limit": self.total_entries_limit,
            "next_cursor": self.next_cursor,
            "previous_cursor": self.previous_cursor,
        }


def page(
    rows: Iterable[RowT],
    order: Order[RowT],
    *,
    limit: int,
    offset: int = 0,
    cursor: str | None = None,
    maximum: int | None = MAXIMUM_LIMIT,
) -> Page[RowT]:
    """One page of the ordered rows: by offset, or behind (`~…`: before) a cursor, where `""` is the first page. At most
    `maximum` rows."""
    ordered = order.sort(rows)
    limit = limit if maximum is None else min(limit, maximum)
    if cursor is None:
        return Page(ordered[offset : offset + limit], len(ordered))
    backward = cursor.startswith("~")
    if not cursor:
        before, after = [], ordered
    else:
        at = _decode(cursor[1:] if backward else cursor)
        if ordered:
            _check_shape(at, order, ordered[0])
        before = [row for row in ordered if order.compare(order.values(row), at) < 0]
        after = [row for row in ordered if order.compare(order.values(row), at) > 0]
    chosen = (before[-limit:] if limit else []) if backward else after[:limit]
    has_next = True if backward else len(after) > limit
    has_previous = len(before) > limit if backward else bool(cursor)
    return Page(
        chosen,
        min(len(ordered), COUNT_LIMIT),
        total_entries_limit=COUNT_LIMIT,
        next_cursor=_encode(order.values(chosen[-1])) if has_next and chosen else None,
        previous_cursor="~" + _encode(order.values(chosen[0])) if has_previous and chosen else None,
    )


def filtered_page(
    rows: Iterable[RowT],
    query: ListQuery,
    ordering: Ordering[RowT],
    filters: Filters[RowT] | None = None,
    now: datetime | None = None,
) -> Page[RowT]:
    """The page of the query, by offset, of the rows that pass the filters."""
    passing = rows if filters is None else filter(filters.matches(query, now), rows)
    return page(passing, ordering.resolve(query.order_by), limit=query.limit, offset=query.offset)


# --- pages of long histories ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """The start of a page in a walk."""

    at: list[SortValue] | None
    backward: bool

    @staticmethod
    def of(cursor: str | None) -> Position:
        """The position of a cursor; the start without one. Problem 400."""
        backward = bool(cursor) and str(cursor).startswith("~")
        return Position(_decode(cursor[1:] if backward else cursor) if cursor else None, backward)

    def is_behind(self, order: Order[RowT], row: RowT) -> bool:
        """Whether the walk reaches the row after the position."""
        if self.at is None:
            return True
        _check_shape(self.at, order, row)
        compared = order.compare(order.values(row), self.at)
        return compared < 0 if self.backward else compared > 0


LOOKED_THROUGH: Final = 100_000
"""Rows that a walk reads at most for one page: some seconds, and an HTTP API waits for thirty."""


class Walk(Generic[RowT]):
    """Iterates over the matching rows, and reads as far as the caller iterates. After `patience` rows without a match
    it stops, and `stopped_at` is the last row read: a page may be followed by another without being full.
    `patience=None`: Problem 400 after `LOOKED_THROUGH` rows."""

    def __init__(self, rows: Iterable[RowT], matches: Callable[[RowT], bool], *, patience: int | None) -> None:
        self._rows = rows
        self._matches = matches
        self._patience = patience
        self.stopped_at: RowT | None = None
        """The row at which the walk gave up; `None` if it reached its end or the page was full."""

    def __iter__(self) -> Iterator[RowT]:
        passed = 0
        for read, row in enumerate(self._rows):
            if read == LOOKED_THROUGH:
                raise bad_request(
                    f"Scanned {LOOKED_THROUGH} rows without filling the page: "
                    "narrow the time range, lower the offset or remove filters"
                )
            if self._matches(row):
                yield row
                continue
            passed += 1
            if passed == self._patience:
                self.stopped_at = row
                return


def walked_page(
    walk: Walk[RowT],
    order: Order[RowT],
    position: Position,
    *,
    limit: int,
    offset: int = 0,
    skipped: int = 0,
    total: Callable[[], int | None] = lambda: None,
) -> Page[RowT]:
    """A page of a list that is too long to be read whole. `skipped` rows precede the walk. `total` counts if the walk
    did not read to the end; if it returns `None`, `total_entries` is a minimum and `total_entries_limit` is set."""
    seen, rows, has_more = 0, list[RowT](), False
    for row in walk:
        if not position.is_behind(order, row):
            continue
        seen += 1
        if seen > offset + limit:
            has_more = True
            break
        if seen > offset:
            rows.append(row)
    seen += skipped
    stopped_at, by_cursor = walk.stopped_at, position.at is not None
    ends: list[str | None] = [_encode(order.values(row)) for row in (rows[:1] + rows[-1:])] or [None, None]
    beyond = _encode(order.values(stopped_at)) if stopped_at is not None else (ends[-1] if has_more else None)
    saw_all = not has_more and stopped_at is None and not by_cursor
    known = seen if saw_all else total()
    total_entries = seen if known is None else known
    at_least = None if known is not None else max(seen, 1)
    if position.backward:
        rows.reverse()
        behind, before = ends[0], beyond
    else:
        behind, before = beyond, ends[0] if by_cursor else None
    return Page(rows, total_entries, at_least, behind, None if before is None else f"~{before}")


def _encode(values: list[SortValue]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


def _decode(token: str) -> list[SortValue]:
    try:
        values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError) as error:
        raise Problem(400, "Invalid cursor token") from error
    if not isinstance(values, list):
        raise Problem(400, "Invalid cursor token structure")
    return values


def _check_shape(values: list[SortValue], order: Order[RowT], row: RowT) -> None:
    if not _same_shape(values, order.values(row), len(order.criteria)):
        raise Problem(400, "Cursor token does not match current query shape")


def _same_shape(values: list[Any], row: list[SortValue], criteria: int) -> bool:
    def kind(value: Any) -> type:
        return float if isinstance(value, int | float) else type(value)

    def matches(place: int) -> bool:
        one, other = values[place], row[place]
        return kind(one) is kind(other) or (place < criteria and (one is None or other is None))

    return len(values) == len(row) and all(matches(place) for place in range(len(row)))
