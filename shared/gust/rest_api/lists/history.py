"""Lists of runs and task instances that may be years long: what is read of them for a page.

A short history is read whole, filtered and sorted. Of a long one as much is read as the page needs:

- in order of `run_after` (or `id`, for which it stands) the runs are walked by an index until the page is full;
- runs in states that end, and instances in states of runs that have not ended, are looked for among the unfinished runs,
  all of which an index holds; failed instances have a place of their own in one;
- any other order is made among the newest: `SORTED` runs, or the instances of `SORTED_PARTITIONS`.

docs/lists.md says what each costs.
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
"""Runs that are all read for a page of them."""
SORTED: Final = 500
"""Runs among which a page is sorted where no index has its order."""
PATIENCE: Final = 1000
"""Runs that are read in vain for a page by cursor."""
UNFINISHED: Final = 1000
"""Runs that are looked through where only unfinished ones are asked for."""
SHORT_PARTITIONS: Final = 20
SORTED_PARTITIONS: Final = 50
"""The same of runs whose instances are listed."""
FAILURES: Final = 500
"""Failed instances that are read for a page, or twice as many as it goes back to by offset. By cursor, a page behind them is
looked for run by run."""
FAILURES_AT_ONCE: Final = 100
COUNTED: Final = 1000
COUNTED_ROWS: Final = 100
"""What is counted behind a page, by keys and where rows have to be read: the last number of a long list would cost more than
the page."""
AT_ONCE: Final = 16
"""Partitions."""

_EVER: Final = datetime.max.replace(tzinfo=UTC)
_ENDED: Final = frozenset({DagRunState.SUCCESS, DagRunState.FAILED})


@dataclass(frozen=True, slots=True)
class RunSelection:
    """The runs that a list shows, as far as their keys and their `run_after` tell."""

    dag_id: str | None = None
    window: Window = NEWEST_FIRST
    """Of `run_after`."""
    wants_key: Callable[[DagRunKey], bool] | None = None
    only_failed: bool = False

    @staticmethod
    def of(query: Any, dag_id: str | None, wants_key: Callable[[DagRunKey], bool] | None = None) -> RunSelection:
        """With the bounds that the query has for `run_after`."""
        return RunSelection(dag_id, window_of(query, "run_after"), wants_key)

    @property
    def is_all_of_dags(self) -> bool:
        return self.window.is_unbounded and self.wants_key is None

    def keys(self, services: Services, *, ascending: bool) -> Iterator[DagRunKey]:
        store, window = services.store, self.window.read(ascending=ascending)
        found: Iterator[tuple[datetime, DagRunKey]]
        if self.only_failed:
            of_all = store.walk_failed_runs(window)
            found = filter(lambda one: self.dag_id in (None, one[1].dag_id), of_all)
        else:
            found = store.walk_runs(self.dag_id, window)
        return (key for _, key in found if self.wants_key is None or self.wants_key(key))

    def behind(self, position: Position, run_after: Any, *, ascending: bool) -> RunSelection:
        """From the position's run on, the way the walk goes."""
        if position.at is None:
            return self
        if (moment := _moment_of(run_after)) is None:
            return self
        window = self.window.narrowed(first=moment) if ascending else self.window.narrowed(last=moment)
        return replace(self, window=window)

    def unfinished(self, services: Services) -> list[DagRunKey] | None:
        """`None`: too many to be looked through."""
        due = [key for key, _ in services.store.due_runs(_EVER) if self.dag_id in (None, key.dag_id)]
        wanted = [key for key in due if self.wants_key is None or self.wants_key(key)]
        return wanted if len(wanted) <= UNFINISHED else None


def page_of_runs(
    services: Services,
    selection: RunSelection,
    wants: Callable[[DagRun], bool],
    order: Order[DagRun],
    *,
    by_time: bool,
    limit: int,
    offset: int,
    cursor: str | None = None,
    most: int | None = MAXIMUM_LIMIT,
    states: Collection[DagRunState | None] = (),
    wants_all_of_states: bool = False,
) -> Page[DagRun]:
    """`wants` includes the states; `wants_all_of_states`: it asks for nothing else. `by_time`: the order is the index's."""
    backwards = selection.keys(services, ascending=False)
    newest = list(islice(backwards, (SHORT if by_time else SORTED) + 1))
    is_short = len(newest) <= SHORT
    if not is_short and states and not _ENDED & set(states) and (keys := selection.unfinished(services)) is not None:
        found = [run for run in services.store.get_runs(keys) if wants(run)]
        return page(found, order, limit=limit, offset=offset, cursor=cursor, most=most)
    if is_short or not by_time:
        found = [run for run in services.store.get_runs(newest[:SORTED]) if wants(run)]
        listed = page(found, order, limit=limit, offset=offset, cursor=cursor, most=most)
        return listed if len(newest) <= SORTED else at_least(listed)

    if set(states) == {DagRunState.FAILED}:
        selection = replace(selection, only_failed=True)

    def total() -> int | None:
        is_dear = selection.dag_id is None and cursor is not None
        return count_of_runs(services, selection, states) if wants_all_of_states and not is_dear else None

    position = Position.of(cursor)
    ascending = order.key_descends == position.backward
    from_there = selection.behind(position, position.at and position.at[0], ascending=ascending)
    is_begun = not ascending and position.at is None and not selection.only_failed
    keys_of_it = chain(newest, backwards) if is_begun else from_there.keys(services, ascending=ascending)
    limit = limit if most is None else min(limit, most)
    skipped = offset if cursor is None and wants_all_of_states and not states else 0
    rows = in_parts(services.store.get_runs, islice(keys_of_it, skipped, None), first=offset - skipped + limit + 1)
    walk = Walk(rows, wants, patience=None if cursor is None else PATIENCE)
    offset = 0 if cursor is not None else offset
    return walked_page(walk, order, position, limit=limit, offset=offset - skipped, total=total, skipped=skipped)


# --- task instances ---------------------------------------------------------------------------------------------------


class Direction(Enum):
    """How the order of a list of instances goes through the runs."""

    FORWARD = auto()
    BACKWARD = auto()
    UNMAPPED_FIRST = auto()
    """By map index: -1 comes first, and of those the oldest run's; all others follow on the last page of them."""
    NONE = auto()


def page_of_instances(
    services: Services,
    selection: RunSelection,
    wants: Callable[[InstanceView], bool],
    order: Order[InstanceView],
    *,
    direction: Direction,
    limit: int,
    offset: int,
    cursor: str | None = None,
    most: int | None = MAXIMUM_LIMIT,
    states: Collection[TaskInstanceState | None] = (),
    look_at: Callable[[ShownRun], None] = lambda _: None,
    by_failure: bool = True,
) -> Page[InstanceView]:
    """Of many runs. `wants` includes the states; `look_at` is told of each run before its instances are asked for, unless
    only failures are wanted and may be found without their runs (`by_failure`)."""

    def views(keys: Iterable[DagRunKey]) -> Iterator[InstanceView]:
        for state in services.store.load_runs(list(keys)):
            view = view_of(services, state)
            look_at(view)
            yield from view.instances

    def sorted_page(found: Iterable[InstanceView], *, is_all: bool) -> Page[InstanceView]:
        listed = page(filter(wants, found), order, limit=limit, offset=offset, cursor=cursor, most=most)
        return listed if is_all else at_least(listed)

    probe = SORTED_PARTITIONS if direction is Direction.NONE else SHORT_PARTITIONS
    keys = list(islice(selection.keys(services, ascending=False), probe + 1))
    if len(keys) <= SHORT_PARTITIONS:
        return sorted_page(views(keys), is_all=True)
    only_of_unfinished = bool(states) and None not in states and not FINISHED & set(states)
    if only_of_unfinished and (unfinished := selection.unfinished(services)) is not None:
        return sorted_page(views(unfinished), is_all=True)
    position = Position.of(cursor)
    limit_of_page = limit if most is None else min(limit, most)
    if by_failure and set(states) == {TaskInstanceState.FAILED}:
        enough = limit_of_page + (0 if cursor else offset)

        def is_certain(found: list[InstanceView], oldest: datetime) -> bool:
            """An instance fails after its run's `run_after`: none that failed before can be of a later run."""
            if direction is not Direction.BACKWARD:
                return False
            if position.at and position.backward:
                place = _moment_of(position.at[0])
                return place is not None and place > oldest
            known = (view for view in found if view.run.run_after > oldest)
            return sum(position.is_behind(order, view) for view in known) > enough

        failed, saw_all, certain = _failures(services, selection, wants, is_certain, most=max(FAILURES, 2 * enough))
        if saw_all or certain or cursor is None or direction is not Direction.BACKWARD:
            return sorted_page(failed, is_all=saw_all)
    if direction is Direction.NONE:
        return sorted_page(views(keys[:SORTED_PARTITIONS]), is_all=len(keys) <= SORTED_PARTITIONS)

    ascending = order.key_descends == position.backward

    def instances(keys: Iterator[DagRunKey], *, mapped: bool | None = None) -> Iterator[InstanceView]:
        """In the walk's order; `mapped`: of those alone that are, or are not."""
        for view in in_parts(load_views, keys, first=4, most=AT_ONCE):
            look_at(view)
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

    walk = Walk(rows(), wants, patience=None if cursor is None else PATIENCE)
    return walked_page(walk, order, position, limit=limit_of_page, offset=0 if cursor is not None else offset)


def _sorted_when_asked(order: Order[T], rows: Callable[[], Iterable[T]]) -> Iterator[T]:
    yield from order.sort(rows())


def _failures(
    services: Services,
    selection: RunSelection,
    wants: Callable[[InstanceView], bool],
    is_enough: Callable[[list[InstanceView], datetime], bool],
    *,
    most: int,
) -> tuple[list[InstanceView], bool, bool]:
    """Failed instances, those first that failed last; whether these are all, and whether they are enough, as is asked
    after each part with the moment when its last one failed. No more than `most` are read."""
    found: list[InstanceView] = []
    walk = services.store.walk_failed_instances(Window(selection.window.first, ascending=False))
    read = 0
    while part := list(islice(walk, FAILURES_AT_ONCE)):
        keys = [
            key
            for _, key in part
            if selection.dag_id in (None, key.dag_id) and (selection.wants_key is None or selection.wants_key(key.run))
        ]
        found += [view for view in views_of(services, keys) if wants(view)]
        read += len(part)
        if is_enough(found, part[-1][0]):
            return found, False, True
        if read >= most:
            return found, next(walk, None) is None, False
    return found, True, False


def views_of(services: Services, keys: list[TaskInstanceKey]) -> list[InstanceView]:
    """Each without its run's partition."""
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
    wants: Callable[[T], bool],
    order: Order[T],
    *,
    limit: int,
    offset: int,
    total: Callable[[], int | None] = lambda: None,
    counted: int = COUNTED_ROWS,
) -> Page[T]:
    """A page by offset of rows that come in its order, read until it is full. Where `total` does not know how many there
    are, they are counted among the next so many rows: there are as many at least."""
    limit = min(limit, MAXIMUM_LIMIT)

    def total_or_more() -> int:
        known = total()
        return known if known is not None else offset + limit + 1 + sum(map(wants, islice(rows, counted)))

    walk = Walk(rows, wants, patience=None)
    return walked_page(walk, order, Position.of(None), limit=limit, offset=offset, total=total_or_more)


# --- reading as far as is asked for -----------------------------------------------------------------------------------


def in_parts(
    read: Callable[[list[KeyT]], Iterable[T]], keys: Iterator[KeyT], *, first: int, most: int = 400
) -> Iterator[T]:
    """What is read of the keys: first as many as a page may need, then more at a time, as long as more is asked for."""
    size = max(min(first, most), 1)
    while part := list(islice(keys, size)):
        yield from read(part)
        size = min(2 * size, most)


def count_of_runs(
    services: Services, selection: RunSelection, states: Collection[DagRunState | None] = ()
) -> int | None:
    """How many runs the DAGs have in the states, or in any: those that ended are counted by their DAGs. `None` where
    counting would mean reading them."""
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
    """Of a cursor, which may be anybody's."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def at_least(listed: Page[T]) -> Page[T]:
    """There may be more than those among which it was sorted."""
    return replace(listed, total_entries_limit=listed.total_entries)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment
