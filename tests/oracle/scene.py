"""A scene: DAGs with runs in many states, acted out on real Airflow, written down, and set up again in Gust's memory store
with the same moments in it. So the same question can be asked of both, and the answers need no allowances but for ids.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from gust.airflow_bridge.parse import parse_file
from gust.model import bucket_keys
from gust.model.asset import AssetEvent, AssetUpdate, ToQueue
from gust.model.backfill import Backfill, ReprocessBehavior
from gust.model.dag_run import DagRun
from gust.model.deployment import Plan, Progress
from gust.model.hitl import HITLDetail
from gust.model.keys import TaskInstanceKey
from gust.model.logged_event import LoggedEvent
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType, TaskInstanceState
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.xcom import XCom
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.scheduling.added_run import AssetRun
from gust.scheduling.transition import Transition
from gust.services.deployments.activate_bundle import activate
from gust.services.deployments.deploy_bundle import snapshot
from tests.oracle.drive import ApiClient, await_dags, set_paused
from tests.unit.rest_api.world import Api, World, make_world

Scene = dict[str, Any]
"""By the name of a list its rows, as Airflow answers them; `now`: the moment of the last look."""

DAGS: Final = Path(__file__).parent / "scene_dags"
PATIENCE: Final = 240.0

SETTINGS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("pools", {"name": "scene_narrow", "slots": 2, "description": "for parcels"}),
    ("pools", {"name": "Wide", "slots": 64, "include_deferred": True}),
    *(("variables", {"key": key, "value": "1"}) for key in ("colour", "Shape", "shop_key", "50%_off")),
    ("variables", {"key": "described", "value": '{"a": 1}', "description": "what it is for"}),
    ("connections", {"connection_id": "warehouse", "conn_type": "postgres", "host": "db", "port": 5432}),
    ("connections", {"connection_id": "Lake", "conn_type": "aws", "description": "of data"}),
    ("connections", {"connection_id": "lake_two", "conn_type": "aws"}),
)
"""What is made on both by the same requests."""

RUNS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("shop_make", {"dag_run_id": "one", "logical_date": "2026-03-01T00:00:00Z", "conf": {"rows": 3}}),
    (
        "shop_make",
        {"dag_run_id": "One_x", "logical_date": "2026-03-02T00:00:00Z", "conf": {"rows": 7, "why": {"x": [1]}}},
    ),
    ("shop_make", {"dag_run_id": "two", "logical_date": None, "note": "by hand"}),
    ("shop_fails", {"dag_run_id": "one", "logical_date": "2026-03-01T12:00:00Z"}),
    ("shop_fails", {"dag_run_id": "two", "logical_date": None}),
    ("Shop_Branches", {"dag_run_id": "one", "logical_date": None, "conf": {"rows": 3}}),
    ("Shop_Branches", {"dag_run_id": "manual__x", "logical_date": "2026-02-01T00:00:00Z"}),
    ("wait_for_time", {"dag_run_id": "long", "logical_date": "2026-03-05T00:00:00Z"}),
    ("wait_for_people", {"dag_run_id": "ask_1", "logical_date": None}),
    ("wait_for_people", {"dag_run_id": "ask_2", "logical_date": None, "conf": {"who": "ann"}}),
    ("wait_for_nothing", {"dag_run_id": "queued", "logical_date": None}),
)


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with the scene's files, one of which is broken."""
    shutil.copytree(DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (dags / "broken.py").write_text("from airflow.sdk import dag, nothing_of_the_kind\n")


# --- on Airflow -------------------------------------------------------------------------------------------------------


def act(client: ApiClient) -> Scene:
    """Make it happen, wait until all has come to rest, and write down what there is."""
    await_dags(client, {dag_id for dag_id, _ in RUNS} | {"shop_daily", "shop_read", "shop_both"})
    make_settings(client.call)
    for dag_id in sorted({dag_id for dag_id, _ in RUNS} - {"wait_for_nothing"} | {"shop_read", "shop_both"}):
        set_paused(client, dag_id, paused=False)
    for dag_id, body in RUNS:
        client.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body=body)
    days = {"from_date": "2026-01-03T00:00:00Z", "to_date": "2026-01-05T00:00:00Z", "max_active_runs": 2}
    set_paused(client, "shop_daily", paused=False)
    client.call("POST", "/api/v2/backfills", body={"dag_id": "shop_daily", **days})
    await_states(client)
    (users,) = client.call("GET", "/api/v2/assets?name_pattern=scene_users")["assets"]
    client.call("POST", "/api/v2/assets/events", body={"asset_id": users["id"], "extra": {"by": "hand"}})
    one = "/api/v2/dags/shop_make/dagRuns/one"
    client.call("PATCH", f"{one}/taskInstances/parcels.sizes", body={"note": "three of them"})
    client.call("PATCH", "/api/v2/dags/Shop_Branches/dagRuns/one", body={"state": "failed", "note": "changed by hand"})
    again = {"dry_run": False, "dag_run_id": "one", "only_failed": False, "task_ids": ["works"]}
    client.call("POST", "/api/v2/dags/shop_fails/clearTaskInstances", body=again)
    client.call("POST", f"{one}/taskInstances/make/xcomEntries", body={"key": "remark", "value": "counted"})
    client.call("POST", "/api/v2/dags/shop_fails/favorite")
    time.sleep(3)
    await_states(client)
    for row in client.pages("/api/v2/dags", "dags"):
        set_paused(client, row["dag_id"], paused=row["dag_id"] not in UNPAUSED)
    time.sleep(12)  # what was under way is over, and every file has been parsed once more
    return written_down(client)


UNPAUSED: Final = {"shop_fails"}
"""A DAG with unfinished runs would go on moving: when it was looked at last, if nothing else."""


def make_settings(call: Any) -> None:
    for path, body in SETTINGS:
        call("POST", f"/api/v2/{path}", body=body)


def await_states(client: ApiClient) -> None:
    """Until nothing is scheduled, queued, running or about to be retried, and nothing more comes."""
    deadline, calm_since, before = time.monotonic() + PATIENCE, time.monotonic(), None
    moving = {"scheduled", "queued", "running", "up_for_retry", "restarting"}
    while time.monotonic() - calm_since < 8:
        rows = list(client.pages("/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances"))
        states = sorted((r["dag_id"], r["dag_run_id"], r["task_id"], r["map_index"], str(r["state"])) for r in rows)
        if states != before or moving.intersection(state for *_, state in states):
            before, calm_since = states, time.monotonic()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the scene does not come to rest: {states}")
        time.sleep(1)


def written_down(client: ApiClient) -> Scene:
    runs = client.pages("/api/v2/dags/~/dagRuns", "dag_runs")
    xcoms = client.pages("/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries", "xcom_entries")
    instances = client.pages("/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances")
    return {
        "now": datetime.now(UTC).isoformat(),
        "dags": client.pages("/api/v2/dags", "dags"),
        "dag_versions": client.pages("/api/v2/dags/~/dagVersions", "dag_versions"),
        "dag_runs": runs,
        "task_instances": instances,
        "tries": [
            row
            for one in instances
            if one["try_number"] > 1
            for row in client.call("GET", f"{instance_path(one)}/tries", query={"map_index": one["map_index"]})[
                "task_instances"
            ]
        ],
        "xcoms": [
            client.call(
                "GET",
                f"{instance_path(row, 'run_id')}/xcomEntries/{quote(row['key'], safe='')}",
                query={"map_index": row["map_index"]},
            )
            for row in xcoms
        ],
        "event_logs": client.pages("/api/v2/eventLogs", "event_logs"),
        "hitl_details": client.pages("/api/v2/dags/~/dagRuns/~/hitlDetails", "hitl_details"),
        "backfills": client.pages("/api/v2/backfills", "backfills", dag_id="shop_daily"),
        "assets": client.pages("/api/v2/assets", "assets"),
        "asset_events": client.pages("/api/v2/assets/events", "asset_events"),
        "queued_events": [event for dag_id in ("shop_read", "shop_both") for event in queued_events(client, dag_id)],
        "consumed": {
            f"{run['dag_id']}/{run['dag_run_id']}": [
                event["id"]
                for event in client.call(
                    "GET",
                    f"/api/v2/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'], safe='')}/upstreamAssetEvents",
                )["asset_events"]
            ]
            for run in runs
        },
    }


def queued_events(client: ApiClient, dag_id: str) -> list[dict[str, Any]]:
    try:
        return list(client.call("GET", f"/api/v2/dags/{dag_id}/assets/queuedEvents")["queued_events"])
    except Exception as error:  # none is a 404
        if " 404 " in str(error):
            return []
        raise


def instance_path(row: dict[str, Any], run_id: str = "dag_run_id") -> str:
    return f"/api/v2/dags/{row['dag_id']}/dagRuns/{quote(row[run_id], safe='')}/taskInstances/{quote(row['task_id'])}"


# --- in memory --------------------------------------------------------------------------------------------------------


def staged(scene: Scene, dags: Path) -> tuple[World, Api]:
    """Gust over the store in memory, with all of the scene in it."""
    world = make_world()
    world.inventory.errors = {}
    now = moment(scene["now"])
    assert now is not None
    world.clock.advance((now - world.clock.now()).total_seconds())
    api = Api(build(world.services, Authenticator(ALL_ADMINS)))
    deploy(world, dags)

    def call(method: str, path: str, *, body: Any) -> None:
        assert api(method, path, body).status in (200, 201, 204)

    make_settings(call)
    call("POST", "/api/v2/dags/shop_fails/favorite", body=None)
    world.store._logged_events.clear()  # type: ignore[attr-defined] # Airflow's come instead
    Stage(world, scene).set_up()
    return world, api


def deploy(world: World, dags: Path) -> None:
    """All files, as an upload brings them in."""
    for path in dags.glob("*.py"):
        world.objects.put(f"dags/{path.name}", path.read_bytes())
    taken = snapshot(world.services, "scene")
    assert taken.plan is not None
    plan = Plan.model_validate_json(world.objects.get(taken.plan))
    for number, batch in enumerate(plan.batches):
        outcomes = tuple(parse_file(world.objects, dags, path, plan.bundle_name) for path in batch)
        world.objects.put(
            bucket_keys.progress(taken.plan, number), Progress(outcomes=outcomes).model_dump_json().encode()
        )
    assert not activate(world.services, taken.plan, "scene").stale


class Stage:
    def __init__(self, world: World, scene: Scene) -> None:
        self.world, self.store, self.scene = world, world.store, scene
        self.runs: dict[tuple[str, str], DagRun] = {}
        self.events: dict[int, AssetEvent] = {}

    def set_up(self) -> None:
        self.set_dags()
        self.set_backfills()
        waiting = {(row["dag_id"], row["asset_id"]): row for row in self.scene["queued_events"]}
        consumed = {number for ids in self.scene["consumed"].values() for number in ids}
        for row in self.scene["asset_events"]:
            if row["id"] in consumed:
                self.set_asset_event(row, self.takers(row))
        for row in sorted(self.scene["dag_runs"], key=lambda row: str(row["queued_at"])):
            self.set_run(row)
        for row in self.scene["asset_events"]:
            if row["id"] not in consumed:
                self.set_asset_event(row, {dag_id for dag_id, asset_id in waiting if asset_id == row["asset_id"]})
        for row in self.scene["tries"]:
            self.set_instance(row)
        for row in self.scene["task_instances"]:
            self.set_instance(row)
        for row in self.scene["xcoms"]:
            self.set_xcom(row)
        for row in self.scene["hitl_details"]:
            self.set_question(row)
        for row in self.scene["event_logs"]:
            self.set_logged_event(row)

    def set_dags(self) -> None:
        for row in self.scene["dags"]:
            before = self.store.get_dag(row["dag_id"])
            assert before is not None, row["dag_id"]
            after = replace(
                before,
                is_paused=row["is_paused"],
                last_parsed_time=moment(row["last_parsed_time"]),
                next_logical_date=moment(row["next_dagrun_logical_date"]),
                next_data_interval_start=moment(row["next_dagrun_data_interval_start"]),
                next_data_interval_end=moment(row["next_dagrun_data_interval_end"]),
                next_run_after=moment(row["next_dagrun_run_after"]),
            )
            self.store.put_dag(before, after)

    def set_backfills(self) -> None:
        for row in self.scene["backfills"]:
            dag = self.store.get_dag(row["dag_id"])
            assert dag is not None
            self.store.next_backfill_id()
            count = sum(run["run_type"] == "backfill" for run in self.scene["dag_runs"])
            self.store.create_backfill(
                Backfill(
                    backfill_id=row["id"],
                    dag_id=row["dag_id"],
                    from_date=certain(row["from_date"]),
                    to_date=certain(row["to_date"]),
                    dag_run_conf=row["dag_run_conf"],
                    is_paused=row["is_paused"],
                    reprocess_behavior=ReprocessBehavior(row["reprocess_behavior"]),
                    max_active_runs=row["max_active_runs"],
                    triggering_user_name="Anonymous",
                    created_at=certain(row["created_at"]),
                    updated_at=certain(row["updated_at"]),
                    completed_at=moment(row["completed_at"]),
                    version_number=dag.version_number,
                    spec_key=dag.spec_key,
                    bundle_version=dag.bundle_version,
                    planned=count,
                    made=count,
                ),
                [],
            )

    def set_run(self, row: dict[str, Any]) -> None:
        dag = self.store.get_dag(row["dag_id"])
        assert dag is not None
        state = DagRunState(row["state"])
        run = DagRun(
            dag_id=row["dag_id"],
            run_id=row["dag_run_id"],
            run_type=DagRunType(row["run_type"]),
            state=state,
            run_after=certain(row["run_after"]),
            queued_at=certain(row["queued_at"] or row["run_after"]),
            **{
                name: moment(row[name])
                for name in (
                    *("logical_date", "data_interval_start", "data_interval_end", "start_date", "end_date"),
                    *("last_scheduling_decision", "partition_date"),
                )
            },
            conf=row["conf"] or {},
            note=row["note"],
            triggered_by=DagRunTriggeredByType(row["triggered_by"]) if row["triggered_by"] else None,
            triggering_user_name=row["triggering_user_name"],
            partition_key=row["partition_key"],
            backfill_id=self.scene["backfills"][0]["id"] if row["run_type"] == "backfill" else None,
            version_number=dag.version_number,
            spec_key=dag.spec_key,
            bundle_version=dag.bundle_version,
            due_at=None
            if state in (DagRunState.SUCCESS, DagRunState.FAILED)
            else self.world.clock.now() + timedelta(1),
        )
        self.runs[run.dag_id, run.run_id] = run
        events = [self.events[number] for number in self.scene["consumed"][f"{run.dag_id}/{run.run_id}"]]
        queue = self.store.asset_queue(run.dag_id) if events else None
        if queue is None:
            self.store.create_run(run)
            return
        events.sort(key=lambda event: event.timestamp)
        self.store.note_consumers(run.key, events)
        self.store.create_asset_run(AssetRun(run, consuming=queue, events=events))

    def takers(self, event: dict[str, Any]) -> set[str]:
        """DAGs a run of which consumed it."""
        return {name.partition("/")[0] for name, ids in self.scene["consumed"].items() if event["id"] in ids}

    def set_instance(self, row: dict[str, Any]) -> None:
        """A later try of an instance that is there puts the earlier one into its history."""
        run = self.runs[row["dag_id"], row["dag_run_id"]]
        if row["state"] is None and row["map_index"] < 0:
            return
        key = TaskInstanceKey(run.dag_id, run.run_id, row["task_id"], row["map_index"])
        stored = self.store.get_instance(key)
        before = stored or TaskInstance(
            dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index
        )
        trigger = row.get("trigger")
        after = TaskInstance(
            dag_id=key.dag_id,
            run_id=key.run_id,
            task_id=key.task_id,
            map_index=key.map_index,
            state=TaskInstanceState(row["state"]) if row["state"] else None,
            try_number=row["try_number"],
            max_tries=row["max_tries"],
            dispatch_count=row["try_number"],
            queued_at=moment(row["queued_when"]),
            scheduled_at=moment(row["scheduled_when"]),
            start_date=moment(row["start_date"]),
            end_date=moment(row["end_date"]),
            hostname=row["hostname"] or None,
            pid=row["pid"],
            operator=row["operator"],
            note=row.get("note"),
            rendered_map_index=row.get("rendered_map_index"),
            map_length=self.length_of(row) if row["map_index"] >= 0 else None,
            trigger=ParkedTrigger(classpath=trigger["classpath"], kwargs={}, next_method="execute")
            if trigger
            else None,
            heartbeat_at=moment(trigger["created_date"]) if trigger else None,
        )
        if stored is not None and stored.try_number == after.try_number:
            self.store.move(Transition("test", before, after))
        else:
            self.store.move(Transition("test", before, after, keeps_try=after.try_number > max(before.try_number, 1)))
        if row.get("rendered_fields"):
            self.store.put_rendered_fields(key, row["rendered_fields"], dispatch_count=after.dispatch_count)

    def length_of(self, row: dict[str, Any]) -> int:
        names = ("dag_id", "dag_run_id", "task_id")
        return sum(
            other["map_index"] >= 0 and all(other[name] == row[name] for name in names)
            for other in self.scene["task_instances"]
        )

    def set_xcom(self, row: dict[str, Any]) -> None:
        key = TaskInstanceKey(row["dag_id"], row["run_id"], row["task_id"], row["map_index"])
        self.store.create_xcom(XCom(key=key, name=row["key"], value=row["value"], timestamp=certain(row["timestamp"])))

    def set_question(self, row: dict[str, Any]) -> None:
        task = row["task_instance"]
        self.store.put_hitl_detail(
            HITLDetail(
                key=TaskInstanceKey(task["dag_id"], task["dag_run_id"], task["task_id"], task["map_index"]),
                try_number=task["try_number"],
                options=row["options"],
                subject=row["subject"],
                body=row["body"],
                defaults=row["defaults"],
                multiple=row["multiple"],
                params=row["params"],
                assigned_users=row["assigned_users"],
                created_at=certain(row["created_at"]),
            )
        )

    def set_asset_event(self, row: dict[str, Any], to: Iterable[str]) -> None:
        event = AssetEvent(
            event_id=f"{row['id']:08x}-0000-0000-0000-000000000000",
            name=row["name"],
            uri=row["uri"],
            group=row["group"],
            extra=row["extra"],
            timestamp=certain(row["timestamp"]),
            source_dag_id=row["source_dag_id"],
            source_run_id=row["source_run_id"],
            source_task_id=row["source_task_id"],
            source_map_index=row["source_map_index"],
            partition_key=row["partition_key"],
        )
        self.events[row["id"]] = event
        deliveries = tuple(ToQueue(dag_id=dag_id) for dag_id in sorted(to))
        self.store.put_asset_events(event.event_id, [AssetUpdate(event, deliveries)])

    def set_logged_event(self, row: dict[str, Any]) -> None:
        self.store.log_event(
            LoggedEvent(
                when=certain(row["when"]),
                logical_date=moment(row["logical_date"]),
                owner_display_name=row["owner"],
                **{
                    name: row[name]
                    for name in ("event", "owner", "extra", "dag_id", "task_id", "run_id", "map_index", "try_number")
                },
            )
        )


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def certain(text: str) -> datetime:
    found = moment(text)
    assert found is not None
    return found


def rows_of(scene: Scene) -> Iterator[dict[str, Any]]:
    """All rows of all lists."""
    for rows in scene.values():
        if isinstance(rows, list):
            yield from rows
