"""What the steps of `deploy_bundle` hand each other, as JSON objects in the bucket under `parses/`.

`snapshot` writes a `Plan`; each `parse` keeps a `Progress` of its batch; `activate` reads all of them.
"""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from gust.model.dag_spec import AssetRef
from gust.model.environment import Environments

DAGS_PREFIX: Final = "dags/"
"""In the bucket. What lies under it is the folder; paths are relative to it everywhere else."""

PLUGINS_PREFIX: Final = "plugins/"
"""In the folder: Airflow's PLUGINS_FOLDER. No DAGs are looked for in it."""

BUNDLE_NAME: Final = "dags-folder"

ROUND: Final = 15.0
"""Seconds in which a parser begins files, from when it is ready. What they gave is activated before it goes on: the first
DAGs of a thousand files need not wait for the last, and a file that never ends is waited for once in a round."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Manifest(_Document):
    """The files of a bundle: relative path → SHA-256 of the content. Lies beside the zip, under the same version."""

    version: str
    files: dict[str, str]
    etags: dict[str, str] = {}
    """Relative path → the bucket's entity tag when the content was read: equal tag, equal content."""
    environments: Environments = Environments()
    """As the bundle's own file says, for who need not open the zip."""


class Plan(_Document):
    """What one deployment has to do, from what was active to what the folder held when it began."""

    bundle_version: str
    bundle_name: str = BUNDLE_NAME
    replacing: str | None
    """Version of the bundle that was active; `None`: there was none."""
    batches: tuple[tuple[str, ...], ...]
    """Files to parse, relative paths."""
    waiting: tuple[str, ...] = ()
    """Files that must be parsed, too, and are the next plan's."""
    made_at: datetime | None = None
    removed: tuple[str, ...] = ()
    """Files that were known and are gone."""
    refused: dict[str, str] = {}
    """Files that the bundle does not hold, and why: no disk takes their names, or the folder is too large."""


class ParsedDag(_Document):
    """One DAG as one file gave it. The keys are hashes of what lies under them."""

    dag_id: str
    spec_key: str
    serialized_key: str
    source_key: str
    assets: tuple[AssetRef, ...] = ()
    """The assets (no aliases, no references) of its schedule, inlets and outlets, with their extras."""
    made_in: str = ""
    """Relative path of the file whose code made it: another one than was parsed where that imports it, or has it made by a
    helper's function. Empty: not known."""


class ParseWarning(_Document):
    warning_type: str
    """Airflow's DagWarningType."""
    message: str


class FileOutcome(_Document):
    """What parsing one file gave. Problems and DAGs may come together: one DAG of a file can fail alone."""

    relative_path: str
    dags: tuple[ParsedDag, ...] = ()
    import_errors: dict[str, str] = {}
    """File (of a zip: the file within it) → trace."""
    warnings: tuple[ParseWarning, ...] = ()
    """Hold for every DAG of the file."""
    touched: tuple[str, ...] = ()
    """What of the folder it depends on beside itself, relative paths: files it imported or read, `folder/` for a folder
    whose names it listed, and files that it looked for in vain."""
    settings: dict[str, str] = {}
    """Variables and connections that it asked for → the versions that it was given, see `services.settings_read`."""
    is_worth_another_try: bool = False
    """It ran out of time, its process died, or what it asked for could not be read."""
    listeners: tuple[str, ...] | None = None
    """Hooks that a listener of the bundle's plugins implements; `None`: the file's process did not come to say."""
    parsed_at: datetime
    parse_duration: float
    """Seconds."""


class Progress(_Document):
    """How far a batch is, rewritten after every file: a parser that dies loses the file it was at and no other."""

    outcomes: tuple[FileOutcome, ...] = ()
    deaths: dict[str, int] = {}
    """File → how often the parser began it and never came back."""
    parsing: str | None = None
    """The file that is being parsed."""
