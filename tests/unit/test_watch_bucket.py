"""`./gust watch-bucket` says what it will change, changes that alone, and does nothing the second time."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from gust.cli import watch_bucket
from gust.cli.aws import AwsError
from tests.unit.cli.cloud import CloudFormation, refusal

QUEUE = {"Id": "theirs", "QueueArn": "arn:aws:sqs:eu-west-1:1:q", "Events": ["s3:ObjectCreated:*"]}


class Account:
    """S3 and CloudFormation as far as the command calls them."""

    def __init__(self, parameters: dict[str, str] | None = None, notifications: dict[str, Any] | None = None) -> None:
        self.parameters = {"Events": "Disabled", "WatchedBuckets": "", "Fargate": "Enabled"} | (parameters or {})
        self.notifications = notifications or {}
        self.deployments: list[str] = []

    def __call__(self, service: str) -> Any:
        return self

    def get_bucket_notification_configuration(self, **_: Any) -> dict[str, Any]:
        return {**self.notifications, "ResponseMetadata": {}}

    def put_bucket_notification_configuration(self, **asked: Any) -> None:
        self.notifications = asked["NotificationConfiguration"]

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()]
        told = {"BucketName": "the-stacks-own", "DeployBundleArn": "deploy-bundle"}
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in told.items()]
        return {"Stacks": [{"StackName": "gust", "Parameters": parameters, "Outputs": outputs}]}

    def update_stack(self, **asked: Any) -> None:
        parameters = asked["Parameters"]
        kept = {each["ParameterKey"] for each in parameters if each.get("UsePreviousValue")}
        given = {each["ParameterKey"]: each["ParameterValue"] for each in parameters if "ParameterValue" in each}
        assert kept | given.keys() == self.parameters.keys()
        self.parameters |= given

    exceptions = Namespace(ExecutionAlreadyExists=KeyError)

    def start_execution(self, **asked: str) -> None:
        self.deployments.append(asked["stateMachineArn"])

    def get_waiter(self, _: str) -> Any:
        return Namespace(wait=lambda **_: None)


def test_a_bucket_that_aws_does_not_show_is_told_in_a_line() -> None:
    class Closed(Account):
        def get_bucket_notification_configuration(self, **_: Any) -> dict[str, Any]:
            raise refusal("AccessDenied", "not authorized to perform s3:GetBucketNotification")

    told = "of bucket raw cannot be read: you may not do this: not authorized to perform s3:GetBucketNotification$"
    with pytest.raises(watch_bucket.WatchBucketError, match=told):
        watch_bucket.plan(Closed(), "raw", "gust")


def test_a_stack_that_is_not_there_is_named_with_its_region() -> None:
    clients = {"cloudformation": CloudFormation(), "s3": Account()}
    with pytest.raises(
        AwsError, match="there is no stack gsut in eu-west-1; --stack and --region say which one you mean"
    ):
        watch_bucket.plan(clients.__getitem__, "raw", "gsut")


def test_it_adds_events_to_the_bucket_and_the_bucket_to_the_stack() -> None:
    account = Account(notifications={"QueueConfigurations": [QUEUE]})
    change = watch_bucket.plan(account, "raw", "gust")
    assert change.lines == [
        "Bucket raw: send all events to EventBridge ($1 per million; keeps 1 other notification)",
        "Stack gust: Events = Enabled",
        "Stack gust: WatchedBuckets = raw",
    ]
    watch_bucket.make(account, change)
    assert account.notifications == {"QueueConfigurations": [QUEUE], "EventBridgeConfiguration": {}}
    assert account.parameters == {"Events": "Enabled", "WatchedBuckets": "raw", "Fargate": "Enabled"}
    assert watch_bucket.plan(account, "raw", "gust").lines == []
    assert account.deployments == ["deploy-bundle"], "which makes the rules of an events.yaml that is there"


@pytest.mark.parametrize(("watched", "after"), [("other", "other,raw"), ("*", "*"), ("raw,other", "raw,other")])
def test_it_keeps_the_buckets_that_are_watched_already(watched: str, after: str) -> None:
    account = Account({"Events": "Enabled", "WatchedBuckets": watched}, {"EventBridgeConfiguration": {}})
    watch_bucket.make(account, watch_bucket.plan(account, "raw", "gust"))
    assert account.parameters["WatchedBuckets"] == after
    assert account.deployments == []


def test_on_this_machine_every_bucket_is_watched() -> None:
    account = Account()
    watch_bucket.make(account, watch_bucket.plan(account, "raw", "", follows_parameters=False))
    assert account.notifications == {"EventBridgeConfiguration": {}}
    assert account.parameters["WatchedBuckets"] == ""


def test_the_stacks_own_bucket_is_refused() -> None:
    with pytest.raises(watch_bucket.WatchBucketError, match="own bucket"):
        watch_bucket.plan(Account(), "the-stacks-own", "gust")


def test_a_stack_without_the_parameter_must_be_deployed_first() -> None:
    account = Account()
    del account.parameters["WatchedBuckets"]
    with pytest.raises(watch_bucket.WatchBucketError, match="deploy first"):
        watch_bucket.plan(account, "raw", "gust")


def ask_to_watch(account: Account, answer: str, *arguments: str) -> int:
    parser = ArgumentParser()
    watch_bucket.add_arguments(parser)
    options = parser.parse_args(["raw", "--stack", "gust", *arguments])
    return watch_bucket.run(options, lambda _: answer, account)


def test_it_says_what_it_will_change_and_asks(capsys: pytest.CaptureFixture[str]) -> None:
    account = Account()
    assert ask_to_watch(account, "n") == 1
    assert account.parameters["WatchedBuckets"] == ""
    assert capsys.readouterr().out.splitlines() == [
        "This will change:",
        "  Bucket raw: send all events to EventBridge ($1 per million; keeps 0 other notifications)",
        "  Stack gust: Events = Enabled",
        "  Stack gust: WatchedBuckets = raw",
        "Nothing was changed.",
    ]
    assert ask_to_watch(account, "y") == 0
    assert account.parameters["WatchedBuckets"] == "raw"
    capsys.readouterr()
    assert ask_to_watch(account, "must not be asked") == 0
    assert capsys.readouterr().out == "Bucket raw is watched already.\n"


def test_with_yes_it_does_not_ask() -> None:
    account = Account()
    assert ask_to_watch(account, "n", "--yes") == 0
    assert account.notifications == {"EventBridgeConfiguration": {}}
