"""Pages of run and instance lists that may span years, and how much each page reads.

A short history is read whole, filtered and sorted. A long one is read as far as the page needs:

- in order of `run_after` (or `id`, for which it stands) the runs are walked by an index until the page is full;
- runs in states that end, and instances in states of runs that have not ended, are found among the unfinished runs,
  which an index holds; another index holds failed instances;
- any other order is made among the newest: `SORTED` runs, or the instances of `SORTED_PARTITIONS`.

docs/lists.md lists the costs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from itertools import chain, islice
from typing import Any, Final, TypeVar

from gust.model.dag_run import DagRun
from gust.model.keys import UNMAPPED, DagRunKey, TaskInstanceKey
from gust.model.state import FINISHED, DagRunState, TaskInstanceState
from gust.model.window import NEWEST_FIRST, Window
from gust.rest_api.lists.filters import MAXIMUM_LIMIT
from gust.rest_api.lists.listing import Order, Page, Position, Walk, page, walked_page
from gust.rest_api.lists.shown_run import InstanceView, ShownRun, find_spec, view_of
from gust.services.context import Services

T = TypeVar("T")
KeyT = TypeVar("KeyT")

SHORT: Final = 100
"""A history of at most so many runs is read whole."""
SORTED: Final = 500
"""The newest runs, among which a page is sorted if no index has its order."""
PATIENCE: Final = 1000
"""Runs without a match that a page by cursor reads at most."""
UNFINISHED: Final = 1000
"""Unfinished runs that a page searches at most."""
SHORT_PARTITIONS: Final = 20
SORTED_PARTITIONS: Final = 50
"""SHORT and SORTED for lists of instances."""
FAILURES: Final = 500
"""Failed instances that a page reads, or twice its offset if that is more. A page by cursor beyond them is read run by
run."""
FAILURES_AT_ONCE: Final = 100
COUNTED: Final = 1000
COUNTED_ROWS: Final = 100
"""Rows that are counted after a page, by key or by reading them: an exact total of a long list would cost more than the
page."""
AT_ONCE: Final = 16
"""Partitions that are read at once."""

_EVER: Final = datetime.max.replace(tzinfo=UTC)
_ENDED: Final = frozenset({DagRunState.SUCCESS, DagRunState.FAILED})


@dataclass(frozen=True, slots=True)
class RunSelection:
    """The runs that a list shows, as far as their keys and their `run_after` tell."""

    dag_id: str | None = None
    window: Window = NEWEST_FIRST
    """Bounds of `run_after`."""
    key_matches: Callable[[DagRunKey], bool] | None = None
    only_failed: bool = False

    @staticmethod
    def of(query: Any, dag_id: str | None, key_matches: Callable[[DagRunKey], bool] | None = None) -> RunSelection:
        """The runs of the DAG, or of all, within the query's bounds for `run_after`."""
        return RunSelection(dag_id, window_of(query, "run_after"), key_matches)

    @property
    def is_all_of_dags(self) -> bool:
        return self.window.is_unbounded and self.key_matches is None

    def keys(self, services: Services, *, ascending: bool) -> Iterator[DagRunKey]:
        store, window = services.store, self.window.read(ascending=ascending)
        found: Iterator[tuple[datetime, DagRunKey]]
        if self.only_failed:
            of_all = store.walk_failed_runs(window)
            found = filter(lambda one: self.dag_id in (None, one[1].dag_id), of_all)
        else:
            found = store.walk_runs(self.dag_id, window)
        return (key for _, key in found if self.key_matches is None or self.key_matches(key))

    def behind(self, position: Position, run_after: Any, *, ascending: bool) -> RunSelection:
        """The runs from the position on, in the direction of the walk."""
        if position.at is None:
            return self
        if (moment := _moment_of(run_after)) is None:
            return self
        window = self.window.narrowed(first=moment) if ascending else self.window.narrowed(last=moment)
        return replace(self, window=window)

    def unfinished(self, services: Services) -> list[DagRunKey] | None:
        """Keys of the unfinished runs; `None` if there are too many to search."""
        due = [key for key, _ in services.store.due_runs(_EVER) if self.dag_id in (None, key.dag_id)]
        wanted = [key for key in due if self.key_matches is None or self.key_matches(key)]
        return wanted if len(wanted) <= UNFINISHED else None


def page_of_runs(
    services: Services,
    selection: RunSelection,
    matches: Callable[[DagRun], bool],
    order: Order[DagRun],
    *,
    by_time: bool,
    limit: int,
    offset: int,
    cursor: str | None = None,
    maximum: int | None = MAXIMUM_LIMIT,
    states: Collection[DagRunState | None] = (),
    filters_states_only: bool = False,
) -> Page[DagRun]:
    """`matches` includes the states; `filters_states_only`: nothing else filters. `by_time`: the index has the
    order."""
    backwards = selection.keys(services, ascending=False)
    newest = list(islice(backwards, (SHORT if by_time else SORTED) + 1))
    is_short = len(newest) <= SHORT
    if not is_short and states and not _ENDED & set(states) and (keys := selection.unfinished(services)) is not None:
        found = [run for run in services.store.get_runs(keys) if matches(run)]
        return page(found, order, limit=limit, offset=offset, cursor=cursor, maximum=maximum)
    if is_short or not by_time:
        found = [run for run in services.store.get_runs(newest[:SORTED]) if matches(run)]
        listed = page(found, order, limit=limit, offset=offset, cursor=cursor, maximum=maximum)
        return listed if len(newest) <= SORTED else at_least(listed)

    if set(states) == {DagRunState.FAILED}:
        selection = replace(selection, only_failed=True)

    def total() -> int | None:
        is_dear = selection.dag_id is None and cursor is not None
        return count_of_runs(services, selection, states) if filters_states_only and not is_dear else None

    position = Position.of(cursor)
    ascending = order.key_descends == position.backward
    from_there = selection.behind(position, position.at and position.at[0], ascending=ascending)
    is_begun = not ascending and position.at is None and not selection.only_failed
    keys_of_it = chain(newest, backwards) if is_begun else from_there.keys(services, ascending=ascending)
    limit = limit if maximum is None else min(limit, maximum)
    skipped = offset if cursor is None and filters_states_only and not states else 0
    rows = in_parts(services.store.get_runs, islice(keys_of_it, skipped, None), first=offset - skipped + limit + 1)
    walk = Walk(rows, matches, patience=None if cursor is None else PATIENCE)
    offset = 0 if cursor is not None else offset
    return walked_page(walk, order, position, limit=limit, offset=offset - skipped, total=total, skipped=skipped)


# --- task instances ---------------------------------------------------------------------------------------------------


class Direction(Enum):
    """The direction in which an order of instances passes the runs."""

    FORWARD = auto()
    BACKWARD = auto()
    UNMAPPED_FIRST = auto()
    """By map index: unmapped instances first, from the oldest run on; the mapped ones follow."""
    NONE = auto()


def page_of_instances(
    services: Services,
    selection: RunSelection,
    matches: Callable[[InstanceView], bool],
    order: Order[InstanceView],
    *,
    direction: Direction,
    limit: int,
    offset: int,
    cursor: str | None = None,
    maximum: int | None = MAXIMUM_LIMIT,
    states: Collection[TaskInstanceState | None] = (),
    on_run: Callable[[ShownRun], None] = lambda _: None,
    by_failure: bool = True,
) -> Page[InstanceView]:
    """A page of the instances of many runs. `matches` includes the states. `on_run` is called with each run before its
    instances are filtered; not for failures that are found without their runs (`by_failure`)."""

    def views(keys: Iterable[DagRunKey]) -> Iterator[InstanceView]:
        for state in services.store.load_runs(list(keys)):
            view = view_of(services, state)
            on_run(view)
            yield from view.instances

    def sorted_page(found: Iterable[InstanceView], *, is_all: bool) -> Page[InstanceView]:
        listed = page(filter(matches, found), order, limit=limit, offset=offset, cursor=cursor, maximum=maximum)
        return listed if is_all else at_least(listed)

    probe = SORTED_PARTITIONS if direction is Direction.NONE else SHORT_PARTITIONS
    keys = list(islice(selection.keys(services, ascending=False), probe + 1))
    if len(keys) <= SHORT_PARTITIONS:
        return sorted_page(views(keys), is_all=True)
    only_of_unfinished = bool(states) and None not in states and not FINISHED & set(states)
    if only_of_unfinished and (unfinished := selection.unfinished(services)) is not None:
        return sorted_page(views(unfinished), is_all=True)
    position = Position.of(cursor)
    limit_of_page = limit if maximum is None else min(limit, maximum)
    if by_failure and set(states) == {TaskInstanceState.FAILED}:
        enough = limit_of_page + (0 if cursor else offset)

        def is_certain(found: list[InstanceView], oldest: datetime) -> bool:
            """An instance fails after its run's `run_after`: earlier failures are not of a later run."""
            if direction is not Direction.BACKWARD:
                return False
            if position.at and position.backward:
                place = _moment_of(position.at[0])
                return place is not None and place > oldest
            known = (view for view in found if view.run.run_after > oldest)
            return sum(position.is_behind(order, view) for view in known) > enough

        failed, saw_all, certain = _failures(
            services, selection, matches, is_certain, maximum=max(FAILURES, 2 * enough)
        )
        if saw_all or certain or cursor is None or direction is not Direction.BACKWARD:
            return sorted_page(failed, is_all=saw_all)
    if direction is Direction.NONE:
        return sorted_page(views(keys[:SORTED_PARTITIONS]), is_all=len(keys) <= SORTED_PARTITIONS)

    ascending = order.key_descends == position.backward

    def instances(keys: Iterator[DagRunKey], *, mapped: bool | None = None) -> Iterator[InstanceView]:
        """Instances in the walk's order; `mapped`: only mapped, or only unmapped ones."""
        for view in in_parts(load_views, keys, first=4, largest=AT_ONCE):
            on_run(view)
            in_order = order.sort(view.instances)
            for found in reversed(in_order) if position.backward else in_order:
                if mapped is None or mapped == (found.instance.map_index != UNMAPPED):
                    yield found

    def load_views(part: list[DagRunKey]) -> list[ShownRun]:
        return [view_of(services, state) for state in services.store.load_runs(part)]

    def rows() -> Iterator[InstanceView]:
        if direction is not Direction.UNMAPPED_FIRST:
            from_there = selection.behind(position, position.at and position.at[0], ascending=ascending)
            return instances(from_there.keys(services, ascending=ascending))
        is_among_unmapped = position.at is None or position.at[0] == UNMAPPED
        place = position.at[1] if is_among_unmapped and position.at and len(position.at) > 1 else None
        from_there = selection.behind(position, place, ascending=ascending)
        unmapped = instances(from_there.keys(services, ascending=ascending), mapped=False)
        if position.backward and is_among_unmapped:
            return unmapped
        mapped = _sorted_when_asked(order, lambda: instances(selection.keys(services, ascending=True), mapped=True))
        if position.backward:
            return chain(reversed(list(mapped)), unmapped)
        return chain(unmapped, mapped) if is_among_unmapped else mapped

    walk = Walk(rows(), matches, patience=None if cursor is None else PATIENCE)
    return walked_page(walk, order, position, limit=limit_of_page, offset=0 if cursor is not None else offset)


def _sorted_when_asked(order: Order[T], rows: Callable[[], Iterable[T]]) -> Iterator[T]:
    yield from order.sort(rows())


def _failures(
    services: Services,
    selection: RunSelection,
    matches: Callable[[InstanceView], bool],
    is_enough: Callable[[list[InstanceView], datetime], bool],
    *,
    maximum: int,
) -> tuple[list[InstanceView], bool, bool]:
    """Failed instances, the latest failure first; whether these are all; whether they are enough. `is_enough` is called
    after each part with the time of its last failure. Reads at most `maximum`."""
    found: list[InstanceView] = []
    walk = services.store.walk_failed_instances(Window(selection.window.first, ascending=False))
    read = 0
    while part := list(islice(walk, FAILURES_AT_ONCE)):
        keys = [
            key
            for _, key in part
            if selection.dag_id in (None, key.dag_id)
            and (selection.key_matches is None or selection.key_matches(key.run))
        ]
        found += [view for view in views_of(services, keys) if matches(view)]
        read += len(part)
        if is_enough(found, part[-1][0]):
            return found, False, True
        if read >= maximum:
            return found, next(walk, None) is None, False
    return found, True, False


def views_of(services: Services, keys: list[TaskInstanceKey]) -> list[InstanceView]:
    """The instances, read by key without their runs' partitions."""
    instances = services.store.get_instances(keys)
    runs = {run.key: run for run in services.store.get_runs(list({instance.key.run: None for instance in instances}))}
    views = []
    for instance in instances:
        if (run := runs.get(instance.key.run)) is None:
            continue
        spec = find_spec(services, run)
        task = spec.tasks.get(instance.task_id) if spec else None
        place = list(spec.tasks).index(instance.task_id) if spec and task else len(spec.tasks) if spec else 0
        views.append(InstanceView(run, instance, task, place))
    return views


# --- what else is long ------------------------------------------------------------------------------------------------


def window_of(query: Any, name: str) -> Window:
    """The window of the query's filters on the named moment, newest first. It includes the bounds of `_gt` and `_lt`, which
    the filter itself excludes."""
    lower = [bound for kind in ("gte", "gt") if (bound := _utc(getattr(query, f"{name}_{kind}")))]
    upper = [bound for kind in ("lte", "lt") if (bound := _utc(getattr(query, f"{name}_{kind}")))]
    return Window(max(lower, default=None), min(upper, default=None), ascending=False)


def page_of_walk(
    rows: Iterator[T],
    matches: Callable[[T], bool],
    order: Order[T],
    *,
    limit: int,
    offset: int,
    total: Callable[[], int | None] = lambda: None,
    counted: int = COUNTED_ROWS,
) -> Page[T]:
    """A page by offset of rows that come in its order, read until it is full. If `total` returns `None`, the total is a
    minimum, from the matches among the next `counted` rows."""
    limit = min(limit, MAXIMUM_LIMIT)

    def total_or_more() -> int:
        known = total()
        return known if known is not None else offset + limit + 1 + sum(map(matches, islice(rows, counted)))

    walk = Walk(rows, matches, patience=None)
    return walked_page(walk, order, Position.of(None), limit=limit, offset=offset, total=total_or_more)


# --- reading in parts -------------------------------------------------------------------------------------------------


def in_parts(
    read: Callable[[list[KeyT]], Iterable[T]], keys: Iterator[KeyT], *, first: int, largest: int = 400
) -> Iterator[T]:
    """Reads the keys in parts that grow from `first` to `largest`, as far as the caller iterates."""
    size = max(min(first, largest), 1)
    while part := list(islice(keys, size)):
        yield from read(part)
        size = min(2 * size, largest)


def count_of_runs(
    services: Services, selection: RunSelection, states: Collection[DagRunState | None] = ()
) -> int | None:
    """The number of runs in the states, or in any state, from the DAGs' counters and the unfinished runs. `None` if the
    runs would have to be read."""
    if not selection.is_all_of_dags:
        return None
    unfinished = selection.unfinished(services)
    if unfinished is None:
        return None
    wanted = set(states) or set(DagRunState)
    dags = services.store.list_dags() if selection.dag_id is None else [services.store.get_dag(selection.dag_id)]
    ended = sum(
        (DagRunState.SUCCESS in wanted) * dag.success_runs + (DagRunState.FAILED in wanted) * dag.failed_runs
        for dag in dags
        if dag is not None
    )
    if not wanted - _ENDED:
        return ended
    known = services.store.get_runs(unfinished)
    return ended + sum(run.state in wanted and not run.is_finished for run in known)


def _moment_of(value: Any) -> datetime | None:
    """The moment in a cursor, which a caller may have made up; `None` if it is none."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def at_least(listed: Page[T]) -> Page[T]:
    """Marks the total as a minimum: the list may be longer than the part that was sorted."""
    return replace(listed, total_entries_limit=listed.total_entries)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment
