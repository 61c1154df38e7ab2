"""Packages that teams install most, from the package index: pandas, the postgres, snowflake and slack providers, cosmos.

Each is used, not only imported: PostgreSQL is a real one, Slack's API answers from this process.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.server import OracleError, postgres
from tests.system.local_gust import LocalGust
from tests.system.package_index import answers

pytestmark = pytest.mark.timeout(900)

BUILDS_FOR = 400.0
"""Seconds that resolving, fetching and parsing may take together."""

PACKAGES = {
    "shop": "pandas\napache-airflow-providers-postgres\napache-airflow-providers-slack\nastronomer-cosmos\n",
    "cold": "apache-airflow-providers-snowflake\n",
}
"""Folder → its requirements.txt."""

WAREHOUSE = """
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.providers.slack.notifications.slack import send_slack_notification
    from airflow.providers.slack.operators.slack import SlackAPIPostOperator
    from airflow.sdk import dag, task

    @task
    def frame():
        import pandas
        hook = PostgresHook("shop")
        hook.insert_rows("orders", [("pear", 3), ("plum", 4)], target_fields=["fruit", "pieces"])
        read = hook.get_df("SELECT * FROM orders ORDER BY fruit", df_type="pandas")
        assert isinstance(read, pandas.DataFrame)
        return {"pieces": int(read["pieces"].sum()), "fruit": read["fruit"].tolist()}

    @dag(schedule=None, on_success_callback=send_slack_notification(slack_conn_id="chat", text="done", channel="#shop"))
    def warehouse():
        create = SQLExecuteQueryOperator(
            task_id="create", conn_id="shop", sql="CREATE TABLE orders (fruit text, pieces int)"
        )
        tell = SlackAPIPostOperator(
            task_id="tell",
            slack_conn_id="chat",
            channel="#shop",
            text="pieces: {{ ti.xcom_pull(task_ids='frame')['pieces'] }}",
        )
        create >> frame() >> tell

    warehouse()
"""

COLD = """
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
    from airflow.sdk import dag, task

    @task
    def look():
        import pandas
        import snowflake.connector
        hook = SnowflakeHook("cold")
        print("account", hook._get_conn_params["account"], snowflake.connector.paramstyle, hook.get_uri())

    @dag(schedule=None)
    def cold():
        look()

    cold()
"""

TRANSFORM = """
    from pathlib import Path

    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk import dag, task
    from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
    from cosmos.constants import ExecutionMode, LoadMode
    from cosmos.profiles import PostgresUserPasswordProfileMapping

    @task
    def look():
        print("found", PostgresHook("shop").get_first("SELECT total FROM totals"))

    @dag(schedule=None)
    def transform():
        models = DbtTaskGroup(
            group_id="models",
            project_config=ProjectConfig(Path(__file__).parent / "dbt"),
            profile_config=ProfileConfig(
                profile_name="shop",
                target_name="dev",
                profile_mapping=PostgresUserPasswordProfileMapping(conn_id="shop", profile_args={"schema": "public"}),
            ),
            render_config=RenderConfig(load_method=LoadMode.CUSTOM),
            execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV),
            # dbt-core 1.12 fetches a part of itself from GitHub, which not every machine reaches.
            operator_args={"py_requirements": ["dbt-postgres", "dbt-core<1.12"], "queue": "fargate"},
        )
        models >> look()

    transform()
"""

PROJECT = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: shop\nmodel-paths: [models]\n",
    "models/totals.sql": "{{ config(materialized='table') }}\nSELECT 40 + 2 AS total\n",
}


@dataclass
class Slack:
    """Slack's API, of which every call succeeds."""

    url: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    seen = Slack()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with_json = "json" in self.headers.get("content-type", "")
            seen.told.append({"path": self.path, **(json.loads(body) if with_json else {"form": body.decode()})})
            answer = b'{"ok": true, "channel": "C1", "ts": "1.0"}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}/api/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """`user@host:port/database`."""
    home = Path(tempfile.mkdtemp(prefix="gust-postgres-"))
    home.chmod(0o755)  # PostgreSQL runs as another user where this one is root
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        try:
            yield stack.enter_context(postgres(home / "cluster"))
        except OracleError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def equipped(gust: LocalGust, slack: Slack, database: str, tmp_path_factory: pytest.TempPathFactory) -> LocalGust:
    """The stack with folders, their packages, and connections."""
    if not answers("pandas", tmp_path_factory.mktemp("index")):
        pytest.skip("no package index answers")
    user, _, rest = database.partition("@")
    host, _, name = rest.partition("/")
    connections = [
        {
            "connection_id": "shop",
            "conn_type": "postgres",
            "host": host.partition(":")[0],
            "port": int(host.partition(":")[2]),
            "login": user,
            "password": "any",
            "schema": name,
        },
        {
            "connection_id": "chat",
            "conn_type": "slack",
            "password": "xoxb",
            "extra": json.dumps({"base_url": slack.url}),
        },
        {
            "connection_id": "cold",
            "conn_type": "snowflake",
            "login": "u",
            "password": "p",
            "extra": '{"account": "ice"}',
        },
    ]
    for connection in connections:
        gust.api.call("POST", "/api/v2/connections", body=connection)
    files = {f"{folder}/requirements.txt": text for folder, text in PACKAGES.items()}
    files |= {f"shop/dbt/{path}": text for path, text in PROJECT.items()}
    files |= {"shop/transform.py": TRANSFORM, "shop/warehouse.py": WAREHOUSE}
    for path, text in files.items():
        gust.save(path, text)
    gust.upload("cold/etl.py", COLD)  # and all that were saved
    return gust


def test_a_dag_reads_postgres_into_pandas_and_tells_slack(equipped: LocalGust, slack: Slack) -> None:
    equipped.await_dag("warehouse", within=BUILDS_FOR)

    run_id = equipped.trigger("warehouse")
    equipped.await_state("warehouse", run_id, "success", within=BUILDS_FOR)

    assert equipped.xcom("warehouse", run_id, "frame") == {"pieces": 7, "fruit": ["pear", "plum"]}
    equipped._await(lambda: len(slack.told) >= 2 or None, 60, lambda: f"{slack.told}")
    assert {"/api/chat.postMessage"} == {told["path"] for told in slack.told}
    assert "pieces: 7" in json.dumps(slack.told[0])
    assert "done" in json.dumps(slack.told[1])


def test_a_dag_has_the_driver_of_snowflake_and_the_web_ui_its_form(equipped: LocalGust) -> None:
    equipped.await_dag("cold", within=BUILDS_FOR)

    run_id = equipped.trigger("cold")
    equipped.await_state("cold", run_id, "success", within=BUILDS_FOR)

    equipped.await_log("cold", run_id, "look", "account ice pyformat snowflake://u:")
    forms = equipped.api.call("GET", "/ui/connections/hook_meta")
    assert {"postgres", "slack", "snowflake"} <= {form["connection_type"] for form in forms}
    providers = equipped.api.pages("/api/v2/providers", "providers")
    assert {"apache-airflow-providers-slack", "apache-airflow-providers-snowflake"} <= {
        provider["package_name"] for provider in providers
    }


def test_cosmos_runs_dbt_in_a_virtual_environment_of_its_own(equipped: LocalGust) -> None:
    equipped.await_dag("transform", within=BUILDS_FOR)

    run_id = equipped.trigger("transform")
    equipped.await_state("transform", run_id, "success", within=BUILDS_FOR)

    equipped.await_log("transform", run_id, "look", "found (42,)")
