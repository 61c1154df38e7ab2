"""Requests become invocations; rendered fields wait for one to travel with."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import httpx
import pytest
from airflow.sdk.api.client import Client
from botocore.exceptions import ClientError

from gust.airflow_bridge import transport as bridge
from gust.airflow_bridge.transport import LambdaTransport
from gust.aws.invoke import LambdaInvoker
from gust.aws.memory import MemoryObjects
from gust.errors import ServiceUnavailable, Throttled

TI = "http://gust/execution/task-instances/0195"
RTIF = f"{TI}/rtif"


class Function:
    """Keeps its events; fails while told to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.is_unwell = False
        self.is_throttled = False
        self.asked = 0

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.is_throttled:
            raise Throttled("no concurrency left")
        if self.is_unwell:
            raise ServiceUnavailable("it died")
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


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/task-instances/0195/state"), ("POST", "/gust/tries/0195/lost")]
)
def test_rendered_fields_travel_with_the_report_of_the_end(
    client: httpx.Client, function: Function, method: str, path: str
) -> None:
    assert client.put(RTIF, json={"sql": "select 1"}).status_code == 201
    assert function.events == []
    client.post("http://gust/execution/xcoms/etl/run/extract/state", json=1)
    client.request(method, f"http://gust/execution{path}", json={"state": "success"})
    client.put(f"{TI}/heartbeat", json={})
    assert function.seen == [
        ("/execution/xcoms/etl/run/extract/state", None),
        (f"/execution{path}", '{"sql":"select 1"}'),
        ("/execution/task-instances/0195/heartbeat", None),
    ]


def test_fields_after_those_that_were_sent_are_sent_at_once(
    client: httpx.Client, transport: LambdaTransport, function: Function
) -> None:
    """The execution API may have stored the first apart; it could not tell which are the later ones."""
    client.put(RTIF, json={"sql": "old"})
    function.is_unwell = True
    transport.send_held()
    function.is_unwell = False
    client.put(RTIF, json={"sql": "new"})
    client.patch(f"{TI}/state", json={})
    assert function.seen == [
        ("/execution/task-instances/0195/rtif", None),
        ("/execution/task-instances/0195/state", None),
    ]
    assert transport.until_held_is_due() == math.inf


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


def test_who_has_begun_nothing_does_not_wait_for_concurrency(transport: LambdaTransport, function: Function) -> None:
    """The Task SDK's client would try again for minutes, and hold a worker's place that the function itself lacks."""
    function.is_throttled = True
    with Client(base_url="http://gust/execution/", token="t", transport=transport) as worker, pytest.raises(Throttled):
        worker.task_instances.start(uuid4(), pid=1, when=datetime.now(UTC))
    assert function.asked == 1


def test_who_has_begun_waits(client: httpx.Client, function: Function) -> None:
    """What a try reports must not be lost."""
    client.put(f"{TI}/heartbeat", json={})
    function.is_throttled = True
    with pytest.raises(httpx.TransportError):
        client.patch(f"{TI}/state", json={})


def test_a_start_that_may_have_been_written_is_asked_for_again(client: httpx.Client, function: Function) -> None:
    """By the same worker: another one would be refused, and the try lost."""
    function.is_unwell = True
    with pytest.raises(httpx.TransportError):
        client.patch(f"{TI}/run", json={})


def test_a_function_without_concurrency_is_told_from_one_that_failed() -> None:
    for code, error in (("TooManyRequestsException", Throttled), ("ServiceException", ServiceUnavailable)):
        refused = ClientError({"Error": {"Code": code, "Message": "no"}}, "Invoke")
        client = Mock(**{"invoke.side_effect": refused})
        with pytest.raises(ServiceUnavailable) as told:
            LambdaInvoker("execution-api", client)({})
        assert type(told.value) is error
