"""`/ui/grid`: a DAG's tasks as rows, its runs as columns, and the squares as a line of JSON per run."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from pydantic import NonNegativeInt

from gust.http.answer import Answer, Json, Problem, not_found
from gust.http.check import Query
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import TaskGroupSpec, TaskSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunType, TaskInstanceState
from gust.rest_api.http.request import Request, encode
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.filters import (
    Elsewhere,
    Filters,
    ListQuery,
    between,
    member_of,
    query_of,
    search,
)
from gust.rest_api.lists.history import SORTED
from gust.rest_api.lists.listing import Ordering, named, page
from gust.rest_api.lists.many import many
from gust.rest_api.lists.shown_run import InstanceView, ShownRun, find_spec, load_view
from gust.rest_api.public.dag_run import versions_reader
from gust.rest_api.public.deadlines import is_missed
from gust.rest_api.ui.dags import without_nulls
from gust.rest_api.ui.serialized import load_serialized
from gust.rest_api.ui.shape import Shape, setup_or_teardown, shown_name
from gust.services.context import Services
from gust.services.runs.public_form import dag_version_fields
from gust.services.specs import load_spec

LOOKED_THROUGH: Final = 10_000
"""The newest runs, which the filters are applied to."""

# --- columns ----------------------------------------------------------------------------------------------------------


FILTERS: Final = Filters[DagRun](
    member_of("state", DagRunState, lambda r: r.state),
    member_of("run_type", DagRunType, lambda r: r.run_type, called="run type"),
    search(
        "triggering_user",
        lambda r: r.triggering_user_name,
        parameters=("triggering_user", "triggering_user_prefix"),
    ),
    between("run_after", datetime, lambda r: r.run_after),
)
OF_ROWS: Final = Elsewhere("chooses the tasks, not the runs")


class _StructureQuery(ListQuery):
    include_upstream: Annotated[bool, OF_ROWS] = False
    include_downstream: Annotated[bool, OF_ROWS] = False
    depth: Annotated[NonNegativeInt | None, OF_ROWS] = None
    root: Annotated[str | None, OF_ROWS] = None


GridQuery: Final = query_of(ListQuery, FILTERS)
StructureQuery: Final = query_of(_StructureQuery, FILTERS)

ORDERING: Final = Ordering[DagRun](
    attributes={
        **named("run_after", "logical_date", "start_date", "end_date"),
    },
    key=lambda r: (r.queued_at, r.run_id),
)
OWN_ORDER: Final = Ordering[DagRun](
    attributes={"data_interval_end": lambda r: r.data_interval_end, "logical_date": lambda r: r.logical_date},
    key=ORDERING.key,
)
"""The timetable's order, used without `order_by`."""


def _check(query: ListQuery) -> None:
    """Raises Problem 400 for a wrong order, whether the DAG exists or not."""
    if query.order_by not in ([], ["id"]):
        ORDERING.resolve(query.order_by)


def _runs_shown(services: Services, dag: Dag, query: ListQuery) -> list[DagRun]:
    """The page of runs. The UI requests the newest, which are read until the page is full; any other order is made
    among the newest."""
    wanted = FILTERS.matches(query)
    if query.order_by == ["-run_after"]:
        return _newest(services, dag.dag_id, wanted, query.offset, query.limit)
    if query.order_by in ([], ["id"]):
        spec = load_spec(services.objects, dag.spec_key)
        by_assets = spec.timetable.type.rpartition(".")[2] in ("AssetTriggeredTimetable", "PartitionedAssetTimetable")
        order = OWN_ORDER.resolve(["logical_date"] if by_assets else ["data_interval_end", "logical_date"])
    else:
        order = ORDERING.resolve(query.order_by)
    runs = [run for run in services.store.list_runs(dag.dag_id, limit=SORTED) if wanted(run)]
    return page(runs, order, limit=query.limit, offset=query.offset).rows


def _newest(services: Services, dag_id: str, wanted: Callable[[DagRun], bool], offset: int, limit: int) -> list[DagRun]:
    end = offset + min(limit, 100)
    size = min(max(end, 10), LOOKED_THROUGH)
    while True:
        runs = services.store.list_runs(dag_id, limit=size)
        found = [run for run in runs if wanted(run)]
        if len(found) >= end or len(runs) < size or size == LOOKED_THROUGH:
            return found[offset:end]
        size = min(4 * size, LOOKED_THROUGH)


@ui_operation("get_grid_runs")
def get_grid_runs(services: Services, request: Request) -> Answer:
    query = request.query(GridQuery)
    dag = services.store.get_dag(request.path["dag_id"])
    _check(query)
    if dag is None:
        if query.order_by not in ([], ["id"]):
            return Answer(body=[])
        raise _no_dag(request)
    runs = _runs_shown(services, dag, query)
    version_of = versions_reader(services)
    missed = many.map(lambda run: _has_missed_deadline(services, run), runs)
    return Answer(
        body=[
            without_nulls(
                {
                    "dag_id": run.dag_id,
                    "run_id": run.run_id,
                    "queued_at": run.queued_at,
                    "start_date": run.start_date,
                    "end_date": run.end_date,
                    "run_after": run.run_after,
                    "state": run.state.value,
                    "run_type": run.run_type.value,
                    "dag_versions": [
                        without_nulls(dag_version_fields(version))
                        for version in [version_of(run.dag_id, run.version_number)]
                        if version is not None
                    ],
                    "has_missed_deadline": has_missed,
                    "has_note": run.note is not None,
                    "duration": _so_far(run, request.now),
                }
            )
            for run, has_missed in zip(runs, missed, strict=True)
        ]
    )


def _has_missed_deadline(services: Services, run: DagRun) -> bool:
    """Reads the callbacks only if the run's DAG has deadlines."""
    spec = find_spec(services, run)
    if spec is None or not spec.deadline:
        return False
    return any(is_missed(callback) for callback in services.store.list_callbacks(run.key) if callback.alert_id)


def _so_far(run: DagRun, now: datetime) -> float:
    return ((run.end_date or now) - run.start_date).total_seconds() if run.start_date else 0


def _no_dag(request: Request) -> Problem:
    return not_found(f"Dag with id {request.path['dag_id']} was not found")


# --- rows -------------------------------------------------------------------------------------------------------------


@ui_operation("get_dag_structure")
def get_dag_structure(services: Services, request: Request) -> Answer:
    """Tasks of the newest version, then tasks that only older versions of the shown runs have."""
    query = request.query(StructureQuery)
    _check(query)
    dag = services.store.get_dag(request.path["dag_id"])
    if dag is None:
        raise _no_dag(request)
    version_of = versions_reader(services)
    older = {run.version_number for run in _runs_shown(services, dag, query)} - {dag.version_number}
    versions = [version_of(dag.dag_id, number) for number in sorted(older, reverse=True)]
    keys = [(dag.spec_key, dag.serialized_key), *((v.spec_key, v.serialized_key) for v in versions if v is not None)]
    rows: list[Json] = []
    for spec_key, serialized_key in keys:
        shape = Shape.of(
            load_spec(services.objects, spec_key),
            root=query.root,
            upstream=query.include_upstream,
            downstream=query.include_downstream,
            depth=query.depth,
        )
        merge_rows(rows, list(grid_rows(shape, load_serialized(services.objects, serialized_key).group_docs)))
    return Answer(body=rows)


def grid_rows(shape: Shape, docs: Mapping[str, str], group: TaskGroupSpec | None = None) -> Iterator[Json]:
    for child in shape.children(group):
        if isinstance(child, TaskSpec):
            yield without_nulls(
                {
                    "id": child.task_id,
                    "label": shown_name(shape, child),
                    "is_mapped": child.is_mapped or None,
                    "setup_teardown_type": setup_or_teardown(child),
                }
            )
            continue
        doc = docs.get(child.group_id)
        yield without_nulls(
            {
                "id": child.group_id,
                "label": child.display_name,
                "children": list(grid_rows(shape, docs, child)) or None,
                "is_mapped": (child.expansion is not None) or None,
                "doc_md": inspect.cleandoc(doc) if doc is not None else None,
            }
        )


def merge_rows(rows: list[Json], others: Iterable[Json]) -> None:
    """Adds rows of another version. If both have a row, the first one's stays; groups are merged."""
    known = {row["id"]: row for row in rows}
    for other in others:
        row = known.get(other["id"])
        if row is None:
            rows.append(other)
            known[other["id"]] = other
        elif "children" in row and "children" in other:
            merge_rows(row["children"], other["children"])


# --- squares ----------------------------------------------------------------------------------------------------------

PRIORITY: Final = (
    TaskInstanceState.FAILED,
    TaskInstanceState.UPSTREAM_FAILED,
    TaskInstanceState.UP_FOR_RETRY,
    TaskInstanceState.UP_FOR_RESCHEDULE,
    TaskInstanceState.RUNNING,
    TaskInstanceState.RESTARTING,
    TaskInstanceState.DEFERRED,
    TaskInstanceState.AWAITING_INPUT,
    TaskInstanceState.QUEUED,
    TaskInstanceState.SCHEDULED,
    None,
    TaskInstanceState.SUCCESS,
    TaskInstanceState.SKIPPED,
    TaskInstanceState.REMOVED,
)
"""Priority of states in a square of several instances."""


@dataclass
class Square:
    """The instances of a mapped task or of a group, in one square."""

    states: Counter[TaskInstanceState | None] = field(default_factory=Counter)
    starts: list[datetime] = field(default_factory=list)
    ends: list[datetime] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    has_note: bool = False

    def add(self, view: InstanceView) -> None:
        instance = view.instance
        self.states[instance.state] += 1
        self.starts += [instance.start_date] if instance.start_date else []
        self.ends += [instance.end_date] if instance.end_date else []
        self.versions.append(view.version_number)
        self.has_note = self.has_note or instance.note is not None

    def merge(self, other: Square) -> None:
        self.states.update(other.states)
        self.starts += other.starts
        self.ends += other.ends
        self.versions += other.versions
        self.has_note = self.has_note or other.has_note

    def row(self, task_id: str, name: str, *, counts: bool) -> Json:
        return {
            "task_id": task_id,
            "task_display_name": name,
            "state": next((state for state in PRIORITY if state in self.states), None),
            "child_states": {state or "none": n for state, n in self.states.items()} if counts else None,
            "min_start_date": min(self.starts, default=None),
            "max_end_date": max(self.ends, default=None),
            "dag_version_number": max(self.versions, default=None),
            "has_note": self.has_note,
        }


class RunIds(Query):
    run_ids: list[str] = []


@ui_operation("get_grid_ti_summaries_stream")
def get_grid_ti_summaries_stream(services: Services, request: Request) -> Answer:
    dag_id = request.path["dag_id"]
    run_ids = list(dict.fromkeys(request.query(RunIds).run_ids))
    views = many.map(lambda run_id: load_view(services, DagRunKey(dag_id, run_id)), run_ids)
    lines = [encode(summary) + "\n" for view in views if view is not None and (summary := summary_of(view)) is not None]
    return Answer(body="".join(lines), content_type="application/x-ndjson")


def summary_of(view: ShownRun) -> Json | None:
    """The line of a run; `None` for a run without instances."""
    squares: dict[str, Square] = {}
    for instance in sorted(view.instances, key=lambda v: v.instance.task_id):
        squares.setdefault(instance.instance.task_id, Square()).add(instance)
    if not squares:
        return None
    rows: list[Json] = []
    if view.spec is not None:
        _collect(Shape.of(view.spec), squares, None, rows)
    known = {row["task_id"] for row in rows}
    gone = [square.row(t, t, counts=False) for t, square in sorted(squares.items()) if t not in known]
    return {"run_id": view.run.run_id, "dag_id": view.run.dag_id, "task_instances": rows + gone}


def _collect(shape: Shape, squares: Mapping[str, Square], group: TaskGroupSpec | None, rows: list[Json]) -> Square:
    """Appends the rows of the group's children, a group after its children. Returns the group's square."""
    together = Square()
    for child in shape.children(group):
        if isinstance(child, TaskGroupSpec):
            square = _collect(shape, squares, child, rows)
            rows.append(square.row(child.group_id, child.group_id, counts=True))
        else:
            square = squares.get(child.task_id, Square())
            if child.expansion is not None and not square.states:
                square = Square(Counter({None: 1}))
            name = child.task_display_name or child.task_id
            rows.append(square.row(child.task_id, name, counts=child.expansion is not None))
        together.merge(square)
    return together
