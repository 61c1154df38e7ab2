"""DAGs and bundles."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion


class DagStore(Protocol):
    """DAGs, their versions, source files, import errors and warnings, and the active bundle."""

    def get_dag(self, dag_id: str) -> Dag | None:
        """`None` if there is no such DAG."""

    def get_dags(self, dag_ids: Collection[str]) -> list[Dag]:
        """The DAGs that exist, in the order of the ids."""

    def list_dags(self) -> list[Dag]:
        """All DAGs, stale ones included, in order of dag_id."""

    def put_dag(self, before: Dag | None, after: Dag) -> None:
        """Create the DAG (`before` is `None`) or write the fields in which `after` differs; never the counts of runs. Raises
        StaleDag if the stored `version_number`, `is_paused`, `is_stale` or `next_run_after` are not `before`'s, unless the
        fields already are as in `after`."""

    def delete_dag(self, dag_id: str) -> None:
        """Delete the DAG's versions and warnings, then the DAG. The caller deletes its runs first. Repeating it changes
        nothing."""

    def due_dags(self, until: datetime) -> list[tuple[str, datetime]]:
        """dag_id and due time, earliest first, of unpaused, fresh DAGs whose `next_run_after` is at or before `until`, and
        of DAGs whose waiting asset events are due by then. May lag by a moment."""

    def put_version(self, version: DagVersion) -> None:
        """Store a version; repeating it changes nothing. Raises AlreadyExists if another version has the number."""

    def get_version(self, dag_id: str, version_number: int) -> DagVersion | None:
        """`None` if there is no such version."""

    def get_versions(self, numbers: Collection[tuple[str, int]]) -> dict[tuple[str, int], DagVersion]:
        """(dag_id, version number) → version, for those that exist."""

    def list_versions(self, dag_id: str) -> list[DagVersion]:
        """The DAG's versions, oldest first."""

    def list_source_files(self) -> list[SourceFile]:
        """In order of their paths."""

    def put_source_file(self, file: SourceFile) -> None:
        """Store or replace."""

    def delete_source_file(self, relative_path: str) -> None:
        """Deleting nothing is no error."""

    def list_import_problems(self) -> list[ImportProblem]:
        """In order of their file names."""

    def put_import_problem(self, problem: ImportProblem) -> None:
        """Store or replace."""

    def delete_import_problem(self, filename: str) -> None:
        """Deleting nothing is no error."""

    def list_warnings(self, dag_id: str | None = None) -> list[DagWarning]:
        """Warnings of the DAG, or of all DAGs, in order of dag_id and type."""

    def put_warning(self, warning: DagWarning) -> None:
        """Store or replace the DAG's warning of this type."""

    def delete_warnings(self, dag_id: str) -> None:
        """Delete all warnings of the DAG."""

    def active_bundle(self) -> Bundle | None:
        """`None` before the first deployment has ended."""

    def activate_bundle(self, bundle: Bundle, *, replacing: Bundle | None) -> None:
        """Raises Stale if the active bundle is not `replacing`. Activating the active bundle again changes nothing."""

    def deployment_turn(self) -> DeploymentTurn | None:
        """`None` before the first deployment."""

    def move_deployment_turn(self, before: DeploymentTurn | None, after: DeploymentTurn) -> None:
        """Raises Stale if the stored turn is neither `before` nor `after`."""

    def set_alive(self, component: str, at: datetime) -> None:
        """Note when `component` (scheduler, triggerer, dag_processor) last worked; `monitor/health` shows it."""

    def last_alive(self) -> dict[str, datetime]:
        """component → when it last worked."""
