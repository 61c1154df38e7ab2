"""What is stored of a DAG beside its versions: Airflow's DagModel."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from gust.model.access import AccessControl

DAG_VERSION_NAMESPACE: Final = UUID("0b8f2a5e-7c55-5d0a-8a54-5c1d9f0f7d43")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """All moments are aware datetimes in UTC. Fields that come from the file are those of the newest version."""

    dag_id: str
    dag_display_name: str = ""
    description: str | None = None
    bundle_name: str = "dags-folder"
    bundle_version: str | None = None
    fileloc: str = ""
    relative_fileloc: str = ""
    is_paused: bool = False
    is_stale: bool = False
    """The file that held it is gone, or holds it no more."""
    has_import_errors: bool = False
    version_number: int = 0
    spec_key: str = ""
    serialized_key: str = ""
    source_key: str = ""
    """The file's text as it was parsed last. Newer than the newest version's where an edit changed no more than the text."""
    last_parsed_time: datetime | None = None
    last_parse_duration: float | None = None
    """Seconds."""
    timetable_summary: str | None = None
    timetable_description: str | None = None
    timetable_partitioned: bool = False
    timetable_periodic: bool = True
    has_watchers: bool = False
    """Its schedule names assets that a trigger watches."""
    is_asset_triggered: bool = False
    """Its schedule names assets, alone or beside a timetable."""
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    max_active_runs: int = 16
    max_active_tasks: int = 16
    max_consecutive_failed_dag_runs: int = 0
    has_task_concurrency_limits: bool = False
    allowed_run_types: tuple[str, ...] | None = None
    access_control: AccessControl | None = None
    """What the file gives to roles by name, beside what they may of every DAG."""
    running_runs: int = 0
    """How many runs are `running`; changed in the transaction that moves the run."""
    success_runs: int = 0
    failed_runs: int = 0
    """How many runs have ended so, backfills' too; changed with them. Lists are counted by these."""
    next_logical_date: datetime | None = None
    next_data_interval_start: datetime | None = None
    next_data_interval_end: datetime | None = None
    next_partition_date: datetime | None = None
    next_partition_key: str | None = None
    next_run_id: str | None = None
    """How a plugin's timetable names its next run; `None` where the name follows from the other fields."""
    next_run_after: datetime | None = None
    """When the timetable's next run is made; `None` when there is none. Stands in the `due` index unless paused or stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DagVersion:
    """One version of a DAG: made when the parsed DAG differs from the version before, never changed afterwards."""

    dag_id: str
    version_number: int
    created_at: datetime
    bundle_name: str
    bundle_version: str | None
    spec_key: str
    serialized_key: str
    source_key: str
    """Where in the bucket the file's text lies, as it was parsed."""
    dag_display_name: str = ""

    @property
    def id(self) -> UUID:
        """Derived, so that it need not be stored."""
        return uuid5(DAG_VERSION_NAMESPACE, f"{self.dag_id}\x1f{self.version_number}")
