"""The health of parts that only run when there is work."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from gust.model.bundle import Bundle
from gust.rest_api.access.auth import Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.world import NOW, Api, World


def health(api: Api) -> Any:
    return api.ok("get_health", "GET", "/api/v2/monitor/health")


def statuses(api: Api) -> dict[str, str]:
    return {part: said["status"] for part, said in health(api).items()}


def test_a_system_that_ticks_and_has_nothing_to_do_is_healthy(world: World, api: Api) -> None:
    world.store.set_alive("scheduler", NOW)
    world.clock.advance(150)
    assert set(statuses(api).values()) == {"healthy"}
    assert health(api)["scheduler"]["latest_scheduler_heartbeat"] == NOW.isoformat()
    assert health(api)["triggerer"]["latest_triggerer_heartbeat"] is None


def test_the_scheduler_must_tick(world: World, api: Api) -> None:
    assert statuses(api)["scheduler"] == "unhealthy"
    world.store.set_alive("scheduler", NOW)
    assert statuses(api)["scheduler"] == "healthy"
    world.clock.advance(151)
    assert statuses(api)["scheduler"] == "unhealthy"


def test_uploads_must_be_processed(world: World, api: Api) -> None:
    world.objects.put("dags/etl.py", b"")
    assert statuses(api)["dag_processor"] == "unhealthy"
    world.store.activate_bundle(Bundle(name="dags-folder", version="b1", created_at=NOW), replacing=None)
    world.store.set_alive("dag_processor", NOW)
    assert statuses(api)["dag_processor"] == "healthy"
    assert health(api)["dag_processor"]["latest_dag_processor_heartbeat"] == NOW.isoformat()


def test_what_is_due_must_happen(world: World, api: Api) -> None:
    run = world.run(world.dag())
    world.store.update_run(run, replace(run, due_at=NOW + timedelta(seconds=60)))
    world.clock.advance(60 + 149)
    assert statuses(api)["triggerer"] == "healthy"
    world.clock.advance(2)
    assert statuses(api)["triggerer"] == "unhealthy"


def test_a_table_that_does_not_answer(world: World) -> None:
    class Broken:
        def last_alive(self) -> Any:
            raise OSError("no route to the table")

    broken = replace(world.services, store=Broken())
    reply = Api(build(broken, Authenticator("")))("GET", "/api/v2/monitor/health")
    assert reply.status == 200
    assert {said["status"] for said in reply.json.values()} == {"unhealthy"}
