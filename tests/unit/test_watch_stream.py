"""`./gust watch-stream` says what it will change, changes that alone, and takes all of it back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest

from gust.cli import watch_stream
from gust.cli.aws import AwsError
from gust.cli.event_sources import WatchError
from tests.unit.test_watch_queue import FUNCTIONS, KEY, Account, Missing

ARN = "arn:aws:kinesis:eu-west-1:111122223333:stream/clicks"


class StreamAccount(Account):
    refusal = (
        f"Cannot access stream {ARN}. Please ensure the role can perform the GetRecords, GetShardIterator, "
        "DescribeStream, ListShards, and ListStreams Actions on your stream in IAM."
    )

    def __init__(self, *, key: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.stream_key = {} if key is None else {"KeyId": key}

    def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        if StreamName == "missing":
            raise Missing
        return {"StreamDescriptionSummary": {"StreamARN": ARN, **self.stream_key}}


def ask_to_watch(account: Account, answer: str, *arguments: str) -> int:
    parser = ArgumentParser()
    watch_stream.add_arguments(parser)
    return watch_stream.run(parser.parse_args(["clicks", *arguments]), lambda _: answer, account)


def test_it_says_what_it_will_change_and_asks(capsys: pytest.CaptureFixture[str]) -> None:
    account = StreamAccount()
    assert ask_to_watch(account, "n") == 1
    assert account.calls == []
    assert capsys.readouterr().out.splitlines() == [
        "This will change:",
        "  Role EventsRole: inline policy watch-stream-clicks, to read this stream and list streams",
        "  Function gust-events: gets the records of clicks, from the oldest on; those that a watcher has seen, or that "
        "came before it, make no events",
        "  Watchers of clicks with the default connection: no longer poll",
        "Nothing was changed.",
    ]


def test_it_gives_the_right_before_the_mapping_and_takes_all_back_after_it() -> None:
    account = StreamAccount(key="alias/clicks")
    assert ask_to_watch(account, "y") == 0
    assert account.calls == ["policy", "mapping", "watch_stream"]
    read, list_, decrypt = account.policies["watch-stream-clicks"]["Statement"]
    assert (read["Action"], read["Resource"]) == (watch_stream.READ, ARN)
    assert (list_["Action"], list_["Resource"]) == ("kinesis:ListStreams", "*")
    assert decrypt == {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": KEY}
    (mapping,) = account.mappings
    assert (mapping["EventSourceArn"], mapping["StartingPosition"]) == (ARN, "TRIM_HORIZON")
    assert mapping["BisectBatchOnFunctionError"]
    account.calls.clear()
    ask_to_watch(account, "", "--yes")
    assert account.calls == ["policy", "watch_stream"]
    account.calls.clear()
    assert ask_to_watch(account, "y", "--remove") == 0
    assert account.calls == ["no mapping", "unwatch_stream", "no policy"]
    account.calls.clear()
    assert ask_to_watch(account, "y", "--remove") == 0
    assert account.calls == ["unwatch_stream"]


def test_what_was_given_for_a_stream_that_is_gone_can_be_taken_back() -> None:
    account = StreamAccount()
    account.policies["watch-stream-missing"] = {}
    watch_stream.make(account, watch_stream.plan(account, "missing", "gust", remove=True))
    assert account.told == [{"unwatch_stream": "arn:aws:kinesis:eu-west-1:111122223333:stream/missing"}]
    assert account.policies == {}
    with pytest.raises(WatchError, match="no stream missing"):
        watch_stream.plan(account, "missing", "gust", remove=True)


def test_it_waits_until_lambda_knows_of_the_right() -> None:
    account, pauses = StreamAccount(refusals=3), list[float]()
    watch_stream.make(account, watch_stream.plan(account, "clicks", "gust"), pause=pauses.append)
    assert (len(account.mappings), pauses) == (1, [5, 5, 5])


def test_a_mapping_that_a_person_disabled_is_enabled() -> None:
    account = StreamAccount()
    account.mappings.append({"UUID": "u", "FunctionArn": f"{FUNCTIONS}:gust-events", "State": "Disabled"})
    assert any("its disabled mapping" in line for line in watch_stream.plan(account, "clicks", "gust").lines)
    ask_to_watch(account, "", "--yes")
    assert account.calls == ["policy", "enabled", "watch_stream"]
    account.mappings[0]["State"] = "Disabled"
    account.calls.clear()
    ask_to_watch(account, "", "--yes", "--remove")
    assert account.calls == ["no mapping", "unwatch_stream", "no policy"]


def test_other_functions_may_read_the_stream_too() -> None:
    account = StreamAccount()
    account.mappings.append({"UUID": "theirs", "FunctionArn": f"{FUNCTIONS}:theirs"})
    assert watch_stream.plan(account, "clicks", "gust").mapping is None


@pytest.mark.parametrize(
    ("account", "stream", "reason"),
    [
        (StreamAccount(has_events=False), "clicks", "Events=Enabled first"),
        (StreamAccount(is_old=True), "clicks", "deploy first"),
        (StreamAccount(), "missing", "no stream missing"),
    ],
)
def test_it_refuses_what_cannot_be_watched(account: Account, stream: str, reason: str) -> None:
    with pytest.raises(WatchError, match=reason):
        watch_stream.plan(account, stream, "gust")


def test_a_stack_that_is_not_there_is_named_with_its_region() -> None:
    with pytest.raises(
        AwsError, match="there is no stack gsut in eu-west-1; --stack and --region say which one you mean"
    ):
        watch_stream.plan(StreamAccount(has_events=False), "clicks", "gsut")
