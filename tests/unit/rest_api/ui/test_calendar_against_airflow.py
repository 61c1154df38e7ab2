"""Runs to come, as Airflow's calendar plans them, on its own timetables and ours."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pendulum
from airflow.api_fastapi.core_api.services.ui.calendar import CalendarService
from airflow.timetables.base import Timetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable, MultipleCronTriggerTimetable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.state import DagRunState, DagRunType
from gust.rest_api.ui.calendar import _cell, _planned
from tests.unit.rest_api.world import etl_spec
from tests.unit.scheduling.test_timetable_against_airflow import airflow_clock, spec_of

NOW = datetime(2026, 12, 26, 7, 30, tzinfo=UTC)
ZONES = ["UTC", "Asia/Kolkata", "America/New_York"]
CRONS = ["0 0 * * *", "*/30 * * * *", "0 */6 * * *", "5 4 * * sun", "* * * * *", "0 0 1 * *"]

TIMETABLES: dict[str, Timetable] = {
    **{f"at {cron} in {zone}": CronTriggerTimetable(cron, timezone=zone) for cron in CRONS for zone in ZONES},
    **{f"over {cron} in {zone}": CronDataIntervalTimetable(cron, timezone=zone) for cron in CRONS for zone in ZONES},
    "every four hours": DeltaTriggerTimetable(timedelta(hours=4)),
    "over four hours": DeltaDataIntervalTimetable(timedelta(hours=4)),
    "at two times": MultipleCronTriggerTimetable("0 6 * * *", "30 18 * * *", timezone="UTC"),
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(TIMETABLES)),
    hours=st.integers(-48, 4),
    covered=st.sampled_from([0, 1, 24]),
    end=st.sampled_from([None, NOW + timedelta(days=2)]),
    granularity=st.sampled_from(["daily", "hourly"]),
)
def test_what_is_planned(name: str, hours: int, covered: int, end: datetime | None, granularity: str) -> None:
    tested = TIMETABLES[name]
    until = NOW.replace(minute=0) + timedelta(hours=hours)
    since = until - timedelta(hours=covered)
    run = DagRun(
        dag_id="d", run_id="r", run_type=DagRunType.SCHEDULED, state=DagRunState.SUCCESS, run_after=until, queued_at=until,
        logical_date=since, data_interval_start=since, data_interval_end=until, version_number=1, spec_key="",
    )  # fmt: skip
    spec = etl_spec(timetable=spec_of(tested), start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=end)
    ours = Counter(_cell(at, granularity) for at in _planned(Dag(dag_id="d"), spec, [run], granularity, NOW))
    assert ours == airflows(tested, run, end, granularity)


def airflows(tested: Timetable, run: DagRun, end: datetime | None, granularity: Any) -> Counter[datetime]:
    dag: Any = SimpleNamespace(
        timetable=tested,
        start_date=pendulum.datetime(2026, 1, 1),
        end_date=pendulum.instance(end) if end else None,
    )
    last: Any = SimpleNamespace(
        data_interval_start=run.data_interval_start,
        data_interval_end=run.data_interval_end,
        run_after=run.run_after,
        partition_date=None,
    )
    everything: Any = SimpleNamespace(value=None)
    with airflow_clock(NOW):
        cells = CalendarService()._get_planned_dag_runs(dag, [last], everything, granularity)
    return Counter({cell.date.astimezone(UTC): cell.count for cell in cells})
