"""Rules for the patterns of `events.yaml`, on EventBridge as MiniStack plays it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from gust.aws.event_bus import EventBridgeBus
from tests.contract.stores import Aws

ORDERS, BIG = '{"source":["shop"]}', '{"detail":{"n":[{"numeric":[">",5]}]},"source":["shop"]}'


class Bus:
    def __init__(self, aws: Aws) -> None:
        self.name = f"bus-{uuid4().hex[:8]}"
        self.aws = aws
        aws.events.create_event_bus(Name=self.name)
        self.queue = aws.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        attributes = aws.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self.arn = attributes["Attributes"]["QueueArn"]
        self.bus = EventBridgeBus(aws.events, bus=self.name, queue_arn=self.arn, dead_letters_arn=self.arn)

    def send(self, n: int) -> None:
        entry = {"Source": "shop", "DetailType": "Order", "Detail": json.dumps({"n": n}), "EventBusName": self.name}
        assert self.aws.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def arrived(self) -> list[tuple[str, int]]:
        """(pattern's id, the event's number) of all messages."""
        found: list[tuple[str, int]] = []
        while messages := self.aws.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.aws.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                assert {"id", "time", "detail-type"} <= body["event"].keys()
                found.append((body["pattern"], body["event"]["detail"]["n"]))
        return sorted(found)


@pytest.fixture
def bus(aws: Aws) -> Iterator[Bus]:
    made = Bus(aws)
    yield made
    made.bus.follow({})


def test_events_arrive_with_each_pattern_that_they_match(bus: Bus) -> None:
    bus.bus.follow({"a": ORDERS, "b": BIG})
    bus.bus.follow({"a": ORDERS, "b": BIG})
    bus.send(3)
    bus.send(9)
    assert bus.arrived() == [("a", 3), ("a", 9), ("b", 9)]


def test_a_pattern_that_is_gone_is_followed_no_longer(bus: Bus) -> None:
    bus.bus.follow({"a": ORDERS, "b": BIG})
    bus.bus.follow({"b": BIG})
    bus.send(9)
    assert bus.arrived() == [("b", 9)]


def test_a_bus_that_goes_loses_its_own_rules(bus: Bus) -> None:
    bus.aws.events.put_rule(Name="theirs", EventBusName=bus.name, EventPattern=ORDERS)
    bus.bus.follow({"a": ORDERS, "b": BIG})
    assert [bus.bus.remove_rules(), bus.bus.remove_rules()] == [2, 0]
    assert [rule["Name"] for rule in bus.bus.rules_of_others()] == ["theirs"]


def test_a_rule_whose_removal_ends_half_way_delivers_again_once_it_is_followed(bus: Bus) -> None:
    bus.bus.follow({"a": ORDERS})

    class Refusing:
        def delete_rule(self, **_: Any) -> None:
            raise PermissionError("events:DeleteRule")

        def __getattr__(self, name: str) -> Any:
            return getattr(bus.aws.events, name)

    with pytest.raises(PermissionError):
        EventBridgeBus(Refusing(), bus=bus.name).remove_rules()
    bus.bus.follow({"a": ORDERS})
    bus.send(1)
    assert bus.arrived() == [("a", 1)]


def test_rules_of_others_stay(bus: Bus) -> None:
    bus.aws.events.put_rule(Name="gust-FailedRuns-1", EventBusName=bus.name, EventPattern=ORDERS)
    bus.bus.follow({"a": ORDERS})
    bus.bus.follow({})
    (rule,) = bus.aws.events.list_rules(EventBusName=bus.name)["Rules"]
    assert rule["Name"] == "gust-FailedRuns-1"


def test_a_rule_whose_maker_died_gets_its_target_next_time(bus: Bus) -> None:
    bus.aws.events.put_rule(Name="events.yaml-a", EventBusName=bus.name, EventPattern=ORDERS, State="DISABLED")
    bus.bus.follow({"a": ORDERS})
    bus.send(1)
    assert bus.arrived() == [("a", 1)]


def test_a_rule_follows_the_stack_to_another_queue_and_is_enabled_all_the_time(bus: Bus) -> None:
    """Events were turned off and on again, on a bus that stays because the stack has alerts."""
    bus.bus.follow({"a": ORDERS})
    bus.send(1)
    assert bus.arrived() == [("a", 1)]
    states: list[str] = []

    class Watched:
        def put_rule(self, **asked: Any) -> Any:
            states.append(asked["State"])
            return bus.aws.events.put_rule(**asked)

        def __getattr__(self, name: str) -> Any:
            return getattr(bus.aws.events, name)

    former = bus.queue
    bus.queue = bus.aws.sqs.create_queue(QueueName=f"{bus.name}-2")["QueueUrl"]
    bus.aws.sqs.delete_queue(QueueUrl=former)
    arn = f"{bus.arn}-2"
    again = EventBridgeBus(Watched(), bus=bus.name, queue_arn=arn, dead_letters_arn=arn)
    again.follow({"a": ORDERS})
    again.follow({"a": ORDERS})
    bus.send(2)
    assert bus.arrived() == [("a", 2)]
    assert states == ["ENABLED"], "what needs no change is left alone"


def test_all_patterns_may_change_on_a_bus_that_has_room_for_no_more(bus: Bus) -> None:
    class Full:
        def put_rule(self, **asked: Any) -> Any:
            there = [rule["Name"] for rule in bus.aws.events.list_rules(EventBusName=bus.name)["Rules"]]
            assert len({*there, asked["Name"]}) <= 2, "LimitExceededException"
            return bus.aws.events.put_rule(**asked)

        def __getattr__(self, name: str) -> Any:
            return getattr(bus.aws.events, name)

    full = EventBridgeBus(Full(), bus=bus.name, queue_arn=bus.arn, dead_letters_arn=bus.arn)
    full.follow({"a": ORDERS, "b": BIG})
    full.follow({"c": ORDERS, "d": BIG})
    bus.send(9)
    assert bus.arrived() == [("c", 9), ("d", 9)]


@pytest.mark.parametrize(("others", "room"), [(2, 250), (60, 240), (400, 0)])
def test_rules_of_others_take_room(others: int, room: int) -> None:
    class Crowded:
        def list_rules(self, **_: Any) -> Any:
            return {"Rules": [{"Name": name} for name in ["events.yaml-a", *map(str, range(others))]]}

    assert EventBridgeBus(Crowded(), bus="gust").most_patterns() == room


def test_more_rules_than_a_page_holds(bus: Bus) -> None:
    many: dict[str, str] = {f"p{n:03}": json.dumps({"source": [f"s{n}"]}) for n in range(120)}
    bus.bus.follow(many)
    bus.bus.follow({})
    rules: list[Any] = bus.aws.events.list_rules(EventBusName=bus.name)["Rules"]
    assert rules == []


def test_eventbridge_says_what_is_wrong_with_a_pattern(bus: Bus) -> None:
    assert bus.bus.why_invalid(BIG) is None
    reason = bus.bus.why_invalid('{"source": ["x"], "detail": {"n": [{"numerical": [1]}]}}')
    assert reason is not None
    assert "numerical" in reason
