"""Bundles: snapshots of the folder `dags/`, and the results of parsing them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

PLUGINS_PREFIX: Final = "plugins/"
"""In the folder: Airflow's PLUGINS_FOLDER. The parser looks for no DAGs in it."""

BUNDLE_NAME: Final = "dags-folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An immutable snapshot, named by the hash of its content: `bundles/<version>.zip` in the bucket."""

    name: str
    version: str
    created_at: datetime
    listeners: tuple[str, ...] = ()
    """Hooks that a listener of its plugins implements, by name: for events that belong to no run and no DAG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentTurn:
    """The right to deploy the folder: one deployment has it at a time, however many files arrive."""

    holder: str
    """Name of the deployment; empty if the turn is free."""
    again: bool
    """Something came since its last snapshot: it must take another one before it ends."""
    until: datetime
    """When the holder counts as dead unless it has renewed the turn: then any deployment may take it."""
    began: datetime | None = None
    """When the holder got the turn."""
    rounds: int = 0
    """How many plans it has made since."""
    looked_at: datetime | None = None
    """When it last looked at the whole folder; `None` if its last plan covered only the files uploaded since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """The last parse of one file of the folder. One item a file; replaced when the file or one of its imports changes."""

    relative_path: str
    bundle_name: str
    fingerprint: str
    """Hash over the file and everything of the folder that it imported, `.airflowignore` and plugins included:
    equal fingerprint, equal outcome, so it need not be parsed again."""
    imports: tuple[str, ...] = ()
    """The paths that decided its outcome, relative to the folder: files imported or read while it was parsed, `folder/` for
    a folder that was listed, and files that were looked for and missing."""
    settings: dict[str, str] = field(default_factory=dict)
    """Variables and connections that it read while it was parsed → their versions, see `services.settings.settings_read`."""
    dag_ids: tuple[str, ...] = ()
    """The DAGs that come from it; if it cannot be parsed now, the DAGs of its last good version."""
    made_in: dict[str, str] = field(default_factory=dict)
    """DAG of this file → the other file whose code made it. That file takes the DAG over when it defines it itself."""
    is_worth_another_try: bool = False
    """It ran out of time, or its process died, perhaps because the machine was busy. Whatever its fingerprint, a later
    deployment parses it again, once there is nothing else to parse."""
    parsed_at: datetime | None = None
    parse_duration: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProblem:
    """Airflow's ParseImportError: why a file gave no DAGs. The last good version of its DAGs stays."""

    import_error_id: int
    filename: str
    """Relative to the bundle's root."""
    bundle_name: str
    stack_trace: str
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DagWarning:
    """Airflow's DagWarning, e.g. `non-existent pool` or a dag_id that two files define."""

    dag_id: str
    warning_type: str
    message: str
    timestamp: datetime
    details: dict[str, str] = field(default_factory=dict)


def version_of(files: Mapping[str, str]) -> str:
    """The bundle's name: a hash over paths and contents."""
    return hashed(f"{path}\0{files[path]}" for path in sorted(files))


def hashed(lines: Iterable[str]) -> str:
    digest = sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
