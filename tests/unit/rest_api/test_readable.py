"""Users who may read only some DAGs see nothing of the others, in any answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from gust.errors import Rejected
from gust.http.answer import Problem
from gust.model.access import Role, access_control_of
from gust.model.asset import Asset, AssetKey, AssetReference, number_of
from gust.model.backfill import Backfill, ReprocessBehavior
from gust.model.bundle import DagWarning
from gust.model.hitl import HITLDetail
from gust.model.logged_event import LoggedEvent
from gust.model.state import DagRunState, TaskInstanceState
from gust.model.user import User
from gust.ports.store import Store
from gust.rest_api.access.auth import Authenticator
from gust.rest_api.access.permissions import PERMISSIONS, PUBLIC, Entity, Method, Resource, gives
from gust.rest_api.access.readable import LISTS, NOTHING_OF_OTHERS, OF_FAVORITES, OF_NO_DAG, SINGLE, readable
from gust.rest_api.app import build
from tests.unit.rest_api.test_permissions import TABLE
from tests.unit.rest_api.world import NOW, Api, World

ADA = User("ada", None, ("team-a",))
READS = {"team-a": {"can_read"}}
EDITS = {"team-a": {"can_read", "can_edit"}}
SECRET = "their_secret"


@pytest.fixture
def api(world: World) -> Api:
    """Two DAGs with a run each; `ours` may be read by Ada, the other not."""
    for dag_id, given in (("ours", READS), (SECRET, {"team-b": {"can_read", "can_edit"}})):
        dag = world.dag(dag_id, access_control=access_control_of(given), tags=(f"tag_of_{dag_id}",))
        run = world.run(dag, f"run_of_{dag_id}")
        world.instance(run, "extract", note=None)
        world.xcom(run, "extract", f"value_of_{dag_id}")
        world.store.log_event(LoggedEvent(when=NOW, event="x", dag_id=dag_id, owner=f"owner_of_{dag_id}", extra="{}"))
    token = world.services.tokens.for_user(ADA, now=NOW, lifetime=timedelta(hours=1))
    return Api(build(world.services, Authenticator("")), headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def related(world: World, api: Api) -> None:
    """The two have to do with each other wherever DAGs can: one file, a trigger, a sensor, an asset, a call for both."""
    asset = AssetKey(f"asset_of_{SECRET}", f"s3://asset_of_{SECRET}")
    between = [
        {"source": "ours", "target": SECRET, "dependency_type": "trigger", "dependency_id": "go", "label": "go"},
        {"source": SECRET, "target": "ours", "dependency_type": "sensor", "dependency_id": "wait", "label": "wait"},
    ]
    serialized = json.dumps({"dag": {"tasks": [], "dag_dependencies": between}}).encode()
    source = f"with DAG('ours'): ...\nwith DAG('{SECRET}'): ...\n".encode()
    world.objects.put("serialized/both.json", serialized)
    world.objects.put("sources/both.txt", source)
    world.store.put_asset(Asset(name=asset.name, uri=asset.uri, created_at=NOW, updated_at=NOW))
    world.store.put_asset_reference(
        AssetReference(
            use="outlet", what="asset", dag_id=SECRET, task_id="extract", name=asset.name, uri=asset.uri, created_at=NOW
        )
    )
    for dag_id in ("ours", SECRET):
        before = world.store.get_dag(dag_id)
        assert before is not None
        of_file: dict[str, Any] = {"serialized_key": "serialized/both.json", "source_key": "sources/both.txt"}
        after = replace(before, relative_fileloc="both.py", next_run_after=NOW, timetable_periodic=True, **of_file)
        world.store.put_dag(before, after)
        world.store.put_warning(
            DagWarning(dag_id=dag_id, warning_type="non-existent pool", message=f"of_{dag_id}", timestamp=NOW)
        )
        run = world.store.list_runs(dag_id)[0]
        key = run.key.task_instance("extract", -1)
        world.store.put_hitl_detail(
            HITLDetail(key=key, try_number=1, options=["yes"], subject=f"question_of_{dag_id}", created_at=NOW)
        )
        backfill = Backfill(
            backfill_id=world.store.next_backfill_id(), dag_id=dag_id, from_date=NOW, to_date=NOW, dag_run_conf=None,
            reprocess_behavior=ReprocessBehavior.NONE, max_active_runs=1, run_on_latest_version=True,
            triggering_user_name=f"user_of_{dag_id}", created_at=NOW, updated_at=NOW, version_number=1,
            spec_key=before.spec_key, bundle_version=None, planned=1, due_at=NOW,
        )  # fmt: skip
        world.store.create_backfill(backfill, [])
        failed = world.run(after, f"failed_run_of_{dag_id}", state=DagRunState.FAILED, start_date=NOW, end_date=NOW)
        world.instance(failed, "extract", state=TaskInstanceState.FAILED, end_date=NOW)
    both = {"actions": [{"entities": [{"dag_id": SECRET}, {"dag_id": "ours"}]}]}
    for number, dag_id in enumerate((None, "ours", "~")):
        world.store.log_event(
            LoggedEvent(when=NOW + timedelta(seconds=number + 1), event="bulk", dag_id=dag_id, extra=json.dumps(both))
        )


QUERIES: dict[str, list[dict[str, Any]]] = {
    "structure_data": [{"dag_id": "ours", "external_dependencies": True}],
    "get_dependencies": [
        {},
        {"node_id": "dag:ours"},
        {"dependency_type": "data", "node_id": f"asset:{number_of(f'asset_of_{SECRET}', f's3://asset_of_{SECRET}')}"},
    ],
    "get_event_log": [{}],
    "historical_metrics": [{"start_date": "2026-01-01T00:00:00Z"}],
    "list_backfills": [{"dag_id": "ours"}],
}
"""What is asked beside the path, where that shows more."""


def urls_of(operation_id: str, event_ids: list[int]) -> list[str]:
    """With the one DAG's names, and, where the path has places for names, with `~` for all."""
    all_of_them = re.sub(r"\{(dag_id|dag_run_id|run_id|task_id)\}", "~", TABLE[operation_id].path)
    paths = [path_of(operation_id, "ours"), re.sub(r"\{\w+\}", "1", all_of_them)]
    if operation_id == "get_event_log":
        paths = [f"/api/v2/eventLogs/{event_id}" for event_id in event_ids]
    return list(dict.fromkeys(paths))


@pytest.mark.parametrize(
    "operation_id", sorted(n for n in TABLE.keys() - PUBLIC if all(p.resource is Resource.DAG for p in PERMISSIONS[n]))
)
def test_no_allowed_answer_says_anything_of_another_dag(
    world: World, api: Api, related: None, operation_id: str
) -> None:
    """Every operation for which a right to some DAGs is enough, its whole answer searched."""
    ours = world.store.get_dag("ours")
    assert ours is not None
    world.store.put_dag(
        ours, replace(ours, access_control=access_control_of({"team-a": {"can_read", "can_edit", "can_delete"}}))
    )
    event_ids = [event.event_log_id for event in world.store.logged_events()]
    for url, query in product(urls_of(operation_id, event_ids), QUERIES.get(operation_id, [{}])):
        body = {} if TABLE[operation_id].method in ("POST", "PATCH", "PUT") else None
        reply = api(TABLE[operation_id].method, url, body, **query)
        assert reply.status < 500, reply.text
        assert SECRET not in reply.text, (url, query)


def test_of_sign_ins_they_see_their_own(world: World, api: Api) -> None:
    for number, owner in enumerate(("ada", "their_admin")):
        for event in ("login", "refused"):
            world.store.log_event(LoggedEvent(when=NOW + timedelta(hours=number), event=event, owner=owner, extra="{}"))
    shown = [event["owner"] for event in api("GET", "/api/v2/eventLogs").json["event_logs"]]
    assert shown.count("ada") == 2
    assert "their_admin" not in shown
    assert "their_admin" not in api("GET", "/api/v2/eventLogs", event_pattern="login").text


def test_a_file_that_holds_others_too_is_not_shown(world: World, api: Api, related: None) -> None:
    url = "/api/v2/dagSources/ours"
    assert api("GET", url).json["content"] == "REDACTED - you do not have read permission on all Dags in the file"
    assert "DAG(" not in api("GET", url, headers={"accept": "text/plain"}).text
    admins = world.services.tokens.for_user(User("ada", Role.ADMIN), now=NOW, lifetime=timedelta(hours=1))
    assert SECRET in api("GET", url, headers={"authorization": f"Bearer {admins}"}).text
    theirs = world.store.get_dag(SECRET)
    assert theirs is not None
    world.store.put_dag(theirs, replace(theirs, access_control=access_control_of(READS)))
    assert SECRET in api("GET", url).text


MAY_ASK = sorted(
    name
    for name in TABLE.keys() - PUBLIC
    if all(needed.resource is Resource.DAG and needed.method == "GET" for needed in PERMISSIONS[name])
)


def path_of(operation_id: str, dag_id: str) -> str:
    names = {
        "dag_id": dag_id,
        "dag_run_id": f"run_of_{dag_id}",
        "run_id": f"run_of_{dag_id}",
        "task_id": "extract",
        "map_index": "-1",
        "try_number": "1",
        "task_try_number": "1",
        "xcom_key": "return_value",
        "version_number": "1",
    }
    return re.sub(r"\{(\w+)\}", lambda m: names.get(m[1], "1"), TABLE[operation_id].path)


@pytest.mark.parametrize("operation_id", [name for name in MAY_ASK if "{dag_id}" in TABLE[name].path])
def test_of_another_dag_nothing_is_answered(api: Api, operation_id: str) -> None:
    reply = api(TABLE[operation_id].method, path_of(operation_id, SECRET))
    assert (reply.status, reply.detail) == (403, "Forbidden")


@pytest.mark.parametrize("operation_id", MAY_ASK)
def test_of_their_own_dag_they_are_answered_as_everybody(world: World, api: Api, operation_id: str) -> None:
    method, path = TABLE[operation_id].method, path_of(operation_id, "ours")
    query = {"dag_id": "ours"} if operation_id == "structure_data" else {}
    admins = world.services.tokens.for_user(User("ada", Role.ADMIN), now=NOW, lifetime=timedelta(hours=1))
    theirs = api(method, path, **query)
    everybodys = api(method, path, headers={"authorization": f"Bearer {admins}"}, **query)
    if operation_id == "favorite_dag":
        assert (theirs.status, everybodys.status) == (204, 409)  # one person's mark
        return
    assert theirs.status == everybodys.status, theirs.text
    if theirs.status == 200:
        assert "their_secret" not in theirs.text


@pytest.mark.parametrize(
    ("operation_id", "path"),
    [
        ("get_dags", "/api/v2/dags"),
        ("get_dag_runs", "/api/v2/dags/~/dagRuns"),
        ("get_task_instances", "/api/v2/dags/~/dagRuns/~/taskInstances"),
        ("get_xcom_entries", "/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries"),
        ("get_dag_tags", "/api/v2/dagTags"),
        ("get_dag_stats", "/api/v2/dagStats"),
        ("get_dag_versions", "/api/v2/dags/~/dagVersions"),
        ("get_event_logs", "/api/v2/eventLogs"),
        ("get_dags_ui", "/ui/dags"),
    ],
)
def test_a_list_holds_what_they_may_read(api: Api, operation_id: str, path: str) -> None:
    reply = api("GET", path)
    assert reply.status == 200, reply.text
    assert "ours" in reply.text
    assert "their_secret" not in reply.text
    total = reply.json.get("total_entries")
    assert total == len(next(value for value in reply.json.values() if isinstance(value, list))) or total is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v2/dags/~/dagRuns/list", {"dag_ids": [SECRET]}),
        ("/api/v2/dags/~/dagRuns/~/taskInstances/list", {"dag_ids": [SECRET]}),
        ("/api/v2/dags/~/dagRuns/list", {}),
        ("/api/v2/dags/~/dagRuns/~/taskInstances/list", {}),
    ],
)
def test_a_list_asked_for_by_a_body_does_not_show_more(api: Api, path: str, body: Any) -> None:
    reply = api("POST", path, body)
    assert reply.status in (200, 404)
    assert f"run_of_{SECRET}" not in reply.text


def test_what_they_may_only_read_they_do_not_change(world: World, api: Api) -> None:
    for dag_id in ("ours", SECRET):
        assert api("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True}).status == 403
        assert api("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None}).status == 403
        assert api("DELETE", f"/api/v2/dags/{dag_id}").status == 403
    assert api("PATCH", "/api/v2/dags?dag_id_pattern=%25", {"is_paused": True}).status == 403
    assert not any(dag.is_paused for dag in world.store.list_dags())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/api/v2/dags/ours/dagRuns", {"actions": [{"action": "delete", "entities": [
            {"dag_id": SECRET, "dag_run_id": f"run_of_{SECRET}"}]}]}),
        ("PATCH", "/api/v2/dags/~/dagRuns", {"actions": [{"action": "delete", "entities": [
            {"dag_id": "ours", "dag_run_id": "run_of_ours"}, {"dag_id": SECRET, "dag_run_id": f"run_of_{SECRET}"}]}]}),
        ("POST", "/api/v2/dags/~/clearDagRuns", {"dag_runs": [{"dag_id": SECRET, "dag_run_id": f"run_of_{SECRET}"}]}),
        ("PATCH", "/api/v2/dags/ours/dagRuns/run_of_ours/taskInstances", {"actions": [{"action": "update", "entities": [
            {"dag_id": SECRET, "dag_run_id": f"run_of_{SECRET}", "task_id": "extract", "new_state": "failed"}]}]}),
        ("PATCH", "/api/v2/dags/ours/dagRuns", {"actions": [{"action": "delete", "entities": [
            {"dag_id": "ours", "dag_run_id": "run_of_ours"}, {"dag_id": "~", "dag_run_id": f"run_of_{SECRET}"}]}]}),
        ("POST", "/api/v2/dags/ours/clearDagRuns", {"dag_runs": [
            {"dag_id": "ours", "dag_run_id": "run_of_ours"}, {"dag_id": "~", "dag_run_id": f"run_of_{SECRET}"}]}),
        ("POST", "/api/v2/backfills", {"dag_id": SECRET}),
        ("POST", "/api/v2/backfills?dag_id=ours", {"dag_id": SECRET}),
    ],
)  # fmt: skip
def test_a_body_reaches_no_dag_that_its_path_does_not(
    world: World, api: Api, method: str, path: str, body: Any
) -> None:
    ours = world.store.get_dag("ours")
    assert ours is not None
    world.store.put_dag(ours, world_dag_edits(ours))
    before = world.store.load_run(world.store.list_runs(SECRET)[0].key)
    assert api(method, path, body).status == 403
    assert world.store.load_run(world.store.list_runs(SECRET)[0].key) == before


def world_dag_edits(dag: Any) -> Any:
    from dataclasses import replace

    return replace(dag, access_control=access_control_of(EDITS))


def test_what_they_may_edit_they_change(world: World, api: Api) -> None:
    ours = world.store.get_dag("ours")
    assert ours is not None
    world.store.put_dag(ours, world_dag_edits(ours))
    assert api("PATCH", "/api/v2/dags/ours", {"is_paused": True}).status == 200
    assert api("POST", "/api/v2/dags/ours/dagRuns", {"logical_date": None}).status == 200
    assert api("DELETE", "/api/v2/dags/ours").status == 403


def test_of_many_dags_at_once_they_pause_those_they_may_edit(world: World, api: Api) -> None:
    """As Airflow's route: it asks about the DAG that the query names, and then keeps to those that may be edited."""
    every = "dag_id_pattern=%25"
    assert api("PATCH", f"/api/v2/dags?dag_id=ours&{every}", {"is_paused": True}).status == 403
    ours = world.store.get_dag("ours")
    assert ours is not None
    world.store.put_dag(ours, world_dag_edits(ours))
    assert api("PATCH", f"/api/v2/dags?{every}", {"is_paused": True}).status == 403
    assert api("PATCH", f"/api/v2/dags?dag_id={SECRET}&{every}", {"is_paused": True}).status == 403
    reply = api("PATCH", f"/api/v2/dags?dag_id=ours&{every}", {"is_paused": True})
    assert (reply.status, [dag["dag_id"] for dag in reply.json["dags"]]) == (200, ["ours"])
    assert {dag.dag_id for dag in world.store.list_dags() if dag.is_paused} == {"ours"}


def test_a_call_that_nobody_thought_about_is_refused(world: World) -> None:
    seen = readable(world.store, ADA)
    known = {
        *LISTS,
        *NOTHING_OF_OTHERS,
        *SINGLE,
        *OF_NO_DAG,
        *OF_FAVORITES,
        "logged_events",
        "walk_logged_events",
        "get_logged_event",
        "count_logged_events",
        "count_hitl_details",
        "references_to_assets",
    }
    others = {name for name in dir(Store) if not name.startswith("_")} - known
    assert {"put_dag", "move", "delete_run", "list_pools", "put_xcom"} <= others
    for name in others:
        with pytest.raises((Problem, Rejected)):
            getattr(seen, name)
    with pytest.raises(Problem):
        seen.list_settings("variables")


@pytest.mark.parametrize(
    ("given", "method", "entity", "allowed"),
    [
        ({"team-a": {"can_read"}}, "GET", None, True),
        ({"team-a": {"can_read"}}, "GET", Entity.TASK_LOGS, True),
        ({"team-a": {"can_read"}}, "PUT", None, False),
        ({"team-a": {"can_edit"}}, "GET", None, False),
        ({"team-a": {"can_edit"}}, "PUT", Entity.TASK_INSTANCE, True),
        ({"team-a": {"can_edit"}}, "DELETE", Entity.RUN, True),
        ({"team-a": {"can_edit"}}, "DELETE", None, False),
        ({"team-a": {"can_delete"}}, "DELETE", None, True),
        ({"team-a": {"DAGs": {"can_read"}, "DAG Runs": {"can_create"}}}, "POST", Entity.RUN, True),
        ({"team-a": {"DAGs": {"can_read"}, "DAG Runs": {"can_create"}}}, "DELETE", Entity.RUN, False),
        ({"team-a": {"DAG Runs": {"can_create"}}}, "POST", Entity.RUN, False),
        ({"team-b": {"can_read"}}, "GET", None, False),
        ({"Viewer": {"can_edit"}}, "PUT", None, True),
        (None, "GET", None, False),
    ],
)
def test_what_access_control_gives(given: Any, method: Method, entity: Entity | None, allowed: bool) -> None:
    user = User("ada", Role.VIEWER if given and "Viewer" in given else None, ("team-a",))
    assert gives(access_control_of(given), user, method, entity) == allowed


def test_access_control_gives_a_viewer_more(world: World, api: Api) -> None:
    world.dag("open", access_control=access_control_of({"Viewer": {"can_edit"}}))
    token = world.services.tokens.for_user(User("vera", Role.VIEWER), now=NOW, lifetime=timedelta(hours=1))
    vera = {"authorization": f"Bearer {token}"}
    assert api("PATCH", "/api/v2/dags/open", {"is_paused": True}, headers=vera).status == 200
    assert api("PATCH", "/api/v2/dags/ours", {"is_paused": True}, headers=vera).status == 403
    assert api("GET", "/api/v2/dags", headers=vera).json["total_entries"] == 3
