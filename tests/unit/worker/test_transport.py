"""Requests become invocations; rendered fields wait for one to travel with."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from gust.airflow_bridge import transport as bridge
from gust.airflow_bridge.transport import LambdaTransport
from gust.aws.memory import MemoryObjects
from gust.errors import Unwell

TI = "http://gust/execution/task-instances/0195"
RTIF = f"{TI}/rtif"


class Function:
    """Keeps its events; fails while told to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.is_unwell = False

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        if self.is_unwell:
            raise Unwell("throttled")
        self.events.append(event)
        return {"statusCode": 204}

    @property
    def seen(self) -> list[tuple[str, str | None]]:
        """(path, body of what it carried) of each event."""
        return [(event["rawPath"], event.get("carried", {}).get("body")) for event in self.events]


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def transport(function: Function) -> LambdaTransport:
    return LambdaTransport(function, MemoryObjects())


@pytest.fixture
def client(transport: LambdaTransport) -> httpx.Client:
    return httpx.Client(transport=transport)


def test_rendered_fields_travel_with_the_next_request(client: httpx.Client, function: Function) -> None:
    assert client.put(RTIF, json={"sql": "select 1"}).status_code == 201
    assert function.events == []
    client.patch(f"{TI}/state", json={"state": "success"})
    client.put(f"{TI}/heartbeat", json={})
    assert function.seen == [
        ("/execution/task-instances/0195/state", '{"sql":"select 1"}'),
        ("/execution/task-instances/0195/heartbeat", None),
    ]


def test_later_fields_take_the_place_of_earlier_ones(client: httpx.Client, function: Function) -> None:
    client.put(RTIF, json={"sql": "old"})
    client.put(RTIF, json={"sql": "new"})
    client.patch(f"{TI}/state", json={})
    assert function.seen == [("/execution/task-instances/0195/state", '{"sql":"new"}')]


def test_nothing_is_lost_where_the_function_cannot_be_reached(
    client: httpx.Client, transport: LambdaTransport, function: Function
) -> None:
    client.put(RTIF, json={"sql": "select 1"})
    function.is_unwell = True
    with pytest.raises(httpx.TransportError):
        client.patch(f"{TI}/state", json={})
    transport.send_held()
    assert 0 < transport.until_held_is_due() <= bridge.LONGEST_HELD
    function.is_unwell = False
    client.patch(f"{TI}/state", json={})
    assert function.seen == [("/execution/task-instances/0195/state", '{"sql":"select 1"}')]


def test_what_is_held_goes_alone_when_nothing_else_goes(
    client: httpx.Client, transport: LambdaTransport, function: Function
) -> None:
    transport.send_held()
    assert transport.until_held_is_due() == math.inf
    client.put(RTIF, json={"sql": "select 1"})
    assert 0 < transport.until_held_is_due() <= bridge.LONGEST_HELD
    transport.send_held()
    transport.send_held()
    assert function.seen == [("/execution/task-instances/0195/rtif", None)]
    assert transport.until_held_is_due() == math.inf


def test_large_fields_do_not_wait(client: httpx.Client, function: Function) -> None:
    """Two full-size requests do not fit into one invocation."""
    client.put(RTIF, json={"sql": "x" * bridge.LARGEST_HELD})
    assert function.seen == [("/execution/task-instances/0195/rtif", None)]
