"""DAGs, their versions, the files they come from, and the active bundle."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TypeVar

from gust.errors import AlreadyExists, Stale, StaleDag
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion
from gust.store import fences, items, keyspace
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key
from gust.store.table import ConditionFailed, Expression, Table, key_of

T = TypeVar("T")


class DynamoDBDags:
    """Implements `ports.DagStore`."""

    _table: Table

    # --- DAGs ---------------------------------------------------------------------------------------------------------

    def get_dag(self, dag_id: str) -> Dag | None:
        item = self._table.get(keyspace.dag(dag_id))
        return None if item is None else read_dag(item)

    def get_dags(self, dag_ids: Collection[str]) -> list[Dag]:
        keys = [keyspace.dag(dag_id) for dag_id in dag_ids]
        found = self._table.get_all(keys)
        return [read_dag(found[key]) for key in keys if key in found]

    def list_dags(self) -> list[Dag]:
        return sorted((read_dag(item) for item in self._table.query(keyspace.DAGS)), key=lambda dag: dag.dag_id)

    def put_dag(self, before: Dag | None, after: Dag) -> None:
        changed = fences.changed_dag_fields(before, after)
        expression = Expression()
        if before is None:
            expression.is_new().change(items.DAG.attributes(changed) | due_of_dag(after))
        else:
            was, becomes = due_of_dag(before), due_of_dag(after)
            moved = {name: attribute for name, attribute in becomes.items() if attribute != was[name]}
            expression.exists().still(items.DAG.attributes(fences.dag_fence(before)))
            expression.change(items.DAG.attributes(changed) | moved)
        try:
            self._table.update(keyspace.dag(after.dag_id), expression)
        except ConditionFailed as failed:
            if items.DAG.holds(changed, failed.item):
                return
            current = None if failed.item is None else read_dag(failed.item)
            raise StaleDag(f"DAG {after.dag_id!r} moved on", current) from failed

    def delete_dag(self, dag_id: str) -> None:
        for kept in self._table.query(keyspace.versions(dag_id)), self._warnings_of(dag_id):
            self._table.delete_all(key_of(item) for item in kept)
        self._table.delete(keyspace.dag(dag_id))

    def due_dags(self, until: datetime) -> list[tuple[str, datetime]]:
        found = self._table.query_index(keyspace.INDEX_DUE, keyspace.DUE_DAGS, until=keyspace.moment(until))
        due = [(_due_dag_id(item), keyspace.moment_from(item["due_sk"]["S"])) for item in found]
        return sorted(due, key=lambda one: (one[1], one[0]))

    # --- versions -----------------------------------------------------------------------------------------------------

    def put_version(self, version: DagVersion) -> None:
        where = keyspace.version(version.dag_id, version.version_number)
        item = items.DAG_VERSION.item(version)
        try:
            self._table.put(where, item, Expression().is_new())
        except ConditionFailed as failed:
            if failed.item is None or _read_version(version.dag_id, failed.item) != version:
                raise AlreadyExists(f"DAG {version.dag_id!r} has another version {version.version_number}") from failed

    def get_version(self, dag_id: str, version_number: int) -> DagVersion | None:
        item = self._table.get(keyspace.version(dag_id, version_number))
        return None if item is None else _read_version(dag_id, item)

    def get_versions(self, numbers: Collection[tuple[str, int]]) -> dict[tuple[str, int], DagVersion]:
        keys = {named: keyspace.version(*named) for named in numbers}
        found = self._table.get_all(list(keys.values()))
        return {named: _read_version(named[0], found[key]) for named, key in keys.items() if key in found}

    def list_versions(self, dag_id: str) -> list[DagVersion]:
        return [_read_version(dag_id, item) for item in self._table.query(keyspace.versions(dag_id))]

    # --- files --------------------------------------------------------------------------------------------------------

    def list_source_files(self) -> list[SourceFile]:
        found = (items.SOURCE_FILE.read(item) for item in self._table.query(keyspace.SOURCE_FILES))
        return sorted(found, key=lambda file: file.relative_path)

    def put_source_file(self, file: SourceFile) -> None:
        self._table.put(keyspace.source_file(file.relative_path), items.SOURCE_FILE.item(file))

    def delete_source_file(self, relative_path: str) -> None:
        self._table.delete(keyspace.source_file(relative_path))

    def list_import_problems(self) -> list[ImportProblem]:
        found = (items.IMPORT_PROBLEM.read(item) for item in self._table.query(keyspace.IMPORT_PROBLEMS))
        return sorted(found, key=lambda problem: problem.filename)

    def put_import_problem(self, problem: ImportProblem) -> None:
        self._table.put(keyspace.import_problem(problem.filename), items.IMPORT_PROBLEM.item(problem))

    def delete_import_problem(self, filename: str) -> None:
        self._table.delete(keyspace.import_problem(filename))

    def list_warnings(self, dag_id: str | None = None) -> list[DagWarning]:
        found = self._table.query(keyspace.WARNINGS, begins_with=keyspace.warnings(dag_id))
        warnings = (items.DAG_WARNING.read(item) for item in found)
        return sorted(warnings, key=lambda warning: (warning.dag_id, warning.warning_type))

    def put_warning(self, warning: DagWarning) -> None:
        self._table.put(keyspace.warning(warning.dag_id, warning.warning_type), items.DAG_WARNING.item(warning))

    def delete_warnings(self, dag_id: str) -> None:
        self._table.delete_all(key_of(item) for item in self._warnings_of(dag_id))

    def _warnings_of(self, dag_id: str) -> Iterator[Item]:
        return self._table.query(keyspace.WARNINGS, begins_with=keyspace.warnings(dag_id))

    # --- the active bundle --------------------------------------------------------------------------------------------

    def active_bundle(self) -> Bundle | None:
        item = self._table.get(keyspace.ACTIVE_BUNDLE)
        return None if item is None else items.BUNDLE.read(item)

    def activate_bundle(self, bundle: Bundle, *, replacing: Bundle | None) -> None:
        current = self._replace(keyspace.ACTIVE_BUNDLE, items.BUNDLE, replacing, bundle)
        if current != bundle:
            raise Stale(f"the active bundle is {current and current.version}")

    def deployment_turn(self) -> DeploymentTurn | None:
        item = self._table.get(keyspace.DEPLOYMENT_TURN)
        return None if item is None else items.DEPLOYMENT_TURN.read(item)

    def move_deployment_turn(self, before: DeploymentTurn | None, after: DeploymentTurn) -> None:
        current = self._replace(keyspace.DEPLOYMENT_TURN, items.DEPLOYMENT_TURN, before, after)
        if current != after:
            raise Stale(f"the turn to deploy is {current}")

    def _replace(self, where: Key, codec: items.Codec[T], before: T | None, after: T) -> T | None:
        """Store `after` if `before` is stored (`None`: nothing). Returns what is stored then."""
        expression = Expression().is_new() if before is None else Expression().still(codec.item(before))
        try:
            self._table.put(where, codec.item(after), expression)
        except ConditionFailed as failed:
            return None if failed.item is None else codec.read(failed.item)
        return after

    # --- signs of life ------------------------------------------------------------------------------------------------

    def set_alive(self, component: str, at: datetime) -> None:
        self._table.put(keyspace.alive(component), {"at": items.moment(at)})

    def last_alive(self) -> dict[str, datetime]:
        found = self._table.query(keyspace.ALIVE)
        return {keyspace.unescape(key_of(item).sk): keyspace.moment_from(item["at"]["S"]) for item in found}


def read_dag(item: Item) -> Dag:
    return items.DAG.read(item, dag_id=_dag_id(item))


def due_of_dag(dag: Dag) -> dict[str, Attribute | None]:
    """The DAG's keys in the `due` index. They consist of fenced fields only, so they always match the stored fields."""
    if dag.next_run_after is None or dag.is_paused or dag.is_stale:
        return {"due_pk": None, "due_sk": None}
    return {"due_pk": items.text(keyspace.DUE_DAGS), "due_sk": items.moment(dag.next_run_after)}


def _due_dag_id(item: Item) -> str:
    """The DAG of an index entry: of the DAG's own item, or of its asset queue."""
    return keyspace.queue_owner(key_of(item).pk) or _dag_id(item)


def _dag_id(item: Item) -> str:
    return keyspace.unescape(key_of(item).sk)


def _read_version(dag_id: str, item: Item) -> DagVersion:
    return items.DAG_VERSION.read(item, dag_id=dag_id, version_number=int(key_of(item).sk))
