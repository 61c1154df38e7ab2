"""Signs of life of workers elsewhere."""

from __future__ import annotations

from gust.execution_api.routes import ROUTES
from gust.execution_api.routing import Access
from gust.model.worker_group import WorkerGroup
from tests.unit.execution_api.world import NOW, World


def test_a_host_shows_that_it_is_there_and_learns_that_its_queue_is_gone(world: World) -> None:
    path = "/gust/worker-groups/on%20prem/sign-of-life"
    assert world.request("PUT", path)[0] == 404
    assert world.store.list_worker_groups() == []

    world.store.register_worker_group(WorkerGroup(name="on prem", queue_url="https://sqs/onprem"))
    assert world.request("PUT", path)[0] == 204
    (group,) = world.store.list_worker_groups()
    assert group.heard_at == NOW


def test_what_needs_no_token_reveals_nothing_and_changes_nothing_but_signs_of_life() -> None:
    is_open = {(route.method, route.path) for route in ROUTES if route.access is Access.OPEN}
    assert is_open == {
        ("GET", "/health"),
        ("GET", "/health/ping"),
        ("PUT", "/gust/worker-groups/{queue}/sign-of-life"),
    }
