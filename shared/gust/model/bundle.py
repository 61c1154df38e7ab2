"""Bundles: the folder `dags/` as it was at one moment, and what parsing it gave."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An immutable snapshot, named by the hash of its content: `bundles/<version>.zip` in the bucket."""

    name: str
    version: str
    created_at: datetime
    listeners: tuple[str, ...] = ()
    """Hooks that a listener of its plugins implements, by name: for what no run and no DAG stands behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentTurn:
    """Whose turn it is to deploy the folder: one deployment at a time, however many files come."""

    holder: str
    """Name of the deployment; empty: nobody's."""
    again: bool
    """Something came since its last snapshot: it must take another one before it ends."""
    until: datetime
    """When it is held for dead, if it gives none: then the turn is anybody's."""
    began: datetime | None = None
    """When the holder got the turn."""
    rounds: int = 0
    """How many plans it has made since."""
    looked_at: datetime | None = None
    """When it looked last; `None` where its last plan was of nothing but what had come since the look before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """What is known of one file of the folder. One item a file; replaced when the file or what it imports changed."""

    relative_path: str
    bundle_name: str
    fingerprint: str
    """Hash over the file and everything of the folder that it imported, `.airflowignore` and plugins included:
    equal fingerprint, equal outcome, so it need not be parsed again."""
    imports: tuple[str, ...] = ()
    """What of the folder decided its outcome, relative paths: files imported or read while it was parsed, `folder/` for a
    folder that was listed, and files that were looked for in vain."""
    settings: dict[str, str] = field(default_factory=dict)
    """Variables and connections that it was given while it was parsed → their versions, see `services.settings_read`."""
    dag_ids: tuple[str, ...] = ()
    """The DAGs that come from it; where it cannot be parsed now, those of its last good version."""
    made_in: dict[str, str] = field(default_factory=dict)
    """Of these DAGs, those that another file's code made → that file: should it give them itself, they are its own."""
    is_worth_another_try: bool = False
    """It ran out of time, or its process died: perhaps for want of a calmer moment. Equal fingerprint or not, a later
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
