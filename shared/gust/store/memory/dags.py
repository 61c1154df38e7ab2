"""DAGs and bundles, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from gust.errors import (
    AlreadyExists,
    Stale,
    StaleDag,
)
from gust.model.asset import AssetQueue, PendingPartition
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion
from gust.store import items, keyspace
from gust.store.fences import (
    changed_dag_fields,
    dag_fence,
)
from gust.store.memory.state import MemoryState, as_stored, atomic, check_fits, holds


class MemoryDags(MemoryState):
    """Implements `ports.DagStore`."""

    @atomic
    def get_dag(self, dag_id: str) -> Dag | None:
        return self._dags.get(dag_id)

    @atomic
    def get_dags(self, dag_ids: Collection[str]) -> list[Dag]:
        return [as_stored(self._dags[dag_id]) for dag_id in dag_ids if dag_id in self._dags]

    @atomic
    def list_dags(self) -> list[Dag]:
        return [dag for _, dag in sorted(self._dags.items())]

    @atomic
    def put_dag(self, before: Dag | None, after: Dag) -> None:
        check_fits(items.DAG.item(after))
        changed = changed_dag_fields(before, after)
        current = self._dags.get(after.dag_id)
        if current is not None and holds(changed, current):
            return
        if current is None and before is None:
            self._dags[after.dag_id] = replace(after, running_runs=0)
        elif current is None or before is None or not holds(dag_fence(before), current):
            raise StaleDag(f"DAG {after.dag_id!r} moved on", current)
        else:
            self._change_dag(after.dag_id, changed)

    @atomic
    def delete_dag(self, dag_id: str) -> None:
        for of_dag in [key for key in self._versions if key[0] == dag_id]:
            del self._versions[of_dag]
        for warning in [key for key in self._warnings if key[0] == dag_id]:
            del self._warnings[warning]
        self._dags.pop(dag_id, None)

    @atomic
    def due_dags(self, until: datetime) -> list[tuple[str, datetime]]:
        due = [
            (dag.dag_id, dag.next_run_after)
            for dag in self._dags.values()
            if not dag.is_paused and not dag.is_stale and dag.next_run_after and dag.next_run_after <= until
        ]
        waiting: list[AssetQueue | PendingPartition] = [*self._queues.values(), *self._partitions.values()]
        due += [(found.dag_id, found.due_at) for found in waiting if found.due_at and found.due_at <= until]
        return sorted(due, key=lambda found: (found[1], found[0]))

    @atomic
    def put_version(self, version: DagVersion) -> None:
        current = self._versions.setdefault((version.dag_id, version.version_number), version)
        if current != version:
            raise AlreadyExists(f"DAG {version.dag_id!r} has another version {version.version_number}")

    @atomic
    def get_version(self, dag_id: str, version_number: int) -> DagVersion | None:
        return self._versions.get((dag_id, version_number))

    @atomic
    def get_versions(self, numbers: Collection[tuple[str, int]]) -> dict[tuple[str, int], DagVersion]:
        return {named: self._versions[named] for named in numbers if named in self._versions}

    @atomic
    def list_versions(self, dag_id: str) -> list[DagVersion]:
        return [version for key, version in sorted(self._versions.items()) if key[0] == dag_id]

    @atomic
    def list_source_files(self) -> list[SourceFile]:
        return [file for _, file in sorted(self._source_files.items())]

    @atomic
    def put_source_file(self, file: SourceFile) -> None:
        keyspace.source_file(file.relative_path)
        check_fits(items.SOURCE_FILE.item(file))
        self._source_files[file.relative_path] = file

    @atomic
    def delete_source_file(self, relative_path: str) -> None:
        self._source_files.pop(relative_path, None)

    @atomic
    def list_import_problems(self) -> list[ImportProblem]:
        return [problem for _, problem in sorted(self._import_problems.items())]

    @atomic
    def put_import_problem(self, problem: ImportProblem) -> None:
        keyspace.import_problem(problem.filename)
        check_fits(items.IMPORT_PROBLEM.item(problem))
        self._import_problems[problem.filename] = problem

    @atomic
    def delete_import_problem(self, filename: str) -> None:
        self._import_problems.pop(filename, None)

    @atomic
    def list_warnings(self, dag_id: str | None = None) -> list[DagWarning]:
        return [warning for key, warning in sorted(self._warnings.items()) if dag_id in (None, key[0])]

    @atomic
    def put_warning(self, warning: DagWarning) -> None:
        check_fits(items.DAG_WARNING.item(warning))
        self._warnings[warning.dag_id, warning.warning_type] = warning

    @atomic
    def delete_warnings(self, dag_id: str) -> None:
        for key in [key for key in self._warnings if key[0] == dag_id]:
            del self._warnings[key]

    @atomic
    def active_bundle(self) -> Bundle | None:
        return self._bundle

    @atomic
    def activate_bundle(self, bundle: Bundle, *, replacing: Bundle | None) -> None:
        if self._bundle == bundle:
            return
        if self._bundle != replacing:
            raise Stale(f"the active bundle is {self._bundle and self._bundle.version}")
        self._bundle = bundle

    @atomic
    def deployment_turn(self) -> DeploymentTurn | None:
        return self._turn

    @atomic
    def move_deployment_turn(self, before: DeploymentTurn | None, after: DeploymentTurn) -> None:
        if self._turn not in (before, after):
            raise Stale(f"the turn to deploy is {self._turn}")
        self._turn = after

    @atomic
    def set_alive(self, component: str, at: datetime) -> None:
        self._alive[component] = at

    @atomic
    def last_alive(self) -> dict[str, datetime]:
        return dict(sorted(self._alive.items()))

    def _change_dag(self, dag_id: str, changed: Mapping[str, Any]) -> None:
        self._dags[dag_id] = replace(self._dags[dag_id], **changed)
