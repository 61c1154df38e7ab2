"""`/ui/structure`: a DAG's graph, with its upstream and downstream DAGs and assets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import NonNegativeInt

from gust.http.answer import Json, bad_request, not_found
from gust.http.check import Query
from gust.model.asset import AssetKey, number_of
from gust.model.dag import Dag, DagVersion
from gust.model.dag_spec import TaskGroupSpec, TaskSpec
from gust.model.history_query import AssetEventSource
from gust.model.window import NEWEST_FIRST
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.ui.dependencies import Dependency, dependencies_by_dag
from gust.rest_api.ui.serialized import load_serialized
from gust.rest_api.ui.shape import Shape, downstream_join, setup_or_teardown, shown_name, upstream_join
from gust.services.context import Services
from gust.services.specs import load_spec


class StructureQuery(Query):
    dag_id: str
    include_upstream: bool = False
    include_downstream: bool = False
    depth: NonNegativeInt | None = None
    root: str | None = None
    external_dependencies: bool = False
    version_number: int | None = None


@ui_operation("structure_data")
def structure_data(services: Services, request: Request) -> Json:
    query = request.query(StructureQuery)
    dag = services.store.get_dag(query.dag_id)
    if dag is None and query.version_number is None:
        raise not_found(f"Dag with id {query.dag_id} was not found")
    version = _version(services, dag, query)
    if dag is None or version is None:
        raise not_found(f"Dag with id {query.dag_id} and version number {query.version_number} was not found")
    shape = Shape.of(
        load_spec(services.objects, version.spec_key),
        root=query.root,
        upstream=query.include_upstream,
        downstream=query.include_downstream,
        depth=query.depth,
    )
    labels = load_serialized(services.objects, version.serialized_key).edge_labels
    nodes = list(graph_nodes(shape))
    edges = [
        edge(
            source, target, is_setup_teardown=shape.is_setup_teardown((source, target)) or None,
            label=labels.get((source, target)),
        )
        for source, target in shape.edges()
    ]  # fmt: skip
    if query.external_dependencies:
        outside = _Outside(services, dag, version, shape, nodes)
        edges += outside.edges()
        nodes += outside.nodes
    return {"nodes": nodes, "edges": edges}


def _version(services: Services, dag: Dag | None, query: StructureQuery) -> DagVersion | Dag | None:
    if query.version_number is None or (dag is not None and dag.version_number == query.version_number):
        return dag
    return services.store.get_version(query.dag_id, query.version_number)


# --- the DAG itself ---------------------------------------------------------------------------------------------------


def graph_nodes(shape: Shape, group: TaskGroupSpec | None = None) -> Iterator[Json]:
    for child in shape.children(group):
        if isinstance(child, TaskSpec):
            yield node(
                child.task_id,
                shown_name(shape, child),
                "task",
                operator=child.operator_name or child.operator,
                setup_teardown_type=setup_or_teardown(child),
                is_mapped=child.is_mapped or None,
            )
            continue
        children = list(graph_nodes(shape, child))
        # One edge to each join instead of one to each task after it.
        children += [node(upstream_join(child), "", "join")] if shape.joins_above(child) else []
        children += [node(downstream_join(child), "", "join")] if shape.joins_below(child) else []
        yield node(
            child.group_id,
            child.display_name,
            "task",
            children=children,
            is_mapped=child.expansion is not None,
            tooltip=child.tooltip,
        )


def node(node_id: str, label: str, kind: str, **more: Any) -> Json:
    return {
        "id": node_id,
        "label": label,
        "type": kind,
        "team": None,
        "children": None,
        "is_mapped": None,
        "tooltip": None,
        "setup_teardown_type": None,
        "operator": None,
        "asset_condition_type": None,
    } | more


def edge(source_id: str, target_id: str, **more: Any) -> Json:
    return {
        "source_id": source_id,
        "target_id": target_id,
        "is_setup_teardown": None,
        "label": None,
        "is_source_asset": None,
    } | more


# --- dependencies -----------------------------------------------------------------------------------------------------


class _Outside:
    """Nodes around the DAG: other DAGs' sensors and triggers, assets and their conditions."""

    def __init__(
        self, services: Services, dag: Dag, version: DagVersion | Dag, shape: Shape, inside: list[Json]
    ) -> None:
        self._services = services
        self._dag_id = dag.dag_id
        self._number = version.version_number
        self._shape = shape
        self._first = inside[0]["id"] if inside else None
        self._last = inside[-1]["id"] if inside else None
        self.nodes: list[Json] = []
        self._expression = load_spec(services.objects, dag.spec_key).timetable.asset_expression

    def edges(self) -> list[Json]:
        into: list[Json] = []
        out: list[Json] = []
        for owner, dependencies in sorted(dependencies_by_dag(self._services).items()):
            for dependency in dependencies:
                if not self._concerns_us(owner, dependency):
                    continue
                if dependency.is_source or dependency.target == self._dag_id:
                    if self._first is not None:
                        into.append(edge(dependency.node_id, self._first))
                elif self._last is not None:
                    out += [edge(source, dependency.node_id) for source in self._producers(dependency)]
                self.nodes.append(node(dependency.node_id, dependency.label, dependency.kind))
        conditions = []
        if self._expression and self._first is not None:
            conditions = list(self._condition(self._expression, self._first, 0))
        return conditions + into + out

    def _concerns_us(self, owner: str, dependency: Dependency) -> bool:
        """Whether the dependency belongs in the graph; assets of the schedule come with its condition."""
        if self._dag_id not in (owner, dependency.target):
            return False
        return dependency.is_end or dependency.kind not in ("asset", "asset-alias")

    def _producers(self, dependency: Dependency) -> list[str]:
        """Sources of the edge to an asset: the task that names it, or tasks that produced it through an alias."""
        if dependency.kind != "asset" or self._last is None:
            return [self._last or ""]
        if dependency.source.startswith("asset-alias:"):
            alias = dependency.source.removeprefix("asset-alias:")
            return sorted(self._through_alias(alias, dependency)) or [self._last]
        named = (
            task.task_id
            for task in self._shape.spec.tasks.values()
            for ref in task.outlets
            if ref.kind == "asset" and str(number_of(ref.name or "", ref.uri or "")) == dependency.dependency_id
        )
        return [next(named, self._last)]

    def _through_alias(self, alias: str, dependency: Dependency) -> set[str]:
        events = self._services.store.list_asset_events(AssetEventSource(alias=alias), NEWEST_FIRST, limit=100)
        return {
            event.source_task_id
            for event in events
            if event.source_dag_id == self._dag_id
            and event.source_task_id
            and str(number_of(*event.asset)) == dependency.dependency_id
        }

    def _condition(self, expression: Json, entry: str, level: int) -> Iterator[Json]:
        """The gate of an asset expression with its inputs; nested gates are inputs too."""
        kind, parts = next(((k, expression[k]) for k in ("any", "all") if k in expression), ("", []))
        assets = [part for part in parts if next(iter(part)) not in ("any", "all")]
        nested = [part for part in parts if next(iter(part)) in ("any", "all")]
        if not assets:
            return
        gate_type = "or-gate" if kind == "any" else "and-gate"
        gate = f"{gate_type}-{level}"
        self.nodes.append(node(gate, gate, "asset-condition", asset_condition_type=gate_type))
        yield edge(gate, entry, is_source_asset=level == 0)
        for part in assets:
            node_id, label, node_type = _asset_node(part)
            self.nodes.append(node(node_id, label, node_type))
            yield edge(node_id, gate)
        for part in nested[-1:]:
            yield from self._condition(part, gate, level + 1)


def _asset_node(part: Json) -> tuple[str, str, str]:
    match part:
        case {"asset": {"name": name, "uri": uri}}:
            return str(number_of(*AssetKey(name, uri))), name, "asset"
        case {"alias": {"name": name}}:
            return name, name, "asset-alias"
        case {"asset_ref": {"name": name}} | {"asset-name-ref": {"name": name}}:
            return name, name, "asset-name-ref"
        case {"asset_ref": {"uri": uri}} | {"asset-uri-ref": {"uri": uri}}:
            return uri, uri, "asset-uri-ref"
    raise bad_request(f"Malformed asset_expression: Unsupported type: {list(part)}")
