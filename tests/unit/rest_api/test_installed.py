"""Plugins, providers and configuration, as the parser reports them; the parser's side is in `tests/unit/parse`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gust.errors import Throttled
from gust.model import bucket_keys
from gust.model.bundle import Bundle, SourceFile
from gust.model.dag_run import DagRun
from gust.model.deployment import Manifest
from gust.model.environment import Environments
from gust.model.state import DagRunState
from gust.rest_api.public.config import EXPOSE_CONFIG
from gust.rest_api.public.dag_run_wait import PATIENCE
from tests.unit.rest_api.world import NOW, Api, World

KINDS = (
    *("macros", "flask_blueprints", "fastapi_apps", "fastapi_root_middlewares", "external_views", "react_apps"),
    *("appbuilder_views", "appbuilder_menu_items", "global_operator_extra_links", "operator_extra_links"),
    *("listeners", "timetables"),
)
PLUGIN: dict[str, Any] = {
    "name": "moons",
    **{kind: [] for kind in KINDS},
    "source": "$PLUGINS_FOLDER/moons.py",
}
PROVIDER = {"package_name": "p", "description": "d", "version": "1", "documentation_url": None}


def test_plugins_are_those_of_the_active_bundle(world: World, api: Api) -> None:
    world.store.activate_bundle(Bundle(name="dags-folder", version="b7", created_at=NOW), replacing=None)
    world.inventory.installed_plugins = [PLUGIN, {**PLUGIN, "name": "suns"}]
    found = api.ok("get_plugins", "GET", "/api/v2/plugins?limit=1&offset=1")
    assert ([plugin["name"] for plugin in found["plugins"]], found["total_entries"]) == (["suns"], 2)
    broken = api.ok("import_errors", "GET", "/api/v2/plugins/importErrors")
    assert broken == {
        "import_errors": [{"source": "plugins/broken.py", "error": "ValueError: no"}],
        "total_entries": 1,
    }
    assert world.inventory.asked == ["b7", "b7"]


def test_providers_come_in_pages(world: World, api: Api) -> None:
    world.inventory.installed_providers = [PROVIDER, {**PROVIDER, "package_name": "q"}]
    found = api.ok("get_providers", "GET", "/api/v2/providers?limit=1")
    assert found == {"providers": [PROVIDER], "total_entries": 2}


def test_providers_of_all_environments_are_listed(world: World, api: Api) -> None:
    world.inventory.installed_providers = [PROVIDER]
    active = Bundle(name="dags-folder", version="b7", created_at=NOW)
    world.store.activate_bundle(active, replacing=None)
    environments = Environments(of={"": "one", "team": "two", "other": "one", "bare": ""})
    manifest = Manifest(version="b7", files={}, environments=environments)
    world.objects.put(bucket_keys.manifest("b7"), manifest.model_dump_json().encode())
    for archive, version in (("one", "2"), ("two", "3")):
        listed = [{**PROVIDER, "package_name": "a", "version": version}]
        world.objects.put(bucket_keys.providers(archive), json.dumps(listed).encode())

    found = api.ok("get_providers", "GET", "/api/v2/providers")["providers"]

    assert [(each["package_name"], each["version"]) for each in found] == [("a", "2"), ("a", "3"), ("p", "1")]


@pytest.mark.parametrize("path", ["plugins", "plugins/importErrors", "providers", "config"])
def test_a_parser_that_is_busy_is_told_with_the_seconds_to_wait(
    world: World, api: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is every other service for which an operation waits: an operation does not tell them apart."""
    monkeypatch.setenv(EXPOSE_CONFIG, "True")
    world.inventory.fails_with = Throttled("gust-parse has no concurrency left")
    reply = api("GET", f"/api/v2/{path}")
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert reply.detail.endswith("does not answer at the moment. Try again in some seconds.")


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.fixture
def exposed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXPOSE_CONFIG, "True")
    world.inventory.sections = {"core": {"parallelism": "32", "fernet_key": "< hidden >"}, "api": {"port": "1"}}


@pytest.mark.usefixtures("exposed")
def test_an_exposed_configuration(api: Api) -> None:
    assert [s["name"] for s in api.ok("get_config", "GET", "/api/v2/config")["sections"]] == ["core", "api"]
    core = api.ok("get_config", "GET", "/api/v2/config?section=core")
    assert core["sections"] == [
        {
            "name": "core",
            "options": [{"key": "parallelism", "value": "32"}, {"key": "fernet_key", "value": "< hidden >"}],
        }
    ]
    text = api("GET", "/api/v2/config", headers={"accept": "text/plain"})
    assert text.headers["content-type"] == "text/plain"
    assert text.text == "[core]\nparallelism = 32\nfernet_key = < hidden >\n\n[api]\nport = 1\n"
    one = api.ok("get_config_value", "GET", "/api/v2/config/section/core/option/parallelism")
    assert one == {"sections": [{"name": "core", "options": [{"key": "parallelism", "value": "32"}]}]}


@pytest.mark.usefixtures("exposed")
def test_what_the_configuration_does_not_have(api: Api) -> None:
    assert api.refused("get_config", 404, "GET", "/api/v2/config?section=x") == "Section x not found."
    for wrong in ("x/option/y", "core/option/y"):
        detail = api.refused("get_config_value", 404, "GET", f"/api/v2/config/section/{wrong}")
        assert detail == f"Option [{wrong.replace('/option', '')}] not found."


# --- waiting for a run ------------------------------------------------------------------------------------------------

WAIT = "/api/v2/dags/etl/dagRuns/manual__1/wait"


def finish(world: World, run: DagRun, **results: Any) -> None:
    for task_id, value in results.items():
        world.xcom(run, task_id, value)
    before = world.store.get_run(run.key)
    assert before is not None
    world.store.finish_run(before, before.__class__(**{**vars_of(before), "state": DagRunState.SUCCESS}))


def vars_of(run: DagRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in run.__dataclass_fields__}


def test_waiting_tells_every_look_until_the_run_has_finished(world: World, api: Api) -> None:
    run = world.run(world.dag())
    sleep, slept = world.clock.sleep, []

    def watched(seconds: float) -> None:
        slept.append(seconds)
        sleep(seconds)
        if len(slept) == 3:
            finish(world, run, extract=7)

    world.clock.sleep = watched  # type: ignore[method-assign] # the clock is the test's
    reply = api("GET", f"{WAIT}?interval=2&result=extract")
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.text == '{"state": "running"}\n' * 3 + '{"state": "success", "results": {"extract": 7}}\n'
    assert slept == [2, 2, 2]


def test_waiting_ends_before_the_callers_patience(world: World, api: Api) -> None:
    world.run(world.dag())
    started = world.clock.now()
    reply = api("GET", f"{WAIT}?interval=7")
    assert reply.text == '{"state": "running"}\n' * 4
    assert world.clock.now() - started == PATIENCE
    assert api("GET", f"{WAIT}?interval=1000").text == '{"state": "running"}\n' * 2


def test_an_interval_of_next_to_nothing_looks_no_oftener_than_makes_sense(world: World, api: Api) -> None:
    world.run(world.dag())
    assert api("GET", f"{WAIT}?interval=0.000001").text.count("\n") == PATIENCE / timedelta(seconds=0.25) + 1


def test_a_run_that_is_deleted_meanwhile(world: World, api: Api) -> None:
    run = world.run(world.dag())
    world.clock.sleep = lambda _: world.store.delete_run(run)  # type: ignore[method-assign]
    assert api("GET", f"{WAIT}?interval=1").text == '{"state": "running"}\n'


def test_results_of_mapped_tasks_are_lists(world: World, api: Api) -> None:
    run = world.run(world.dag())
    for map_index in (1, 0):
        world.xcom(run, "transform", map_index * 10, map_index=map_index)
    finish(world, run, extract=[1])
    assert api("GET", f"{WAIT}?interval=1&result=transform&result=extract").json == {
        "state": "success",
        "results": {"extract": [1], "transform": [0, 10]},
    }
    assert api("GET", f"{WAIT}?interval=1").json == {"state": "success"}


# --- parsing again ----------------------------------------------------------------------------------------------------


def test_a_file_is_parsed_again_by_the_next_deployment(world: World, api: Api) -> None:
    world.dag()
    for path in ("etl.py", "other.py"):
        world.store.put_source_file(
            SourceFile(relative_path=path, bundle_name="dags-folder", fingerprint="f", parsed_at=NOW)
        )
    token = api.ok("get_dag", "GET", "/api/v2/dags/etl")["file_token"]
    reply = api("PUT", f"/api/v2/parseDagFile/{token}")
    assert (reply.status, reply.json) == (201, None)
    marked = {file.relative_path: file.is_worth_another_try for file in world.store.list_source_files()}
    assert marked == {"etl.py": True, "other.py": False}
    assert len(world.deployments.started) == 1
    assert world.deployments.started[0].startswith("reparse-")
    turn = world.store.deployment_turn()
    assert turn is not None
    assert turn.holder == world.deployments.started[0]


@pytest.mark.parametrize("token", ["nonsense", "W10", "eyJhIjogMX0", "%C3%A9", "x" * 10_000])
def test_tokens_that_name_no_file(world: World, api: Api, token: str) -> None:
    world.dag()
    assert api.refused("reparse_dag_file", 404, "PUT", f"/api/v2/parseDagFile/{token}") == "File not found"
    assert world.deployments.started == []


# --- signing in and out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "evil", ["https:\\\\evil.example", "\\\\evil.example", "javascript:alert(1)", "/%5Cevil.example"]
)
def test_signing_in_leads_nowhere_else(api: Api, evil: str) -> None:
    assert api("GET", "/api/v2/auth/login", next=evil).status == 400


def test_signing_out_takes_the_cookie_away(api: Api) -> None:
    reply = api("GET", "/api/v2/auth/logout", cookies=["_token=x"])
    assert (reply.status, reply.headers["location"]) == (307, "/auth/token/login")
    assert "set-cookie" in reply.headers
    assert "Max-Age=0" in reply.headers["set-cookie"]


def test_jobs_are_none(api: Api) -> None:
    assert api.ok("get_jobs", "GET", "/api/v2/jobs?order_by=-latest_heartbeat&limit=5")["jobs"] == []
