"""Graph, grid and squares of random DAGs, compared with Airflow's own functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.api_fastapi.core_api.datamodels.ui.common import GridNodeResponse
from airflow.api_fastapi.core_api.datamodels.ui.grid import GridTISummaries
from airflow.api_fastapi.core_api.datamodels.ui.structure import StructureDataResponse
from airflow.api_fastapi.core_api.services.ui import grid as airflows_grid
from airflow.api_fastapi.core_api.services.ui.task_group import task_group_to_dict, task_group_to_dict_grid
from airflow.exceptions import AirflowDagCycleException
from airflow.sdk import DAG, BaseOperator, Label, TaskGroup
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.dag_edges import dag_edges
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gust.airflow_bridge.dag_spec import build_spec
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunState, DagRunType, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.rest_api.http.request import encode
from gust.rest_api.lists.shown_run import ShownRun
from gust.rest_api.ui.dashboard import NO_STATUS
from gust.rest_api.ui.grid import grid_rows, merge_rows, summary_of
from gust.rest_api.ui.serialized import read_serialized
from gust.rest_api.ui.shape import Shape
from gust.rest_api.ui.structure import edge, graph_nodes

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
CASES = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


class Work(BaseOperator):
    def __init__(self, value: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.value = value


@dataclass
class Scene:
    dag: Any
    serialized: dict[str, Any]
    spec: DagSpec


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    with DAG("dag", schedule=None) as authored:
        groups: list[TaskGroup] = []
        for i in range(draw(st.integers(0, 3))):
            parent = draw(st.sampled_from([None, *groups]))
            groups.append(draw_group(draw, f"g{i}", parent))
        tasks = [
            draw_task(draw, f"t{i}", draw(st.sampled_from([None, *groups]))) for i in range(draw(st.integers(1, 6)))
        ]
        connect(draw, tasks, groups)
    authored.relative_fileloc = "dag.py"
    serialized = json.loads(json.dumps(DagSerialization.to_dict(authored)))
    assume(is_acyclic(authored))
    dag = DagSerialization.from_dict(serialized)
    assume(groups_have_an_order(dag))
    spec, _ = build_spec(json.dumps(serialized), bundle_name="b")
    return Scene(dag, serialized["dag"], spec)


def is_acyclic(dag: Any) -> bool:
    try:
        dag.check_cycle()
    except AirflowDagCycleException:
        return False
    return True


def groups_have_an_order(dag: Any) -> bool:
    """Two groups may wait for each other through different tasks. Airflow's UI has no answer then; ours shows them."""
    try:
        for group in dag.task_group.get_task_group_dict().values():
            group.topological_sort()
    except ValueError:
        return False
    return True


def draw_group(draw: st.DrawFn, group_id: str, parent: TaskGroup | None) -> TaskGroup:
    common: dict[str, Any] = {
        "group_id": group_id,
        "parent_group": parent,
        "tooltip": draw(st.sampled_from(["", "what it does"])),
        "prefix_group_id": draw(st.booleans()),
        "group_display_name": draw(st.sampled_from(["", f"Group {group_id}"])),
    }
    if parent is None and draw(st.booleans()):
        return MappedTaskGroup(expand_input=DictOfListsExpandInput({"x": [1, 2]}), **common)
    return TaskGroup(doc_md=draw(st.sampled_from([None, "\n    # Doc\n    more"])), **common)


def draw_task(draw: st.DrawFn, task_id: str, group: TaskGroup | None) -> Any:
    inside = group
    while inside is not None and not isinstance(inside, MappedTaskGroup):
        inside = inside.parent_group
    kind = draw(st.sampled_from(["plain", "plain", "mapped", "setup", "teardown"])) if inside is None else "plain"
    common: dict[str, Any] = {"task_id": task_id, "task_group": group}
    if draw(st.booleans()):
        common["task_display_name"] = f"Task {task_id}"
    if kind == "mapped":
        return Work.partial(**common).expand(value=[1, 2, 3])
    task = Work(**common)
    return task.as_setup() if kind == "setup" else task.as_teardown() if kind == "teardown" else task


def connect(draw: st.DrawFn, tasks: list[Any], groups: list[TaskGroup]) -> None:
    """Edges between tasks, some with a label, and between groups and what comes after all of them."""
    for i, task in enumerate(tasks):
        for j in draw(st.sets(st.sampled_from(range(i)), max_size=2)) if i else ():
            if draw(st.booleans()):
                tasks[j] >> Label("because") >> task
            else:
                tasks[j] >> task
    for i, group in enumerate(groups):
        inside = {t for t in tasks if t.task_id in group.used_group_ids or _is_in(t, group)}
        outside = [t for t in tasks if t not in inside]
        places = {t.task_id: n for n, t in enumerate(tasks)}
        last = max((places[t.task_id] for t in inside), default=-1)
        first = min((places[t.task_id] for t in inside), default=-1)
        if not inside or not draw(st.booleans()):
            continue
        for task in outside:
            if places[task.task_id] > last and draw(st.booleans()):
                follow(group, task)
            elif places[task.task_id] < first and draw(st.booleans()):
                task >> group
        for other in groups[:i] + groups[i + 1 :]:
            theirs = [places[t.task_id] for t in tasks if _is_in(t, other)]
            if theirs and min(theirs) > last and draw(st.booleans()):
                follow(group, other)


def follow(group: TaskGroup, after: Any) -> None:
    """What follows a group of teardowns alone follows the last tasks of its parent, which may be behind it: a cycle. Airflow
    looks for the last tasks of the next group before it looks for cycles, and goes round for ever."""
    assume(is_acyclic(group.dag))
    group >> after


def _is_in(task: Any, group: TaskGroup) -> bool:
    holder = task.task_group
    while holder is not None and holder.group_id is not None:
        if holder is group:
            return True
        holder = holder.parent_group
    return False


# --- graph and rows ---------------------------------------------------------------------------------------------------


@CASES
@given(scene=scenes(), data=st.data())
def test_the_graph(scene: Scene, data: st.DataObject) -> None:
    dag, shape = around(scene, data)
    group_dict = dag.task_group.get_task_group_dict()
    theirs = StructureDataResponse(
        nodes=[
            task_group_to_dict(n, group_dict=group_dict) for n in dag.task_group.topological_sort(group_dict=group_dict)
        ],
        edges=dag_edges(dag),
    ).model_dump(mode="json")
    labels = read_serialized(scene.serialized).edge_labels
    edges = [
        edge(*ends, is_setup_teardown=shape.is_setup_teardown(ends) or None, label=labels.get(ends))
        for ends in shape.edges()
    ]
    assert edges == theirs["edges"]
    assert in_any_order(list(graph_nodes(shape))) == in_any_order(theirs["nodes"])
    if not shape.is_part:
        assert list(graph_nodes(shape)) == theirs["nodes"]


@CASES
@given(scene=scenes(), data=st.data())
def test_the_rows_of_the_grid(scene: Scene, data: st.DataObject) -> None:
    dag, shape = around(scene, data)
    theirs = airflows_rows(dag)
    ours = list(grid_rows(shape, read_serialized(scene.serialized).group_docs))
    assert in_any_order(ours) == in_any_order(theirs)
    if not shape.is_part:
        assert ours == theirs


@CASES
@given(newer=scenes(), older=scenes())
def test_rows_of_several_versions(newer: Scene, older: Scene) -> None:
    theirs = airflows_rows(newer.dag, exclude_none=False)
    airflows_grid._merge_node_dicts(theirs, airflows_rows(older.dag, exclude_none=False))
    ours = list(grid_rows(Shape.of(newer.spec), read_serialized(newer.serialized).group_docs))
    merge_rows(ours, grid_rows(Shape.of(older.spec), read_serialized(older.serialized).group_docs))
    assert ours == [GridNodeResponse(**row).model_dump(mode="json", exclude_none=True) for row in theirs]


def airflows_rows(dag: Any, *, exclude_none: bool = True) -> list[dict[str, Any]]:
    group_dict = dag.task_group.get_task_group_dict()
    rows = [
        task_group_to_dict_grid(node, group_dict=group_dict)
        for node in dag.task_group.topological_sort(group_dict=group_dict)
    ]
    if not exclude_none:
        return rows
    return [GridNodeResponse(**row).model_dump(mode="json", exclude_none=True) for row in rows]


def around(scene: Scene, data: st.DataObject) -> tuple[Any, Shape]:
    """All of the DAG, or what is around one of its tasks. Not where a group is mapped: Airflow 3.3.2 copies no children of
    such a group, and goes on showing all of them."""
    root = data.draw(st.sampled_from([None, *scene.spec.tasks]))
    if root is None or any(group.expansion for group in scene.spec.task_groups.values()):
        return scene.dag, Shape.of(scene.spec)
    up, down = data.draw(st.booleans()), data.draw(st.booleans())
    depth = data.draw(st.sampled_from([None, 0, 1, 2]))
    dag = scene.dag.partial_subset(task_ids=root, include_upstream=up, include_downstream=down, depth=depth)
    return dag, Shape.of(scene.spec, root=root, upstream=up, downstream=down, depth=depth)


def in_any_order(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Airflow sorts what is left of a DAG anew; the order of the whole DAG does as well."""
    sorted_nodes = [
        node | {"children": in_any_order(node["children"])} if node.get("children") else node for node in nodes
    ]
    return sorted(sorted_nodes, key=lambda node: node["id"])


# --- squares ----------------------------------------------------------------------------------------------------------


@CASES
@given(scene=scenes(), data=st.data())
def test_the_squares(scene: Scene, data: st.DataObject) -> None:
    run = DagRun(
        dag_id="dag", run_id="r", run_type=DagRunType.MANUAL, state=DagRunState.RUNNING, run_after=NOW, queued_at=NOW,
        version_number=3, spec_key="",
    )  # fmt: skip
    moments = st.sampled_from([None, NOW, NOW + timedelta(seconds=5)])
    stored = {}
    for task in scene.spec.tasks.values():
        for index in data.draw(st.sampled_from([[0, 1], [-1]])) if task.is_mapped else [-1]:
            state = data.draw(st.sampled_from([None, *TaskInstanceState]))
            stored[task.task_id, index] = TaskInstance(
                dag_id="dag", run_id="r", task_id=task.task_id, map_index=index, state=state, try_number=1,
                start_date=data.draw(moments), end_date=data.draw(moments), note=data.draw(st.sampled_from([None, "n"])),
                version_number=data.draw(st.sampled_from([None, 4])),
            )  # fmt: skip
    view = ShownRun(run, stored, scene.spec)
    ours = summary_of(view)
    theirs = airflows_squares(scene.dag, view)
    assert json.loads(encode(ours)) == json.loads(GridTISummaries.model_validate(theirs).model_dump_json())


def airflows_squares(dag: Any, view: ShownRun) -> dict[str, Any]:
    details: dict[str, airflows_grid.GridNodeAgg] = {}
    for shown in sorted(view.instances, key=lambda v: v.instance.task_id):
        details.setdefault(shown.instance.task_id, airflows_grid.GridNodeAgg()).add_ti(
            state=shown.instance.state,
            start_date=shown.instance.start_date,
            end_date=shown.instance.end_date,
            dag_version_number=shown.version_number,
            has_note=shown.instance.note is not None,
        )
    nodes = []
    for found, _ in airflows_grid._find_aggregates(node=dag.task_group, parent_node=None, ti_details=details):
        nodes.append(found | {"child_states": None} if found["type"] == "task" else found)
    return {"run_id": "r", "dag_id": "dag", "task_instances": nodes}


def test_states_have_the_names_that_the_dashboard_counts() -> None:
    from airflow.api_fastapi.core_api.datamodels.ui.dashboard import TaskInstanceStateCount

    assert {NO_STATUS, *TaskInstanceState} == set(TaskInstanceStateCount.model_fields)
