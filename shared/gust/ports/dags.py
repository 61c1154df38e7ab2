"""DAGs and bundles."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion


class DagStore(Protocol):
    """DAGs, their versions, source files, import errors and warnings, and the active bundle."""

    def get_dag(self, dag_id: str) -> Dag | None: ...

    def get_dags(self, dag_ids: Collection[str]) -> list[Dag]:
        """Those that exist, in the order of the ids."""

    def list_dags(self) -> list[Dag]:
        """All DAGs, stale ones too, by dag_id."""

    def put_dag(self, before: Dag | None, after: Dag) -> None:
        """Write the fields in which `after` differs, but never the counts of runs; `before=None` makes it. Raises StaleDag
        where `version_number`, `is_paused`, `is_stale` or `next_run_after` are not `before`'s, unless the fields are
        as `after` wants them already."""

    def delete_dag(self, dag_id: str) -> None:
        """Delete the DAG's versions and warnings, then the DAG. Its runs are the caller's to delete first."""

    def due_dags(self, until: datetime) -> list[tuple[str, datetime]]:
        """dag_id and `next_run_after` of unpaused, fresh DAGs whose next run is due by `until`, earliest first; and of
        DAGs for which events wait that should have been looked at by then."""

    def put_version(self, version: DagVersion) -> None:
        """Store a version; the same one again is no error. Raises AlreadyExists if the number is taken by another."""

    def get_version(self, dag_id: str, version_number: int) -> DagVersion | None: ...

    def get_versions(self, numbers: Collection[tuple[str, int]]) -> dict[tuple[str, int], DagVersion]:
        """Those that exist, by DAG and number."""

    def list_versions(self, dag_id: str) -> list[DagVersion]:
        """Oldest first."""

    def list_source_files(self) -> list[SourceFile]: ...

    def put_source_file(self, file: SourceFile) -> None: ...

    def delete_source_file(self, relative_path: str) -> None: ...

    def list_import_problems(self) -> list[ImportProblem]: ...

    def put_import_problem(self, problem: ImportProblem) -> None: ...

    def delete_import_problem(self, filename: str) -> None: ...

    def list_warnings(self, dag_id: str | None = None) -> list[DagWarning]: ...

    def put_warning(self, warning: DagWarning) -> None: ...

    def delete_warnings(self, dag_id: str) -> None: ...

    def active_bundle(self) -> Bundle | None: ...

    def activate_bundle(self, bundle: Bundle, *, replacing: Bundle | None) -> None:
        """Raises Stale if the active bundle is not `replacing`."""

    def deployment_turn(self) -> DeploymentTurn | None:
        """`None`: there has never been a deployment."""

    def move_deployment_turn(self, before: DeploymentTurn | None, after: DeploymentTurn) -> None:
        """Raises Stale if the turn is not `before`."""

    def set_alive(self, component: str, at: datetime) -> None:
        """Note that `component` (scheduler, triggerer, dag_processor) did its work; `monitor/health` shows it."""

    def last_alive(self) -> dict[str, datetime]: ...
