from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from gust.execution_api.datamodels.asset_event import consumed_event_response
from gust.execution_api.datamodels.base import Strict, UtcDateTime, moment
from gust.http.check import Query
from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.dag_run import DagRun
from gust.model.state import DagRunState


class TriggerDAGRunPayload(Strict):
    logical_date: UtcDateTime | None = None
    run_after: UtcDateTime | None = None
    conf: dict[str, Any] = Field(default_factory=dict)
    reset_dag_run: bool = False
    partition_key: str | None = None
    note: str | None = None


class CountDagRuns(Query):
    dag_id: str
    logical_dates: list[UtcDateTime] | None = None
    run_ids: list[str] | None = None
    states: list[str] | None = None


class PreviousDagRun(Query):
    dag_id: str
    logical_date: UtcDateTime
    state: DagRunState | None = None


def dag_run_response(
    run: DagRun, events: Sequence[AssetEvent] = (), assets: Mapping[AssetKey, Asset] | None = None
) -> dict[str, Any]:
    """`events` made the run; `assets` are their assets."""
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "logical_date": moment(run.logical_date),
        "data_interval_start": moment(run.data_interval_start),
        "data_interval_end": moment(run.data_interval_end),
        "run_after": moment(run.run_after),
        "start_date": moment(run.start_date),
        "end_date": moment(run.end_date),
        "clear_number": run.clear_number,
        "run_type": run.run_type.value,
        "state": run.state.value,
        "conf": run.conf,
        "triggering_user_name": run.triggering_user_name,
        "consumed_asset_events": [consumed_event_response(event, (assets or {})[event.asset]) for event in events],
        "partition_key": run.partition_key,
        "partition_date": moment(run.partition_date),
        "note": run.note,
        "team_name": None,
    }
