"""`./gust watch-queue` says what it will change, changes that alone, and takes all of it back."""

from __future__ import annotations

import io
import json
from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from gust.cli import watch_queue
from gust.cli.aws import AwsError
from gust.cli.event_sources import WatchError
from tests.unit.cli.cloud import CloudFormation, Meta

ARN = "arn:aws:sqs:eu-west-1:111122223333:orders"
FUNCTIONS = "arn:aws:lambda:eu-west-1:111122223333:function"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/k"


class Missing(Exception):
    pass


class Refused(Exception):
    pass


class InUse(Exception):
    pass


class Account:
    """CloudFormation, Lambda, SQS, IAM and KMS as far as the command calls them."""

    meta = Meta()

    refusal = "The provided execution role does not have permissions to call ReceiveMessage on SQS"

    exceptions = Namespace(
        ResourceNotFoundException=Missing,
        QueueDoesNotExist=Missing,
        InvalidParameterValueException=Refused,
        ResourceInUseException=InUse,
    )

    def __init__(
        self,
        *,
        has_events: bool = True,
        is_old: bool = False,
        refusals: int = 0,
        fails: bool = False,
        **attributes: str,
    ) -> None:
        self.has_events = has_events
        self.own = {} if is_old else {"GUST_EVENTS_QUEUE_ARN": f"{ARN}-of-the-stack"}
        self.attributes = {"QueueArn": ARN, "VisibilityTimeout": "30"} | attributes
        self.mappings: list[dict[str, Any]] = []
        self.policies: dict[str, Any] = {}
        self.refusals = refusals
        self.fails = fails
        self.told: list[dict[str, str]] = []
        self.calls: list[str] = []

    def __call__(self, service: str) -> Any:
        return self

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - boto3's
        return CloudFormation(status="UPDATE_COMPLETE" if StackName == "gust" else None).describe_stacks(StackName)

    def get_function_configuration(self, **_: Any) -> dict[str, Any]:
        if not self.has_events:
            raise Missing
        return {"Timeout": 60, "Role": "arn:aws:iam::1:role/EventsRole", "Environment": {"Variables": self.own}}

    def get_queue_url(self, QueueName: str) -> dict[str, str]:  # noqa: N803 - boto3's
        if QueueName == "missing":
            raise Missing
        return {"QueueUrl": f"https://sqs.eu-west-1.amazonaws.com/111122223333/{QueueName}"}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": self.attributes}

    def set_queue_attributes(self, *, Attributes: dict[str, str], **_: Any) -> None:  # noqa: N803 - boto3's
        self.calls.append("queue")
        self.attributes |= Attributes

    def describe_key(self, **_: Any) -> dict[str, Any]:
        return {"KeyMetadata": {"Arn": KEY}}

    def get_paginator(self, _: str) -> Any:
        return Namespace(paginate=lambda **_: [{"EventSourceMappings": self.mappings}])

    def put_role_policy(self, *, PolicyName: str, PolicyDocument: str, **_: Any) -> None:  # noqa: N803 - boto3's
        self.calls.append("policy")
        self.policies[PolicyName] = json.loads(PolicyDocument)

    def list_role_policies(self, **_: Any) -> dict[str, Any]:
        return {"PolicyNames": list(self.policies)}

    def delete_role_policy(self, *, PolicyName: str, **_: Any) -> None:  # noqa: N803 - boto3's
        self.calls.append("no policy")
        del self.policies[PolicyName]

    def create_event_source_mapping(self, **asked: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Refused(self.refusal)
        self.calls.append("mapping")
        self.mappings.append({"UUID": "u", "FunctionArn": f"{FUNCTIONS}:{asked['FunctionName']}", **asked})

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> None:  # noqa: N803 - boto3's
        (mapping,) = (each for each in self.mappings if each["UUID"] == UUID)
        if mapping["State"] == "Disabling":
            mapping["State"] = "Disabled"
            raise InUse
        self.calls.append("enabled")
        mapping["State"] = "Enabled" if Enabled else "Disabled"

    def delete_event_source_mapping(self, **_: Any) -> None:
        self.calls.append("no mapping")
        self.mappings.clear()

    def invoke(self, *, Payload: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        if self.fails:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "no table"}')}
        told = json.loads(Payload)
        self.told.append(told)
        self.calls.append(*told)
        return {"Payload": io.BytesIO(b"{}")}


def ask_to_watch(account: Account, answer: str, *arguments: str) -> int:
    parser = ArgumentParser()
    watch_queue.add_arguments(parser)
    return watch_queue.run(parser.parse_args(["orders", *arguments]), lambda _: answer, account)


def test_it_says_what_it_will_change_and_asks(capsys: pytest.CaptureFixture[str]) -> None:
    account = Account()
    assert ask_to_watch(account, "n") == 1
    assert account.calls == []
    assert capsys.readouterr().out.splitlines() == [
        "This will change:",
        "  Queue orders: visibility timeout 360 s (Lambda needs it; --remove leaves it)",
        "  Role EventsRole: inline policy watch-queue-orders, to read and delete messages of this queue",
        "  Function gust-events: gets the messages of orders (some $0.26 a month while none come)",
        "  Watchers of orders that neither filter nor leave messages there: no longer poll",
        "Nothing was changed.",
    ]


def test_it_gives_the_right_before_the_mapping_and_stops_the_watchers_last() -> None:
    account = Account()
    assert ask_to_watch(account, "y") == 0
    assert account.calls == ["queue", "policy", "mapping", "watch_queue"]
    assert account.attributes["VisibilityTimeout"] == "360"
    (statement,) = account.policies["watch-queue-orders"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
        "Resource": ARN,
    }
    (mapping,) = account.mappings
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (10, ["ReportBatchItemFailures"])
    assert account.told == [{"watch_queue": ARN}]


def test_a_second_time_makes_no_second_mapping() -> None:
    account = Account()
    ask_to_watch(account, "", "--yes")
    account.calls.clear()
    ask_to_watch(account, "", "--yes")
    assert account.calls == ["policy", "watch_queue"]


def test_remove_has_the_watchers_poll_first_and_takes_all_back() -> None:
    account = Account()
    ask_to_watch(account, "", "--yes")
    account.calls.clear()
    assert ask_to_watch(account, "y", "--remove") == 0
    assert account.calls == ["unwatch_queue", "no mapping", "no policy"]
    account.calls.clear()
    assert ask_to_watch(account, "y", "--remove") == 0
    assert account.calls == ["unwatch_queue"]


def test_what_was_given_for_a_queue_that_is_gone_can_be_taken_back() -> None:
    account = Account()
    account.policies["watch-queue-missing"] = {}
    watch_queue.make(account, watch_queue.plan(account, "missing", "gust", remove=True))
    assert account.told == [{"unwatch_queue": "arn:aws:sqs:eu-west-1:111122223333:missing"}]
    assert account.policies == {}
    with pytest.raises(WatchError, match="no queue missing"):
        watch_queue.plan(account, "missing", "gust", remove=True)


def test_a_mapping_that_goes_counts_no_more() -> None:
    account = Account()
    account.mappings.append({"UUID": "old", "FunctionArn": f"{FUNCTIONS}:gust-events", "State": "Deleting"})
    assert watch_queue.plan(account, "orders", "gust").mapping is None


def test_a_mapping_that_a_person_disabled_is_enabled(capsys: pytest.CaptureFixture[str]) -> None:
    account, pauses = Account(), list[float]()
    account.mappings.append({"UUID": "u", "FunctionArn": f"{FUNCTIONS}:gust-events", "State": "Disabled"})
    ask_to_watch(account, "", "--yes")
    assert "  Function gust-events: its disabled mapping brings the messages of orders again" in capsys.readouterr().out
    assert account.calls == ["queue", "policy", "enabled", "watch_queue"]
    account.mappings[0]["State"] = "Disabling"
    watch_queue.make(account, watch_queue.plan(account, "orders", "gust"), pause=pauses.append)
    assert (account.mappings[0]["State"], pauses) == ("Enabled", [5])


def test_a_long_visibility_timeout_stays_and_an_encrypted_queue_needs_its_key() -> None:
    account = Account(VisibilityTimeout="60", KmsMasterKeyId="alias/orders")
    ask_to_watch(account, "", "--yes")
    assert account.attributes["VisibilityTimeout"] == "60"
    assert account.policies["watch-queue-orders"]["Statement"][1] == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": KEY,
    }


def test_it_waits_until_lambda_knows_of_the_right() -> None:
    account, pauses = Account(refusals=3), list[float]()
    watch_queue.make(account, watch_queue.plan(account, "orders", "gust"), pause=pauses.append)
    assert (len(account.mappings), pauses) == (1, [5, 5, 5])
    account = Account(refusals=99)
    with pytest.raises(Refused):
        watch_queue.make(account, watch_queue.plan(account, "orders", "gust"), pause=pauses.append)
    assert account.told == []


def test_it_does_not_wait_where_lambda_refuses_for_another_reason() -> None:
    account, pauses = Account(refusals=1), list[float]()
    account.refusal = "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"
    with pytest.raises(Refused):
        watch_queue.make(account, watch_queue.plan(account, "orders", "gust"), pause=pauses.append)
    assert pauses == []


@pytest.mark.parametrize(
    ("account", "queue", "reason"),
    [
        (Account(has_events=False), "orders", "Events=Enabled first"),
        (Account(is_old=True), "orders", "deploy first"),
        (Account(), "missing", "no queue missing"),
        (Account(QueueArn=f"{ARN}-of-the-stack"), "orders", "stack's own"),
    ],
)
def test_it_refuses_what_cannot_be_watched(account: Account, queue: str, reason: str) -> None:
    with pytest.raises(WatchError, match=reason):
        watch_queue.plan(account, queue, "gust")


def test_a_stack_that_is_not_there_is_named_with_its_region() -> None:
    with pytest.raises(
        AwsError, match="there is no stack gsut in eu-west-1; --stack and --region say which one you mean"
    ):
        watch_queue.plan(Account(has_events=False), "orders", "gsut")


def test_it_refuses_a_queue_that_another_function_reads() -> None:
    account = Account()
    account.mappings.append({"UUID": "theirs", "FunctionArn": f"{FUNCTIONS}:theirs"})
    with pytest.raises(WatchError, match="reads orders already"):
        watch_queue.plan(account, "orders", "gust")


def test_a_function_that_fails_to_note_it_is_told() -> None:
    account = Account(fails=True)
    with pytest.raises(WatchError, match="no table"):
        watch_queue.make(account, watch_queue.plan(account, "orders", "gust"))
