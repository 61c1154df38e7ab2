from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Discriminator, Field, JsonValue, Tag

from gust.execution_api.datamodels.asset import AssetProfile
from gust.execution_api.datamodels.base import Strict, UtcDateTime, moment
from gust.execution_api.datamodels.dagrun import dag_run_response
from gust.http.check import Query
from gust.model.dag_run import DagRun
from gust.model.field_values import values_of
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.services.worker.emit_asset_events import OutletEvent
from gust.services.worker.start_task_instance import Started


class TIEnterRunningPayload(Strict):
    state: Literal[S.RUNNING]
    hostname: str
    unixname: str
    pid: int
    start_date: UtcDateTime


class TITerminalStatePayload(Strict):
    state: Literal[S.FAILED, S.SKIPPED, S.REMOVED, S.UPSTREAM_FAILED]
    end_date: UtcDateTime
    rendered_map_index: str | None = None


class TISuccessStatePayload(Strict):
    state: Literal[S.SUCCESS]
    end_date: UtcDateTime
    task_outlets: list[AssetProfile] = Field(default_factory=list)
    outlet_events: list[dict[str, Any]] = Field(default_factory=list)
    rendered_map_index: str | None = None


class _ResumedLater(Strict):
    next_method: str
    next_kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    rendered_map_index: str | None = None


class TIDeferredStatePayload(_ResumedLater):
    state: Literal[S.DEFERRED]
    classpath: str
    trigger_kwargs: dict[str, JsonValue] | str = Field(default_factory=dict)
    trigger_timeout: timedelta | None = None
    queue: str | None = None


class TIRescheduleStatePayload(Strict):
    state: Literal[S.UP_FOR_RESCHEDULE]
    reschedule_date: UtcDateTime
    end_date: UtcDateTime


class TIAwaitingInputStatePayload(_ResumedLater):
    state: Literal[S.AWAITING_INPUT]
    timeout: timedelta | None = None


class TIRetryStatePayload(Strict):
    state: Literal[S.UP_FOR_RETRY]
    end_date: UtcDateTime
    rendered_map_index: str | None = None
    retry_delay_seconds: float | None = None
    retry_reason: str | None = None


class TITargetStatePayload(Strict):
    """Any other state. It is well formed, but a running try has no edge to it."""

    state: Literal[S.SCHEDULED, S.QUEUED, S.RUNNING, S.RESTARTING]


def _kind(payload: Any) -> str:
    """Airflow's tag of the model; the `loc` of a validation error shows it."""
    state = payload.get("state") if isinstance(payload, Mapping) else getattr(payload, "state", None)
    match state:
        case S.SUCCESS | S.DEFERRED | S.UP_FOR_RESCHEDULE | S.AWAITING_INPUT | S.UP_FOR_RETRY:
            return str(state)
        case S.FAILED | S.SKIPPED | S.REMOVED | S.UPSTREAM_FAILED:
            return "_terminal_"
        case _:
            return "_other_"


TIStateUpdate = Annotated[
    Annotated[TITerminalStatePayload, Tag("_terminal_")]
    | Annotated[TISuccessStatePayload, Tag("success")]
    | Annotated[TITargetStatePayload, Tag("_other_")]
    | Annotated[TIDeferredStatePayload, Tag("deferred")]
    | Annotated[TIRescheduleStatePayload, Tag("up_for_reschedule")]
    | Annotated[TIAwaitingInputStatePayload, Tag("awaiting_input")]
    | Annotated[TIRetryStatePayload, Tag("up_for_retry")],
    Discriminator(_kind),
]


class TIHeartbeatInfo(Strict):
    hostname: str
    pid: int


class TISkippedDownstreamTasksStatePayload(Strict):
    tasks: list[str | tuple[str, int]]


class SelectTaskInstances(Query):
    dag_id: str
    map_index: int | None = None
    task_ids: list[str] | None = None
    task_group_id: str | None = None
    logical_dates: list[UtcDateTime] | None = None
    run_ids: list[str] | None = None


class CountTaskInstances(SelectTaskInstances):
    states: list[str] | None = None


class PreviousTaskInstance(Query):
    logical_date: UtcDateTime | None = None
    map_index: int = -1
    state: S | None = None


class Breadcrumbs(Query):
    dag_id: str
    run_id: str


class _AssetKey(BaseModel):
    name: str
    uri: str


class OutletEventPayload(BaseModel):
    """One entry of `outlet_events`. Airflow leaves its shape open and reads these fields."""

    dest_asset_key: _AssetKey
    extra: dict[str, Any] = Field(default_factory=dict)
    source_alias_name: str | None = None
    dest_asset_extra: dict[str, Any] = Field(default_factory=dict)
    partition_key: str | None = None

    def to_event(self) -> OutletEvent:
        return OutletEvent(
            name=self.dest_asset_key.name,
            uri=self.dest_asset_key.uri,
            extra=self.extra,
            alias=self.source_alias_name,
            asset_extra=self.dest_asset_extra,
            partition_key=self.partition_key,
        )


def run_context(started: Started) -> dict[str, Any]:
    """Airflow's TIRunContext. The last three fields only where the try resumes from a trigger."""
    instance = started.instance
    context: dict[str, Any] = {
        "dag_run": dag_run_response(started.run, started.events, started.assets),
        "task_reschedule_count": instance.reschedule_count,
        "max_tries": instance.max_tries,
        "variables": [],
        "connections": [],
        "xcom_keys_to_clear": list(started.xcom_keys_to_clear),
        "should_retry": started.should_retry,
    }
    if instance.next_method:
        context |= {
            "next_method": instance.next_method,
            "next_kwargs": instance.next_kwargs,
            "start_date": moment(instance.start_date),
        }
    return context


def previous_successful_dagrun_response(run: DagRun | None) -> dict[str, Any]:
    return {
        "data_interval_start": moment(run.data_interval_start) if run else None,
        "data_interval_end": moment(run.data_interval_end) if run else None,
        "start_date": moment(run.start_date) if run else None,
        "end_date": moment(run.end_date) if run else None,
    }


_plain_of_try: Final = values_of(
    TaskInstance, "task_id", "dag_id", "run_id", "state", "try_number", "map_index", "duration"
)


def previous_ti_response(run: DagRun, instance: TaskInstance) -> dict[str, Any]:
    return {
        **_plain_of_try(instance),
        "logical_date": moment(run.logical_date),
        "start_date": moment(instance.start_date),
        "end_date": moment(instance.end_date),
    }


breadcrumb: Final = values_of(TaskInstance, "task_id", "map_index", "state", "operator", "duration")
