"""The documents that the steps of `deploy_bundle` exchange, as JSON objects in the bucket under `parses/`.

`snapshot` writes a `Plan`; each `parse` keeps a `Progress` of its batch; `activate` reads all of them.
"""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from gust.model.bundle import BUNDLE_NAME
from gust.model.dag_spec import AssetRef
from gust.model.environment import Environments
from gust.model.event_rule import EventRule

ROUND: Final = 15.0
"""Seconds during which a parser begins files, counted from when it is ready. Their results are activated before the next
round: the first DAGs of a thousand files need not wait for the last, and a file that never ends delays each round once."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Manifest(_Document):
    """The files of a bundle: relative path → SHA-256 of the content. Stored beside the zip, under the same version."""

    version: str
    files: dict[str, str]
    etags: dict[str, str] = {}
    """Relative path → the bucket's entity tag when the content was read: equal tag, equal content."""
    environments: Environments = Environments()
    """A copy of the bundle's own file, for readers that do not open the zip."""
    variables: dict[str, str] = {}
    """Likewise: what the bucket's `startup.sh` exports."""
    options: dict[str, str] = {}
    """Likewise: Airflow's options."""
    from_plugins_zip: tuple[str, ...] = ()
    """Files below `plugins/` that come from the bucket's `plugins.zip`."""


class Plan(_Document):
    """The work of one deployment: the difference between the active bundle and the folder when the deployment began."""

    bundle_version: str
    bundle_name: str = BUNDLE_NAME
    replacing: str | None
    """Version of the bundle that was active; `None`: there was none."""
    batches: tuple[tuple[str, ...], ...]
    """Files to parse, relative paths."""
    waiting: tuple[str, ...] = ()
    """Files that must be parsed as well, by the next plan."""
    made_at: datetime | None = None
    removed: tuple[str, ...] = ()
    """Known files that are gone from the folder."""
    refused: dict[str, str] = {}
    """File left out of the bundle → why: no disk takes its name, or the folder is too large."""


class ParsedDag(_Document):
    """One DAG as one file defined it. The keys are hashes of the stored objects."""

    dag_id: str
    spec_key: str
    serialized_key: str
    source_key: str
    assets: tuple[AssetRef, ...] = ()
    """The assets (no aliases, no references) of its schedule, inlets and outlets, with their extras."""
    made_in: str = ""
    """Relative path of the file whose code made it. It is not the parsed file if that one imports the DAG or calls a
    helper's function. Empty: not known."""

    @property
    def keys(self) -> dict[str, Any]:
        """The fields by which a DAG and its version name the stored objects."""
        return {"spec_key": self.spec_key, "serialized_key": self.serialized_key, "source_key": self.source_key}


class ParseWarning(_Document):
    warning_type: str
    """Airflow's DagWarningType."""
    message: str


class FileOutcome(_Document):
    """The result of parsing one file. It may hold both problems and DAGs: one DAG of a file can fail alone."""

    relative_path: str
    dags: tuple[ParsedDag, ...] = ()
    import_errors: dict[str, str] = {}
    """File (of a zip: the file within it) → trace."""
    warnings: tuple[ParseWarning, ...] = ()
    """They apply to every DAG of the file."""
    event_rules: tuple[EventRule, ...] = ()
    """Of an `events.yaml`."""
    touched: tuple[str, ...] = ()
    """The other paths of the folder that it depends on, relative: files it imported or read, `folder/` for a folder that it
    listed, and files that it looked for and did not find."""
    settings: dict[str, str] = {}
    """Variables and connections that it asked for → the versions it received, see `services.settings.settings_read`."""
    is_worth_another_try: bool = False
    """It ran out of time, its process died, or a setting that it asked for could not be read."""
    listeners: tuple[str, ...] | None = None
    """Hooks that a listener of the bundle's plugins implements; `None`: the file's process died before it could say."""
    tasks: int = 0
    """Of all its DAGs."""
    modules: tuple[str, ...] = ()
    """Installed modules that it imported, in order."""
    parsed_at: datetime
    parse_duration: float
    """Seconds."""


class Progress(_Document):
    """The progress of a batch, rewritten after every file: a parser that dies loses only the file it was parsing."""

    outcomes: tuple[FileOutcome, ...] = ()
    deaths: dict[str, int] = {}
    """File → how often the parser died while it parsed it."""
    parsing: str | None = None
    """The file that is being parsed."""
    is_watched: bool = False
    """All files are parsed, and parsing them again under watch has begun: it is tried once."""
