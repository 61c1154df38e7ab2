"""Tasks read the settings of API users, and API users the settings of tasks; the table holds them encrypted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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

PLUGIN = """
    from airflow.plugins_manager import AirflowPlugin

    class Tides(AirflowPlugin):
        name = "tides"
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


def test_a_connection_is_tested_by_a_worker(tmp_path: Path) -> None:
    gust = LocalGust(tmp_path / "data", tmp_path / "dags", parameters={"TestConnection": "Enabled"})
    gust.start()
    try:
        call = gust.api.call
        assert call("GET", "/ui/config")["test_connection"] == "Enabled"
        good = {"connection_id": "folder", "conn_type": "fs", "extra": json.dumps({"path": str(tmp_path)})}
        bad = good | {"extra": '{"path": "/no/such/folder"}'}
        for connection, answer in (
            (good, {"status": True, "message": f"Path {tmp_path} is existing."}),
            (bad, {"status": False, "message": "Path /no/such/folder does not exist."}),
            # The emulator plays STS: the hook's own AWS calls go where the connection says.
            (an_aws_connection(gust), None),
        ):
            tested = call("POST", "/api/v2/connections/test", body=connection)
            assert tested == answer if answer else (tested["status"] and "Account='000000000000'" in tested["message"])
        assert call("GET", "/api/v2/connections")["total_entries"] == 0

        made = call("POST", "/api/v2/connections/enqueue-test", body=good | {"commit_on_success": True})
        assert made["state"] == "pending"
        ended = gust.await_connection_test(made["token"])
        assert (ended["state"], ended["result_message"]) == ("success", f"Path {tmp_path} is existing.")
        assert call("GET", "/api/v2/connections/folder")["extra"] == good["extra"]
        log = call("GET", "/api/v2/eventLogs?event=enqueue_connection_test")["event_logs"]
        assert [json.loads(event["extra"])["connection_id"] for event in log] == ["folder"]
    finally:
        gust.stop()


def an_aws_connection(gust: LocalGust) -> dict[str, Any]:
    extra = {"endpoint_url": gust.stack.endpoint, "region_name": "us-east-1"}
    extra["service_config"] = {"sts": {"endpoint_url": gust.stack.endpoint}}  # type: ignore[assignment]
    keys = {"login": "000000000000", "password": "local"}
    return {"connection_id": "cloud", "conn_type": "aws", **keys, "extra": json.dumps(extra)}


def test_the_key_survives_a_restart(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.api.call("POST", "/api/v2/variables", body={"key": "kept", "value": "over night"})
    own_gust.stop()
    own_gust.start()
    assert own_gust.api.call("GET", "/api/v2/variables/kept")["value"] == "over night"
