"""The clients that people have, unmodified: `airflowctl` and the generated Python client at their usual work.

With `--airflow` they work with real Airflow, and airflowctl's output is recorded; without it, the output with Gust is
compared with the recording.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from pathlib import Path
from typing import Any, Final

import airflow_client.client as airflow_client
import httpx
import pytest
import structlog
from airflow_client.client import models
from airflow_client.client.api.asset_api import AssetApi
from airflow_client.client.api.backfill_api import BackfillApi
from airflow_client.client.api.connection_api import ConnectionApi
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.api.dag_run_api import DagRunApi
from airflow_client.client.api.monitor_api import MonitorApi
from airflow_client.client.api.pool_api import PoolApi
from airflow_client.client.api.task_instance_api import TaskInstanceApi
from airflow_client.client.api.variable_api import VariableApi
from airflow_client.client.api.x_com_api import XComApi
from airflow_client.client.exceptions import ApiException, NotFoundException
from airflowctl.api.client import Client
from airflowctl.ctl import cli_parser
from airflowctl.ctl.cli_config import GroupCommand, core_commands, safe_call_command

from gust.model.access import Role
from gust.model.user import User
from tests.system.local_gust import PATIENCE, AnyAirflow, LocalGust
from tests.system.real_airflow import asked_for, made_for
from tests.system.transcript import Transcript

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAGS: Final = """
    from datetime import datetime
    from airflow.sdk import Asset, AssetAlias, dag, task

    shelf = Asset(name="{prefix}_shelf", uri="{prefix}://shelf")

    @dag(dag_id="{prefix}_makes", schedule=None, start_date=datetime(2026, 1, 1), tags=["{prefix}"])
    def makes():
        @task(outlets=[shelf, AssetAlias("{prefix}_alias")])
        def make():
            return 42

        @task
        def fails():
            raise ValueError("no")

        make()
        fails()

    @dag(dag_id="{prefix}_takes", schedule=[shelf, Asset(name="{prefix}_other", uri="{prefix}://other")])
    def takes():
        @task
        def take():
            return 1

        take()

    @dag(dag_id="{prefix}_daily", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False,
         is_paused_upon_creation=True)
    def daily():
        @task
        def day():
            return 1

        day()

    makes(), takes(), daily()
"""


def names(commands: Any, *above: str) -> Iterator[str]:
    for command in commands:
        if isinstance(command, GroupCommand):
            yield from names(command.subcommands, *above, command.name)
        else:
            yield " ".join((*above, command.name))


class Refused(Exception):
    """airflowctl ended with another status than 0; the message is what it printed."""


class Airflowctl:
    """Runs commands as the terminal would, in this process: starting one takes seconds. Remembers which it ran."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.ran: set[str] = set()
        self.transcript = Transcript()

    def __call__(self, command: str, *arguments: object) -> str:
        """What the command prints."""
        self.ran.add(command)
        line = " ".join((command, *(str(each) for each in arguments if not str(each).isdigit())))
        try:
            told = self._run(command, *arguments)
        except Refused as refusal:
            self.transcript.note(line, "refused", str(refusal))
            raise
        except Exception as error:
            self.transcript.note(line, "stumbled", f"{type(error).__name__} {self._capsys.readouterr().out}")
            raise
        self.transcript.note(line, "granted", told)
        return told

    def _run(self, command: str, *arguments: object) -> str:
        parsed = cli_parser.get_parser().parse_args([*command.split(), *map(str, arguments)])
        self._capsys.readouterr()
        try:
            safe_call_command(parsed.func, args=parsed)
        except SystemExit as end:
            if end.code:
                # In one line: another test of this process may have made the terminal narrow.
                raise Refused(" ".join(f"{end.code} {self._capsys.readouterr().out}".split())) from end
        return self._capsys.readouterr().out

    def json(self, command: str, *arguments: object) -> Any:
        return json.loads(self(command, *arguments, "--output", "json"))


WITHOUT_COUNTERPART: Final = {
    # airflowctl 0.1.5 asks with POST what the contract has as PUT. It fails at Airflow's own server, too.
    "backfill pause": "Method Not Allowed",
    "backfill unpause": "Method Not Allowed",
    "backfill cancel": "Method Not Allowed",
    # airflowctl 0.1.5 asks under paths that the contract does not have. It fails at Airflow's own server, too.
    "assets delete-queued-events": "Method Not Allowed",
    "assets delete-dag-queued-events": "Method Not Allowed",
    "assets delete-queued-event": "Method Not Allowed",
}
"""Commands that are refused, and what they print."""

STUMBLES: Final = {
    "assets materialize": "no attribute 'output'",  # forgets to take the option that it then looks for
    "backfill create-dry-run": "created_at",  # takes the list of runs for a backfill
    "connections test": "no attribute 'output'",  # as above
    "connections create-defaults": "no attribute 'values'",  # looks into an answer that has no content
    "dags get-tags": "To tabulate non-dictionary data",  # prints only what is an object
}
"""Commands over whose good answer airflowctl 0.1.5 itself fails, whatever the server: a word of how."""


@pytest.fixture(scope="module")
def gust(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[AnyAirflow]:
    """A stack of their own: clients list everything there is."""
    home = tmp_path_factory.mktemp("gust")
    stack = made_for(
        pytestconfig,
        home,
        parameters={"ExposeConfig": "true", "TestConnection": "Enabled"},
        environment={"AIRFLOW__API__EXPOSE_CONFIG": "True", "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"},
    )
    for prefix in ("ctl", "gen"):
        (stack.dags / f"{prefix}.py").write_text(textwrap.dedent(DAGS).replace("{prefix}", prefix))
    (stack.dags / "broken.py").write_text("from airflow.sdk import dag, nothing_of_the_kind")
    stack.start()
    for dag_id in ("ctl_makes", "ctl_takes", "ctl_daily", "gen_makes", "gen_takes", "gen_daily"):
        stack.await_dag(dag_id, within=240)
    stack.await_import_error("broken.py")
    yield stack
    stack.stop()


@pytest.fixture
def ctl(
    gust: AnyAirflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Airflowctl]:
    """Logged in as its documentation says for where there is no keyring. It would wait 5 seconds for an answer, and then ask
    again: where Airflow has to be imported, or a worker to test a connection, a busy machine takes longer."""
    monkeypatch.setattr(Client, "__init__", partialmethod(Client.__init__, timeout=PATIENCE))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIRFLOW_CLI_DEBUG_MODE", "true")
    monkeypatch.delenv("AIRFLOW_CLI_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()  # another test of this process may have sent its lines elsewhere
    ctl = Airflowctl(capsys)
    with pytest.raises(Refused, match="Please login first"):
        ctl("dags list")
    credentials = ("--api-url", gust.url, "--username", "admin", "--password", "admin")
    assert "Login successful" in ctl("auth login", *credentials)
    yield ctl
    if before is not None:
        structlog.configure(**before)


def test_every_command_of_airflowctl(gust: AnyAirflow, ctl: Airflowctl, pytestconfig: pytest.Config) -> None:
    """What is not refused works, there is no command that this test does not run, and each says what it says on Airflow."""
    for part in (who_one_is, variables, connections, pools, dags, runs_and_xcoms, assets, backfills, installed):
        part(gust, ctl)
    assert ctl.ran == set(names(core_commands))
    if asked_for(pytestconfig):
        ctl.transcript.save("airflowctl")
        return
    differences = list(ctl.transcript.differences("airflowctl"))
    assert not differences, "\n".join(differences)


def who_one_is(gust: AnyAirflow, ctl: Airflowctl) -> None:
    (environment,) = ctl.json("auth list-envs")
    assert environment == {"environment": "production", "api_url": gust.url, "status": "authenticated"}
    assert "'version': '3.3.2'" in ctl("version", "--remote")
    token = ctl("auth token", "--api-url", gust.url, "--username", "any", "--password", "any").split()[-1]
    assert ctl.json("pools list", "--api-token", token)
    with pytest.raises(Refused, match="Invalid JWT token"):
        ctl("pools list", "--api-token", token[:-6] + "AAAAAA")


def variables(gust: AnyAirflow, ctl: Airflowctl) -> None:
    (made,) = ctl.json("variables create", "--key", "one", "--value", "1", "--description", "first")
    assert (made["key"], made["value"], made["description"]) == ("one", "1", "first")
    with pytest.raises(Refused, match="already exists"):
        ctl("variables create", "--key", "one", "--value", "2")
    (changed,) = ctl.json("variables update", "--key", "one", "--value", "ü")
    assert changed["value"] == "ü"
    # What the list shows is what the import reads: out of one Airflow, into another.
    ctl("variables create", "--key", "two", "--value", '{"a": 1}')
    listed = {each["key"]: each for each in ctl.json("variables list")}
    exported = {key: {"value": each["value"], "description": each["description"]} for key, each in listed.items()}
    Path("variables.json").write_text(json.dumps(exported))
    for key in exported:
        assert ctl.json("variables delete", key) == [{"operation": "delete", "entity": key}]
    assert ctl.json("variables list") == []
    assert "Import successful" in ctl("variables import", "variables.json")
    assert {each["key"]: each for each in ctl.json("variables list")} == listed
    with pytest.raises(Refused, match="already exist"):
        ctl("variables import", "variables.json", "--action-on-existing-key", "fail")
    assert "success: []" in ctl("variables import", "variables.json", "--action-on-existing-key", "skip")
    (got,) = ctl.json("variables get", "two")
    assert json.loads(got["value"]) == {"a": 1}
    with pytest.raises(Refused, match="The Variable with key: `none` was not found"):
        ctl("variables get", "none")


def connections(gust: AnyAirflow, ctl: Airflowctl) -> None:
    given = ("--connection-id", "store", "--conn-type", "http", "--host", "h", "--port", "80", "--password", "p")
    (made,) = ctl.json("connections create", *given, "--extra", '{"token": "t", "path": "/"}')
    assert (made["password"], json.loads(made["extra"])) == ("***", {"token": "***", "path": "/"})
    (changed,) = ctl.json("connections update", "--connection-id", "store", "--conn-type", "http", "--host", "other")
    assert (changed["host"], changed["port"]) == ("other", None)
    with pytest.raises(Refused, match="differs from the stored connection"):
        ctl("connections test", "--connection-id", "store", "--conn-type", "http", "--host", "elsewhere")
    stumbles(ctl, "connections test", "--connection-id", "folder", "--conn-type", "fs", "--extra", '{"path": "/"}')
    Path("connections.json").write_text(
        json.dumps(
            {
                "store": {"conn_type": "http", "host": "third", "schema": "s", "extra": '{"a": 1}'},
                "base": {"conn_type": "postgres", "port": 5432, "login": "l", "password": "p"},
            }
        )
    )
    with pytest.raises(Refused, match="already exist"):
        ctl("connections import", "connections.json", "--action-on-existing-key", "fail")
    assert "Successfully imported" in ctl("connections import", "connections.json")
    (store,) = ctl.json("connections get", "store")
    assert (store["host"], store["schema_"], store["extra"]) == ("third", "s", '{"a": 1}')
    assert sorted(each["connection_id"] for each in ctl.json("connections list")) == ["base", "store"]
    stumbles(ctl, "connections create-defaults")
    assert len(ctl.json("connections list")) > 50
    assert ctl.json("connections delete", "store") == [{"operation": "delete", "entity": "store"}]
    with pytest.raises(Refused, match="was not found"):
        ctl("connections get", "store")


def pools(gust: AnyAirflow, ctl: Airflowctl) -> None:
    (made,) = ctl.json("pools create", "--name", "few", "--slots", "3")
    assert (made["slots"], made["open_slots"], made["include_deferred"]) == ("3", "3", "False")
    update = ("--pool", "few", "--slots", "4", "--description", "more", "--include-deferred")
    (changed,) = ctl.json("pools update", *update)
    assert (changed["slots"], changed["description"], changed["include_deferred"]) == ("4", "more", "True")
    ctl("pools export", "pools.json", "--output", "json")
    ctl("pools delete", "few")
    assert [each["name"] for each in ctl.json("pools list")] == ["default_pool"]
    ctl("pools import", "pools.json", "--action-on-existing-key", "overwrite")
    assert ctl.json("pools get", "few") == [changed]
    with pytest.raises(Refused, match="can't be"):
        ctl("pools delete", "default_pool")


def dags(gust: AnyAirflow, ctl: Airflowctl) -> None:
    assert {each["dag_id"] for each in ctl.json("dags list")} >= {"ctl_makes", "ctl_takes", "ctl_daily"}
    (paused,) = shown(ctl("dags pause", "ctl_makes", "--output", "json"))
    assert paused["is_paused"] == "True"
    (unpaused,) = shown(ctl("dags unpause", "ctl_makes", "--output", "json"))
    assert unpaused["is_paused"] == "False"
    assert ctl.json("dags update", "ctl_daily", "--is-paused")[0]["is_paused"] == "True"
    (details,) = ctl.json("dags get-details", "ctl_makes")
    (dag,) = ctl.json("dags get", "ctl_makes")
    assert {key: details[key] for key in dag if key in details and key != "tags"}.items() >= {
        "dag_id": "ctl_makes"
    }.items()
    (version,) = ctl.json("dags list-version", "ctl_makes")
    assert ctl.json("dags get-version", "ctl_makes", 1) == [version]
    stumbles(ctl, "dags get-tags")
    assert ctl.json("dags list-warning") == []
    (error,) = ctl.json("dags list-import-errors")
    assert "nothing_of_the_kind" in error["stack_trace"]
    assert ctl.json("dags get-import-error", error["import_error_id"]) == [error]
    (following,) = ctl.json("dags next-execution", "ctl_daily")
    assert following["next_dagrun_run_after"]
    assert "No upcoming run" in ctl("dags next-execution", "ctl_makes")
    # airflowctl spells the one id it takes into letters, and asks for the DAGs of those names.
    assert ctl.json("dags get-stats", "ctl_makes") == []
    with pytest.raises(Refused, match="was not found"):
        ctl("dags get", "ctl_none")


def runs_and_xcoms(gust: AnyAirflow, ctl: Airflowctl) -> None:
    (run,) = ctl.json("dags trigger", "ctl_makes", "--dag-run-id", "one", "--note", "by hand")
    assert (run["dag_run_id"], run["note"]) == ("one", "by hand")
    with pytest.raises(Refused, match="Unique constraint"):
        ctl("dags trigger", "ctl_makes", "--dag-run-id", "one")
    gust.await_state("ctl_makes", "one", "failed")
    assert ctl.json("dagrun get", "ctl_makes", "one")[0]["state"] == "failed"
    listed = ctl.json("dagrun list", "--dag-id", "ctl_makes", "--state", "failed", "--limit", 5)
    assert [each["dag_run_id"] for each in listed[0]["dag_runs"]] == ["one"]
    task = ("ctl_makes", "one", "make")
    assert ctl.json("xcom get", *task, "return_value")[0]["value"] == "42"
    assert ctl.json("xcom add", *task, "note", "5")[0]["value"] == "5"
    with pytest.raises(Refused, match="already exists"):
        ctl("xcom add", *task, "note", "5")
    assert ctl.json("xcom edit", *task, "note", '"six"')[0]["value"] == "six"
    assert [each["key"] for each in ctl.json("xcom list", *task)] == ["note", "return_value"]
    assert [each["key"] for each in ctl.json("xcom list", *task, "--key", "note")] == ["note"]
    ctl("xcom delete", *task, "note")
    with pytest.raises(Refused, match="not found"):
        ctl("xcom get", *task, "note")


def assets(gust: AnyAirflow, ctl: Airflowctl) -> None:
    shelf = next(each for each in ctl.json("assets list") if each["name"] == "ctl_shelf")["id"]
    assert ctl.json("assets get", shelf)[0]["uri"].startswith("ctl://shelf")
    alias = next(each for each in ctl.json("assets list-by-alias") if each["name"] == "ctl_alias")["id"]
    assert ctl.json("assets get-by-alias", alias)[0]["name"] == "ctl_alias"
    (event,) = ctl.json("assets create-event", "--asset-id", shelf)
    assert (event["asset_id"], event["source_task_id"]) == (shelf, None)
    (queued,) = ctl.json("assets get-dag-queued-events", "ctl_takes", "2100-01-01T00:00:00Z")
    assert queued["dag_id"] == "ctl_takes"
    assert ctl.json("assets get-queued-events", shelf) == [queued]
    assert ctl.json("assets get-dag-queued-event", "ctl_takes", shelf) == [queued]
    for command, arguments in {
        "assets delete-queued-event": ("ctl_takes", shelf),
        "assets delete-dag-queued-events": ("ctl_takes", "2100-01-01T00:00:00Z"),
        "assets delete-queued-events": (shelf,),
    }.items():
        with pytest.raises(Refused, match=WITHOUT_COUNTERPART[command]):
            ctl(command, *arguments)
    assert ctl.json("assets get-queued-events", shelf) == [queued]
    stumbles(ctl, "assets materialize", shelf)
    materialized = gust.api.call("GET", "/api/v2/dags/ctl_makes/dagRuns?run_type=asset_materialization")
    assert materialized["total_entries"] == 1


def backfills(gust: AnyAirflow, ctl: Airflowctl) -> None:
    days = ("--dag-id", "ctl_daily", "--from-date", "2026-02-01T00:00:00Z", "--to-date", "2026-02-03T00:00:00Z")
    how = ("--max-active-runs", "2", "--reprocess-behavior", "none")
    stumbles(ctl, "backfill create-dry-run", *days, *how)
    assert ctl.json("backfill list", "ctl_daily") == []
    (made,) = ctl.json("backfill create", *days, *how)
    assert (made["dag_id"], made["completed_at"]) == ("ctl_daily", None)
    assert ctl.json("backfill get", made["id"])[0]["from_date"] == "2026-02-01T00:00:00Z"
    assert [each["id"] for each in ctl.json("backfill list", "ctl_daily")] == [made["id"]]
    with pytest.raises(Refused, match=r"409|already"):
        ctl("backfill create", *days, *how)
    for command in ("backfill pause", "backfill unpause", "backfill cancel"):
        with pytest.raises(Refused, match=WITHOUT_COUNTERPART[command]):
            ctl(command, made["id"])
    with pytest.raises(Refused, match="not found"):
        ctl("backfill get", "4711")


def installed(gust: AnyAirflow, ctl: Airflowctl) -> None:
    assert "apache-airflow-providers-standard" in {each["package_name"] for each in ctl.json("providers list")}
    assert ctl.json("plugins list") == []
    assert shown(ctl("plugins list-import-errors")) == []
    assert bool(ctl.json("jobs list")) is not isinstance(gust, LocalGust)  # Gust has no processes
    (section,) = ctl.json("config get", "core", "executor")
    assert section == {"name": "core", "options": [{"key": "executor", "value": "LocalExecutor"}]}
    assert "core" in {each["name"] for each in ctl.json("config list")}
    ctl("config lint")
    assert ctl.json("dags delete", "ctl_takes") == [{"operation": "delete", "entity": "ctl_takes"}]


def stumbles(ctl: Airflowctl, command: str, *arguments: object) -> None:
    with pytest.raises(Exception, match=STUMBLES[command]):
        ctl(command, *arguments)


def shown(text: str) -> Any:
    """The JSON at the end of what a command printed."""
    return json.loads(text[text.index("[{") if "[{" in text else text.index("[]") :])


# --- the generated client ---------------------------------------------------------------------------------------------


@pytest.fixture
def client(gust: AnyAirflow) -> Iterator[airflow_client.ApiClient]:
    """With a token, as its documentation says."""
    token = gust.api.call("POST", "/auth/token", body={"username": "any", "password": "any"})["access_token"]
    with airflow_client.ApiClient(airflow_client.Configuration(host=gust.url, access_token=token)) as client:
        yield client


def test_the_generated_client_at_its_daily_work(gust: AnyAirflow, client: airflow_client.ApiClient) -> None:
    assert MonitorApi(client).get_health().metadatabase.status == "healthy"
    dags, runs, instances = DAGApi(client), DagRunApi(client), TaskInstanceApi(client)
    assert {dag.dag_id for dag in dags.get_dags(tags=["gen"]).dags} == {"gen_makes"}
    assert dags.patch_dag("gen_makes", models.DAGPatchBody(is_paused=False)).is_paused is False
    assert dags.get_dag_details("gen_makes").tags[0].name == "gen"

    made = runs.trigger_dag_run("gen_makes", models.TriggerDAGRunPostBody(logical_date=None, conf={"rows": 3}))
    gust.await_state("gen_makes", made.dag_run_id, "failed")
    run = runs.get_dag_run("gen_makes", made.dag_run_id)
    assert (run.state, run.conf) == (models.DagRunState.FAILED, {"rows": 3})
    assert [each.dag_run_id for each in runs.get_dag_runs("gen_makes", state=["failed"]).dag_runs] == [run.dag_run_id]

    listed = instances.get_task_instances("gen_makes", run.dag_run_id).task_instances
    assert {each.task_id: each.state for each in listed} == {"make": "success", "fails": "failed"}
    entry = XComApi(client).get_xcom_entry(
        dag_id="gen_makes", dag_run_id=run.dag_run_id, task_id="make", xcom_key="return_value"
    )
    assert entry.actual_instance.value == 42
    log = instances.get_log("gen_makes", run.dag_run_id, "fails", 1, full_content=True)
    assert "Task failed with exception" in log.to_json()
    cleared = instances.post_clear_task_instances(
        "gen_makes", models.ClearTaskInstancesBody(dry_run=False, dag_run_id=run.dag_run_id, only_failed=True)
    )
    assert [each.task_id for each in cleared.task_instances] == ["fails"]
    gust.await_state("gen_makes", run.dag_run_id, "failed")
    assert instances.get_task_instance("gen_makes", run.dag_run_id, "fails").try_number == 2
    marked = instances.patch_task_instance(
        "gen_makes", run.dag_run_id, "fails", models.PatchTaskInstanceBody(new_state="success")
    )
    assert [each.state for each in marked.task_instances] == ["success"]
    runs.delete_dag_run("gen_makes", run.dag_run_id)
    with pytest.raises(NotFoundException):
        runs.get_dag_run("gen_makes", run.dag_run_id)


def test_the_generated_client_keeps_things(gust: LocalGust, client: airflow_client.ApiClient) -> None:
    variables, connections, pools = VariableApi(client), ConnectionApi(client), PoolApi(client)
    variables.post_variable(models.VariableBody(key="gen", value="1"))
    assert variables.patch_variable("gen", models.VariableBody(key="gen", value="2")).value == "2"
    assert "gen" in {each.key for each in variables.get_variables().variables}
    with pytest.raises(ApiException, match="409"):
        variables.post_variable(models.VariableBody(key="gen", value="1"))
    variables.delete_variable("gen")

    connections.post_connection(models.ConnectionBody(connection_id="gen", conn_type="http", password="p"))
    assert connections.get_connection("gen").password == "***"
    folder = {"connection_id": "gen_folder", "conn_type": "fs", "extra": '{"path": "/"}'}
    tested = connections.test_connection(models.ConnectionBody(**folder))
    assert (tested.status, tested.message) == (True, "Path / is existing.")
    enqueued = connections.enqueue_connection_test(models.ConnectionTestRequestBody(**folder))
    assert gust.await_connection_test(enqueued.token)["state"] == "success"
    assert connections.get_connection_test(enqueued.token).result_message == "Path / is existing."
    connections.delete_connection("gen")

    pools.post_pool(models.PoolBody(name="gen", slots=2))
    assert pools.patch_pool("gen", models.PoolPatchBody(pool="gen", slots=3, include_deferred=False)).slots == 3
    pools.delete_pool("gen")
    with pytest.raises(NotFoundException):
        pools.get_pool("gen")


def test_the_generated_client_with_assets_and_backfills(client: airflow_client.ApiClient) -> None:
    assets, backfills = AssetApi(client), BackfillApi(client)
    (shelf,) = assets.get_assets(name_pattern="gen_shelf").assets
    assert assets.create_asset_event(models.CreateAssetEventsBody(asset_id=shelf.id, extra={})).asset_id == shelf.id
    assert [each.asset_id for each in assets.get_dag_asset_queued_events("gen_takes").queued_events] == [shelf.id]
    assets.delete_dag_asset_queued_events("gen_takes")
    days = models.BackfillPostBody(
        dag_id="gen_daily", from_date=datetime(2026, 2, 1, tzinfo=UTC), to_date=datetime(2026, 2, 3, tzinfo=UTC)
    )
    assert len(backfills.create_backfill_dry_run(days).backfills) == 3
    made = backfills.create_backfill(days)
    assert backfills.pause_backfill(made.id).is_paused is True
    assert backfills.unpause_backfill(made.id).is_paused is False
    assert backfills.cancel_backfill(made.id).completed_at is not None
    assert [each.id for each in backfills.list_backfills("gen_daily").backfills] == [made.id]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_bad_input_over_the_wire(gust: AnyAirflow) -> None:
    """`tests/conformance/test_bad_input.py` asks for more, without the network and the real table."""
    if not isinstance(gust, LocalGust):
        pytest.skip("about what a Lambda function can be given, and tokens of Gust")
    long, before = "x" * 10_000, gust.api.call("GET", "/api/v2/variables")
    with httpx.Client(base_url=gust.url, timeout=60) as http:
        for status, method, path, body in (
            (413, "POST", "/api/v2/variables", json.dumps({"key": "k", "value": "v" * 10_000_000})),
            (422, "POST", "/api/v2/variables", json.dumps({"key": long, "value": "v"})),
            (422, "POST", "/api/v2/variables", '{"a":' * 10_000),
            (404, "GET", f"/api/v2/dags/{long}", None),
            (404, "GET", f"/api/v2/variables/{long}", None),
            (404, "PATCH", "/api/v2/dags/'; DROP TABLE dag; --", '{"is_paused": true}'),
            (404, "DELETE", "/api/v2/variables/..%2f..%2fetc%2fpasswd", None),
            (404, "GET", "/api/v2/pools/%00", None),
            (404, "GET", "/api/v2/dags/%F0%9F%A6%86%E2%80%AE", None),
        ):
            reply = http.request(method, path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code == status, (method, path[:60], reply.text[:300])
        expired = gust.services().tokens.for_user(
            User("ann", Role.ADMIN), now=datetime.now(UTC), lifetime=-timedelta(1)
        )
        for status, token in ((401, expired), (403, "x.y.z")):
            reply = http.get("/api/v2/variables", headers={"authorization": f"Bearer {token}"})
            assert reply.status_code == status, reply.text
    assert gust.api.call("GET", "/api/v2/variables") == before
