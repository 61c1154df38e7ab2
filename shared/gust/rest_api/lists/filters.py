"""The filters of a list. Each is declared once: its query parameters, their types, and which rows they let pass.

    FILTERS: Final = Filters[Pool](search("pool_name", lambda pool: pool.name))
    PoolsQuery: Final = query_of(ListQuery, FILTERS)

`query_of` makes the model that checks a request, `Filters.matches` the predicate of one request. A parameter that the
handler applies itself stands in the base model, with the reason: `Annotated[str | None, Elsewhere("…")]`. Filters of a
run's key are a `Filters[DagRunKey]` of their own: an index holds the keys, so these filters read no run.

Texts and ranges filter as in Airflow on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, NonNegativeInt, create_model, model_validator

from gust.http.answer import Problem
from gust.http.check import Query
from gust.model.keys import DagRunKey
from gust.rest_api.lists.like import SPECIAL, Like, folded

RowT = TypeVar("RowT")
QueryT = TypeVar("QueryT", bound=BaseModel)

DEFAULT_LIMIT: Final = 50
MAXIMUM_LIMIT: Final = 100
"""A larger `limit` is lowered to this without an error, as Airflow does."""


class Paging(Query):
    """Limit and offset of a list."""

    limit: NonNegativeInt = DEFAULT_LIMIT
    offset: NonNegativeInt = 0

    def part_of(self, rows: Sequence[RowT]) -> list[RowT]:
        """The page's rows, in the order given."""
        return list(rows[self.offset : self.offset + min(self.limit, MAXIMUM_LIMIT)])


class ListQuery(Paging):
    """Paging and order of a list."""

    order_by: list[str] = ["id"]


PAGE_PARAMETERS: Final = frozenset({"limit", "offset", "cursor", "order_by", "page_limit", "page_offset"})
"""Parameters that choose the page and filter nothing."""


# --- declarations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Marks a parameter of a base model that no `Filter` applies: `reason` says which code does."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Filter(Generic[RowT]):
    """One filter: its parameters, and the predicate of a query."""

    fields: Mapping[str, tuple[Any, Any]]
    """Parameter → annotation and default."""
    predicate: Callable[[Any, datetime | None], Callable[[RowT], bool] | None]
    """Makes the predicate of a query, at the time of the request. `None`: every row passes."""
    read: Callable[[Any], Any] = lambda given: given

    def value(self, query: BaseModel) -> Any:
        """The query's value of the filter's first parameter."""
        return self.read(getattr(query, next(iter(self.fields))))


class Filters(Generic[RowT]):
    """Filters of one kind of row; a row must pass each of them."""

    def __init__(self, *filters: Filter[RowT]) -> None:
        self.fields: Final = {name: kind for one in filters for name, kind in one.fields.items()}
        self._filters: Final = filters

    def __iter__(self) -> Iterator[Filter[RowT]]:
        return iter(self._filters)

    def predicate(self, query: BaseModel, now: datetime | None = None) -> Callable[[RowT], bool] | None:
        """The predicate of the query, made of its filters alone. `None` where it has none of these filters."""
        made = (one.predicate(query, now) for one in self._filters)
        predicates = [predicate for predicate in made if predicate is not None]
        if len(predicates) < 2:
            return predicates[0] if predicates else None
        return lambda row: all(predicate(row) for predicate in predicates)

    def matches(self, query: BaseModel, now: datetime | None = None) -> Callable[[RowT], bool]:
        """As `predicate`; every row passes a query without filters."""
        return self.predicate(query, now) or (lambda _: True)


def query_of(base: type[QueryT], *groups: Filters[Any]) -> type[QueryT]:
    """`base` with the parameters of the filters. Values that a filter refuses by itself are a Problem once all
    parameters have the right form."""

    def check(query: QueryT) -> QueryT:
        for group in groups:
            group.predicate(query)
        return query

    fields: dict[str, Any] = {name: kind for group in groups for name, kind in group.fields.items()}
    validators: dict[str, Any] = {"check": model_validator(mode="after")(check)}
    return create_model(base.__name__.removeprefix("_"), __base__=base, __validators__=validators, **fields)


def narrows(query: BaseModel, *, except_: Iterable[str] = ()) -> bool:
    """Whether the query filters at all, other than by these parameters."""
    names = type(query).model_fields.keys() - PAGE_PARAMETERS - set(except_)
    return any(getattr(query, name) not in (None, "", []) for name in names)


# --- kinds of filters -------------------------------------------------------------------------------------------------


def equal(name: str, kind: Any, get: Callable[[RowT], Any], *, blank_is_any: bool = False) -> Filter[RowT]:
    """Filters by equality. With `blank_is_any` an empty text filters nothing."""
    passing = (None, "") if blank_is_any else (None,)

    def predicate(query: Any, _: datetime | None) -> Callable[[RowT], bool] | None:
        wanted = getattr(query, name)
        return None if wanted in passing else lambda row: bool(get(row) == wanted)

    return Filter({name: (kind | None, None)}, predicate)


def one_of(name: str, kind: Any, get: Callable[[RowT], Any]) -> Filter[RowT]:
    """Filters by membership in the values given. An empty list filters nothing."""
    return _among(name, kind, get, lambda given: given or ())


def member_of(
    name: str,
    kind: type[StrEnum],
    get: Callable[[RowT], Any],
    *,
    called: str = "state",
    no_value: Collection[str] = ("none",),
) -> Filter[RowT]:
    """Filters by enum members given by name; `no_value` are names for `None`. Problem 422 lists the members."""

    def read(given: list[str] | None) -> list[StrEnum | None]:
        try:
            return [None if one in no_value else kind(one) for one in given or ()]
        except ValueError as unknown:
            raise Problem(422, f"Invalid value for {called}. Valid values are {', '.join(kind)}") from unknown

    return _among(name, str, get, read)


def _among(name: str, kind: Any, get: Callable[[RowT], Any], read: Callable[[Any], Any]) -> Filter[RowT]:
    def predicate(query: Any, _: datetime | None) -> Callable[[RowT], bool] | None:
        wanted = frozenset(read(getattr(query, name)))
        return (lambda row: get(row) in wanted) if wanted else None

    return Filter({name: (list[kind] | None, None)}, predicate, read)


def search(
    name: str,
    get: Callable[[RowT], str | None],
    *,
    alternatives: bool = True,
    parameters: tuple[str, str] | None = None,
) -> Filter[RowT]:
    """Filters by a pattern (`<name>_pattern`, see `contains`) and by a prefix (`<name>_prefix_pattern`, see
    `starts_with`)."""
    by_pattern, by_prefix = parameters or (f"{name}_pattern", f"{name}_prefix_pattern")

    def predicate(query: Any, _: datetime | None) -> Callable[[RowT], bool] | None:
        pattern, prefix = getattr(query, by_pattern), getattr(query, by_prefix)
        if pattern is None and prefix is None:
            return None

        def passes(row: RowT) -> bool:
            value = get(row)
            return contains(value, pattern, alternatives=alternatives) and starts_with(
                value, prefix, alternatives=alternatives
            )

        return passes

    return Filter({by_pattern: (str | None, None), by_prefix: (str | None, None)}, predicate)


def between(name: str, kind: Any, get: Callable[[RowT], Any], *, missing_is_now: bool = False) -> Filter[RowT]:
    """Filters by four bounds: `<name>_gte`, `_gt`, `_lte`, `_lt`, see `within`."""
    fields = bounds(name, kind)

    def predicate(query: Any, now: datetime | None) -> Callable[[RowT], bool] | None:
        if not any(getattr(query, field) for field in fields):
            return None
        missing_is = now if missing_is_now else None
        return lambda row: within(query, name, get(row), missing_is=missing_is)

    return Filter(fields, predicate)


def where(name: str, kind: Any, test: Callable[[RowT, Any], bool], *, default: Any = None) -> Filter[RowT]:
    """Filters by a test of the row and the value given; `None` filters nothing."""

    def predicate(query: Any, _: datetime | None) -> Callable[[RowT], bool] | None:
        given = getattr(query, name)
        return None if given is None else lambda row: test(row, given)

    return Filter({name: (kind | None, None) if default is None else (kind, default)}, predicate)


RUN_KEYS: Final = Filters[DagRunKey](
    search("dag_id", lambda key: key.dag_id),
    search("run_id", lambda key: key.run_id),
)
"""For lists of runs and of their parts."""


# --- text -------------------------------------------------------------------------------------------------------------


def contains(value: str | None, pattern: str | None, *, alternatives: bool = True) -> bool:
    """A `…_pattern`: case-insensitive substring with SQL's wildcards `%` and `_`, which a backslash takes literally;
    `a|b` is either; `~` is all.

    `None` as pattern lets everything pass."""
    if pattern is None:
        return True
    if value is None:
        return False
    found_in = folded(value)
    return any(_holds(found_in, term) for term in _terms(folded("%" if pattern == "~" else pattern), alternatives))


def starts_with(value: str | None, prefix: str | None, *, alternatives: bool = True) -> bool:
    """A `…_prefix_pattern`: case-sensitive; characters at the prefix's end that are not alphanumeric are ignored."""
    if prefix is None:
        return True
    if value is None:
        return False
    return any(value.startswith(_strip_end(term)) for term in _terms("" if prefix == "~" else prefix, alternatives))


def holds(value: str, literal: str) -> bool:
    """Case-insensitive substring, without wildcards."""
    return literal.casefold() in value.casefold()


@lru_cache(maxsize=64)
def _terms(pattern: str, alternatives: bool) -> Sequence[str]:
    if alternatives and "|" in pattern:
        return tuple(dict.fromkeys(term.strip() for term in pattern.split("|") if term.strip())) or (pattern,)
    return (pattern,)


def _holds(value: str, term: str) -> bool:
    return term in value if SPECIAL.isdisjoint(term) else _like(term).matches(value)


@lru_cache(maxsize=64)
def _like(term: str) -> Like:
    return Like(f"%{term}%")


def _strip_end(term: str) -> str:
    while term and not term[-1].isalnum():
        term = term[:-1]
    return term


# --- ranges -----------------------------------------------------------------------------------------------------------

_BOUNDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gte": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "lte": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
}


def bounds(name: str, kind: Any) -> dict[str, tuple[Any, Any]]:
    """Four optional parameters: `<name>_gte`, `_gt`, `_lte`, `_lt`."""
    return {f"{name}_{bound}": (kind | None, None) for bound in _BOUNDS}


def within(query: BaseModel, name: str, value: Any, *, missing_is: datetime | None = None) -> bool:
    """Whether the value is within the query's bounds for `name`.

    `None` is outside of any bound. With `missing_is` it is within every lower bound, and counts as that moment for
    upper bounds: an instance that has not started or ended yet, as in Airflow."""
    for bound, keeps in _BOUNDS.items():
        limit = getattr(query, f"{name}_{bound}")
        if not limit:  # a bound of 0 bounds nothing in Airflow
            continue
        if isinstance(limit, datetime):
            limit = limit if limit.tzinfo else limit.replace(tzinfo=UTC)
        if value is not None:
            if not keeps(value, limit):
                return False
        elif missing_is is None or (bound.startswith("l") and not keeps(missing_is, limit)):
            return False
    return True
