"""Tasks read the settings of API users, and API users the settings of tasks; the table holds them encrypted."""

from __future__ import annotations

import json

import pytest

from gust.model.connection import CONNECTIONS
from gust.model.variable import VARIABLES
from gust.services.settings.variables import find_variable
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

USES_SETTINGS = """
    from datetime import datetime
    from airflow.sdk import Connection, Variable, dag, task

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def uses_settings():
        @task
        def read_and_write():
            connection = Connection.get("warehouse")
            token = connection.extra_dejson["token"]
            Variable.set("seen_by_task", f"{Variable.get('for_task')} {connection.password} {token}")

        read_and_write()

    uses_settings()
"""

WAITS_FOR_A_KEY = """
    import time
    from airflow.sdk import Variable, dag, task

    @dag(schedule=None)
    def waits_for_a_key():
        @task
        def before_and_after():
            Variable.set("task_runs", "yes")
            while Variable.get("key_is_new", default=None) is None:
                time.sleep(0.2)

        @task
        def downstream():
            return Variable.get("key_is_new")

        before_and_after() >> downstream()

    waits_for_a_key()
"""

PLUGIN = """
    from airflow.plugins_manager import AirflowPlugin
    from airflow.timetables.base import DagRunInfo, DataInterval, Timetable
    from pendulum import duration

    class Tide(Timetable):
        \"""Every twelve hours and 25 minutes.\"""

        def infer_manual_data_interval(self, run_after):
            return DataInterval(run_after - duration(hours=12, minutes=25), run_after)

        def next_dagrun_info(self, *, last_automated_data_interval, restriction):
            start = last_automated_data_interval.end if last_automated_data_interval else restriction.earliest
            if start > restriction.latest:
                return None
            return DagRunInfo.interval(start, start + duration(hours=12, minutes=25))

    class Tides(AirflowPlugin):
        name = "tides"
        timetables = [Tide]
"""

BY_TIDES = """
    from datetime import UTC, datetime, timedelta
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.sdk import DAG, DeadlineAlert, DeadlineReference, SyncCallback, task
    from tides import Tide

    def late(): ...

    with DAG(
        "by_tides",
        schedule=Tide(),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        end_date=datetime(2026, 1, 1, 13, tzinfo=UTC),
        catchup=True,
        is_paused_upon_creation=False,
        deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=3), SyncCallback(late)),
    ):
        @task
        def lasts(data_interval_start=None, data_interval_end=None):
            return (data_interval_end - data_interval_start).total_seconds() / 3600

        TriggerDagRunOperator(
            task_id="again",
            trigger_dag_id="by_tides",
            trigger_run_id="again",
            logical_date="2026-01-01T06:00:00+00:00",
            skip_when_already_exists=True,
        )
        lasts()
"""


def test_settings_reach_tasks_and_come_back(gust: LocalGust) -> None:
    gust.upload("uses_settings.py", USES_SETTINGS)
    gust.await_dag("uses_settings")
    call = gust.api.call
    call("POST", "/api/v2/variables", body={"key": "for_task", "value": "s3cret-1"})
    connection = {"connection_id": "warehouse", "conn_type": "postgres", "password": "s3cret-2"}
    call("POST", "/api/v2/connections", body=connection | {"extra": json.dumps({"token": "s3cret-3"})})
    run_id = gust.trigger("uses_settings", run_id="one")
    gust.await_state("uses_settings", run_id, "success")
    services = gust.services()
    stored = [services.store.list_settings(namespace) for namespace in (VARIABLES, CONNECTIONS)]
    assert "s3cret" not in json.dumps(stored)
    variable = find_variable(services, "seen_by_task")
    assert variable is not None
    assert variable.value == "s3cret-1 s3cret-2 s3cret-3"
    assert call("GET", "/api/v2/connections/warehouse")["password"] == "***"
    log = call("GET", "/api/v2/eventLogs?order_by=-when&dag_id=uses_settings")["event_logs"]
    assert [(event["event"], event["run_id"]) for event in log] == [("trigger_dag_run", run_id)]


def test_the_signing_key_is_replaced_under_a_task_that_runs(gust: LocalGust) -> None:
    gust.upload("waits_for_a_key.py", WAITS_FOR_A_KEY)
    gust.await_dag("waits_for_a_key")
    run_id = gust.trigger("waits_for_a_key", run_id="one")
    gust.await_variable("task_runs")

    rotated = gust.stack.client("lambda").invoke(FunctionName="gust-key-rotation", Payload=b"{}")

    assert json.loads(rotated["Payload"].read()) == {"is_new": True}
    gust.api.call("POST", "/api/v2/variables", body={"key": "key_is_new", "value": "yes"})
    gust.await_state("waits_for_a_key", run_id, "success")


def test_what_is_installed_and_a_file_that_is_parsed_again(gust: LocalGust) -> None:
    gust.upload("plugins/tides.py", PLUGIN)
    gust.upload("again.py", USES_SETTINGS.replace("uses_settings", "parsed_again"))
    dag = gust.await_dag("parsed_again")
    call = gust.api.call
    gust.await_plugin("tides")
    packages = [provider["package_name"] for provider in call("GET", "/api/v2/providers")["providers"]]
    assert "apache-airflow-providers-standard" in packages
    call("PUT", f"/api/v2/parseDagFile/{dag['file_token']}")
    gust.await_dag("parsed_again", since=dag["last_parsed_time"])


def test_runs_of_a_plugins_timetable_follow_each_other_and_are_triggered_by_tasks(gust: LocalGust) -> None:
    gust.upload("plugins/tides.py", PLUGIN)
    gust.upload("by_tides.py", BY_TIDES)
    gust.await_dag("by_tides")

    runs = gust.await_runs("by_tides", 2, run_type="scheduled")
    assert [run["logical_date"] for run in runs] == ["2026-01-01T00:00:00Z", "2026-01-01T12:25:00Z"]
    for run_id in (*(run["dag_run_id"] for run in runs), "again"):
        gust.await_state("by_tides", run_id, "success")
        assert gust.xcom("by_tides", run_id, "lasts") == pytest.approx(12 + 25 / 60)


def test_the_key_survives_a_restart(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.api.call("POST", "/api/v2/variables", body={"key": "kept", "value": "over night"})
    own_gust.stop()
    own_gust.start()
    assert own_gust.api.call("GET", "/api/v2/variables/kept")["value"] == "over night"
