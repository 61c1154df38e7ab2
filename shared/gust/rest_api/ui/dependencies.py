"""`/ui/dependencies`: dependencies between DAGs, and producers and consumers of assets.

The parser has stored a DAG's dependencies; here names are resolved to assets, and aliases to the assets of their
events. The graph of all DAGs reads each DAG's serialized form once per warm function.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from gust.http.answer import Json, bad_request, not_found
from gust.http.check import Query
from gust.model.asset import AssetKey, number_of
from gust.rest_api.access.readable import readable_dag_ids
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.many import many
from gust.rest_api.ui.serialized import load_serialized
from gust.services.assets.active_assets import active_among
from gust.services.context import Services

OF_ASSETS: Final = frozenset({"asset", "asset-alias", "asset-name-ref", "asset-uri-ref"})
SEPARATOR: Final = "__SEPARATOR__"
"""Separates DAG and task in a node's id, as Airflow's UI expects."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """An edge between `source` and `target`: DAGs, assets, or at an end of the graph the kind's name."""

    source: str
    target: str
    label: str
    kind: str
    dependency_id: str | None

    @property
    def node_id(self) -> str:
        parts = [self.kind] if self.kind in OF_ASSETS else [self.kind, self.source, self.target]
        return ":".join([*parts, self.dependency_id] if self.dependency_id else parts)

    @property
    def dag_ids(self) -> frozenset[str]:
        """Ids of the DAGs at the ends."""
        return frozenset(end for end in (self.source, self.target) if end != self.kind and ":" not in end)

    @property
    def is_source(self) -> bool:
        return self.source == self.kind

    @property
    def is_end(self) -> bool:
        return self.target == self.kind


def dependencies_by_dag(services: Services) -> dict[str, list[Dependency]]:
    """Dependencies of every DAG that is not stale, without edges to DAGs that the user may not read."""
    readable = readable_dag_ids(services.store)
    dags = [dag for dag in services.store.list_dags() if not dag.is_stale]
    written = many.map(lambda dag: load_serialized(services.objects, dag.serialized_key).dependencies, dags)
    names = _Names(services)
    return {
        dag.dag_id: [
            resolved
            for one in ones
            for resolved in names.resolve(one)
            if readable is None or resolved.dag_ids <= readable
        ]
        for dag, ones in zip(dags, written, strict=True)
    }


class _Names:
    """Resolves names, URIs and aliases to assets; reads them when first used."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._active: list[AssetKey] | None = None

    def resolve(self, written: Json) -> Iterator[Dependency]:
        match written["dependency_type"]:
            case "asset":
                key = _asset_key(written["dependency_id"])
                yield _dependency(written, label=key.name, dependency_id=str(number_of(*key)))
            case "asset-name-ref" | "asset-uri-ref" as kind:
                yield self._reference(written, kind)
            case "asset-alias":
                yield from self._alias(written)
            case _:
                ends = {end: _with_number(written[end]) for end in ("source", "target")}
                yield _dependency(written | ends)

    def _reference(self, written: Json, kind: str) -> Dependency:
        wanted = written["dependency_id"]
        named = (key for key in self._assets() if wanted == (key.name if kind == "asset-name-ref" else key.uri))
        asset = next(named, None)
        if asset is None:
            return _dependency(written)
        is_source = written["source"] == kind
        return Dependency(
            source="asset" if is_source else written["source"],
            target=written["target"] if is_source else "asset",
            label=asset.name,
            kind="asset",
            dependency_id=str(number_of(*asset)),
        )

    def _alias(self, written: Json) -> Iterator[Dependency]:
        alias = written["dependency_id"]
        is_source = written["source"] == "asset-alias"
        assets = self._services.store.assets_of_alias(alias)
        if not assets:
            yield _dependency(written)
        for asset in assets:
            number = number_of(*asset)
            yield Dependency(
                source="asset" if is_source else f"asset-alias:{alias}",
                target=f"asset-alias:{alias}" if is_source else "asset",
                label=asset.name,
                kind="asset",
                dependency_id=str(number),
            )
            yield Dependency(
                source=f"asset:{number}" if is_source else written["source"],
                target=written["target"] if is_source else f"asset:{number}",
                label=alias,
                kind="asset-alias",
                dependency_id=alias,
            )

    def _assets(self) -> list[AssetKey]:
        if self._active is None:
            known = self._services.store.list_assets()
            self._active = sorted(active_among(self._services, known, known))
        return self._active


def _dependency(written: Json, *, label: str | None = None, dependency_id: str | None = None) -> Dependency:
    return Dependency(
        source=written["source"],
        target=written["target"],
        label=written.get("label") or label or written["dependency_id"] or "",
        kind=written["dependency_type"],
        dependency_id=dependency_id or written["dependency_id"],
    )


def _asset_key(text: str) -> AssetKey:
    """The key of Airflow's `{"name": …, "uri": …}`."""
    key: dict[str, Any] = json.loads(text)
    return AssetKey(key["name"], key["uri"])


def _with_number(end: str) -> str:
    if not end.startswith("asset:"):
        return end
    return f"asset:{number_of(*_asset_key(end.removeprefix('asset:')))}"


# --- the graphs -------------------------------------------------------------------------------------------------------


class DependenciesQuery(Query):
    node_id: str | None = None
    dependency_type: Literal["scheduling", "data"] = "scheduling"


@ui_operation("get_dependencies")
def get_dependencies(services: Services, request: Request) -> Json:
    query = request.query(DependenciesQuery)
    if query.dependency_type == "data":
        return _data_graph(services, query.node_id)
    nodes, edges = _scheduling_graph(services)
    if query.node_id is not None:
        near = _connected(query.node_id, edges)
        nodes = {node_id: node for node_id, node in nodes.items() if node_id in near}
        edges = [edge for edge in edges if set(edge) <= near]
    return _graph(nodes, edges)


def _graph(nodes: dict[str, Json], edges: list[tuple[str, str]]) -> Json:
    return {
        "edges": [{"source_id": source, "target_id": target} for source, target in edges],
        "nodes": list(nodes.values()),
    }


def _node(node_id: str, label: str, kind: str) -> Json:
    return {"id": node_id, "label": label, "type": kind, "team": None}


def _scheduling_graph(services: Services) -> tuple[dict[str, Json], list[tuple[str, str]]]:
    nodes: dict[str, Json] = {}
    edges: set[tuple[str, str]] = set()
    for dag_id, dependencies in sorted(dependencies_by_dag(services).items()):
        if f"dag:{dag_id}" in nodes:
            continue
        for dependency in dependencies:
            nodes[f"dag:{dag_id}"] = _node(f"dag:{dag_id}", dag_id, "dag")
            nodes.setdefault(dependency.node_id, _node(dependency.node_id, dependency.label, dependency.kind))
            if not dependency.is_source:
                edges.add((_end(dependency.source), dependency.node_id))
            if not dependency.is_end:
                edges.add((dependency.node_id, _end(dependency.target)))
    for end in (end for edge in edges for end in edge if end.startswith("dag:")):
        nodes.setdefault(end, _node(end, end.removeprefix("dag:"), "dag"))
    return nodes, sorted(edges)


def _end(name: str) -> str:
    return name if ":" in name else f"dag:{name}"


def _connected(node_id: str, edges: list[tuple[str, str]]) -> set[str]:
    """The connected component of the node. Problem 404 for a node without edges."""
    beside: dict[str, set[str]] = defaultdict(set)
    for source, target in edges:
        beside[source].add(target)
        beside[target].add(source)
    if node_id not in beside:
        raise not_found(
            f"Unique connected component not found, got [] for connected components of node {node_id}, "
            "expected only 1 connected component."
        )
    found = {node_id}
    waiting = [node_id]
    while waiting:
        new = beside[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _data_graph(services: Services, node_id: str | None) -> Json:
    """The graph of the asset, the tasks that produce and consume it, their other assets, and so on."""
    if node_id is None or not node_id.startswith("asset:"):
        raise bad_request("Data dependencies require an asset node_id (e.g., 'asset:123')")
    try:
        number = int(node_id.replace("asset:", ""))
    except ValueError as wrong:
        raise bad_request(f"Invalid asset node_id: {node_id}") from wrong
    assets = {number_of(*asset.key): asset.key for asset in services.store.list_assets()}
    if number not in assets:
        raise not_found(f"Asset with id {number} was not found")
    references = services.store.references_to_assets(list(assets.values()))
    if readable_dag_ids(services.store) is not None and not references[assets[number]]:
        return _graph({}, [])  # its DAGs are not readable for the user
    by_task: dict[tuple[str, str], list[tuple[str, AssetKey]]] = defaultdict(list)
    for key, named in references.items():
        for reference in named:
            if reference.use in ("inlet", "outlet"):
                by_task[reference.dag_id, reference.task_id].append((reference.use, key))
    nodes: dict[str, Json] = {}
    edges: set[tuple[str, str]] = set()
    waiting, seen = deque([assets[number]]), {assets[number]}
    while waiting:
        key = waiting.popleft()
        asset_node = f"asset:{number_of(*key)}"
        nodes[asset_node] = _node(asset_node, key.name, "asset")
        for reference in sorted(
            references.get(key, ()), key=lambda ref: (ref.use != "outlet", ref.dag_id, ref.task_id)
        ):
            if reference.use == "schedule":
                continue
            task_node = f"task:{reference.dag_id}{SEPARATOR}{reference.task_id}"
            nodes.setdefault(task_node, _node(task_node, f"{reference.dag_id}.{reference.task_id}", "task"))
            makes = reference.use == "outlet"
            edges.add((task_node, asset_node) if makes else (asset_node, task_node))
            further = {k for use, k in by_task[reference.dag_id, reference.task_id] if (use == "inlet") == makes}
            waiting.extend(sorted(further - seen))
            seen |= further
    return _graph(nodes, sorted(edges))
