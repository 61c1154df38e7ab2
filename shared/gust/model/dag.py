"""A DAG's own item, apart from its versions: Airflow's DagModel."""

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
    """Its file is gone or no longer defines it."""
    has_import_errors: bool = False
    version_number: int = 0
    spec_key: str = ""
    serialized_key: str = ""
    source_key: str = ""
    """The file's text as last parsed. Newer than the newest version's text if an edit changed nothing of the DAG."""
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
    """Rights that the file gives to roles by name, in addition to the roles' own."""
    running_runs: int = 0
    """How many runs are `running`; changed in the transaction that moves the run."""
    success_runs: int = 0
    failed_runs: int = 0
    """How many runs have ended in each state, backfill runs included; changed in the write that ends the run. Lists use
    them as totals."""
    next_logical_date: datetime | None = None
    next_data_interval_start: datetime | None = None
    next_data_interval_end: datetime | None = None
    next_partition_date: datetime | None = None
    next_partition_key: str | None = None
    next_run_id: str | None = None
    """The next run's id, if a plugin's timetable names it; `None` if the id follows from the other fields."""
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
    """Key of the file's text in the bucket, as it was parsed."""
    dag_display_name: str = ""

    @property
    def id(self) -> UUID:
        """Derived, so that it need not be stored."""
        return uuid5(DAG_VERSION_NAMESPACE, f"{self.dag_id}\x1f{self.version_number}")
