"""Quotas are counted as AWS counts them, and a busy AWS answers so that its own SDK tries again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws_like.border import _refused
from tests.aws_like.requests import Request
from tests.aws_like.test_border import Asked
from tests.aws_like.throttles import THROTTLED, Busy, Quotas, throttled


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def request(service: str, operation: str, **body: Any) -> Request:
    return Request(service, "POST", "/", {}, {"x-amz-target": f"X.{operation}"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("service", "operation", "a_second"),
    [("ssm", "GetParameter", 40), ("logs", "GetLogEvents", 25), ("events", "PutRule", 50), ("ecs", "RunTask", 20)],
)
def test_so_many_a_second_pass(service: str, operation: str, a_second: int) -> None:
    clock = Clock()
    quotas = Quotas(clock)
    asked = request(service, operation)

    passed = [quotas.refusal(asked) is None for _ in range(2 * a_second)]
    clock.now += 1
    later = [quotas.refusal(asked) is None for _ in range(2 * a_second)]

    assert (sum(passed), sum(later)) == (a_second, a_second)


def test_one_partition_takes_a_thousand_writes_a_second_and_each_other_as_many() -> None:
    quotas = Quotas(Clock())

    def put(partition: str, size: int) -> bool:
        item = {"pk": {"S": partition}, "sk": {"S": "x"}, "text": {"S": "x" * size}}
        return quotas.refusal(request("dynamodb", "PutItem", TableName="t", Item=item)) is None

    assert sum(put("RUN#a", 100) for _ in range(1500)) == 1000
    assert put("RUN#b", 100)
    assert sum(put("RUN#c", 9_000) for _ in range(200)) == 112  # 9 units each; the last one overdraws


def test_transactions_cost_twice_and_reads_what_they_find() -> None:
    quotas = Quotas(Clock())
    write = {"Update": {"TableName": "t", "Key": {"pk": {"S": "RUN#a"}, "sk": {"S": "x"}}}}
    sent = request("dynamodb", "TransactWriteItems", TransactItems=[write])
    assert sum(quotas.refusal(sent) is None for _ in range(900)) == 500
    query = request("dynamodb", "Query", ConsistentRead=True, ExpressionAttributeValues={":pk": {"S": "RUN#a"}})
    asked = 0
    while quotas.refusal(query) is None:
        quotas.answered(query, 1_000_000)  # 244 units
        asked += 1
    assert asked == 13  # 3,000 units; the last one overdraws


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"pk": {"S": "a"}}}),
        ("sqs", "send_message", {"QueueUrl": "http://aws.test/1/q", "MessageBody": "x"}),
        ("sts", "assume_role", {"RoleArn": "arn:aws:iam::123456789012:role/some-role", "RoleSessionName": "one"}),
        ("lambda", "invoke", {"FunctionName": "f"}),
        ("s3", "get_object", {"Bucket": "b-1", "Key": "k"}),
        ("ssm", "get_parameter", {"Name": "n"}),
        ("secretsmanager", "get_secret_value", {"SecretId": "s"}),
        ("logs", "put_log_events", {"logGroupName": "g", "logStreamName": "s", "logEvents": []}),
        ("stepfunctions", "start_execution", {"stateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:m"}),
        ("events", "put_events", {"Entries": [{"Source": "s"}]}),
    ],
)
def test_the_sdk_takes_each_answer_for_throttling_and_tries_again(
    service: str, operation: str, arguments: dict[str, Any]
) -> None:
    for code in THROTTLED.get(service, ("ThrottlingException",)):
        tries = []

        def answer(request: Any, code: str = code, tries: list[Any] = tries, **_: Any) -> AWSResponse:
            tries.append(request)
            asked = Request(service, "GET", "/", {}, {}, b"")
            status, headers, body = _refused(asked, throttled(service, code))
            return AWSResponse(request.url, status, headers, _Raw(body))

        config = Config(retries={"mode": "standard", "total_max_attempts": 2}, parameter_validation=False)
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        client = boto3.client(service, endpoint_url="http://aws.test", config=config, **keys)  # type: ignore[call-overload]
        client.meta.events.register(f"before-send.{service}", answer)

        with pytest.raises(ClientError) as refused:
            getattr(client, operation)(**arguments)

        assert refused.value.response["Error"]["Code"] == code
        assert len(tries) == 2


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body

    def read(self, *_: Any) -> bytes:
        return self._body


def test_the_same_seed_is_the_same_weather() -> None:
    asked = request("dynamodb", "PutItem", TableName="t", Item={"pk": {"S": "a"}})
    first, second, other = Busy(1, 0.3), Busy(1, 0.3), Busy(2, 0.3)
    of_first = [first.refusal(asked) for _ in range(1000)]

    assert of_first == [second.refusal(asked) for _ in range(1000)]
    assert of_first != [other.refusal(asked) for _ in range(1000)]
    assert 200 < sum(each is not None for each in of_first) < 400
    assert {each.code for each in of_first if each} == set(THROTTLED["dynamodb"])


def test_a_part_of_a_batch_is_kept_back_and_named() -> None:
    entries = [{"Id": str(number), "MessageBody": "x"} for number in range(4)]
    body, more = Busy(1, 1.0).kept_back(request("sqs", "SendMessageBatch", Entries=entries)) or (b"{}", {})

    assert [each["Id"] for each in json.loads(body)["Entries"]] == ["0", "1"]
    assert [each["Id"] for each in more["Failed"]] == ["2", "3"]
    assert Busy(1, 1.0).kept_back(request("sqs", "SendMessageBatch", Entries=entries[:1])) is None


def test_a_kept_back_part_is_in_the_answer(tmp_path: Path) -> None:
    class KeepsBack(Busy):
        def refusal(self, request: Request) -> None:  # never as a whole
            return None

    aws = Asked(tmp_path, busy=KeepsBack(1, 1.0))
    entries = [{"Id": str(number), "MessageBody": "x"} for number in range(2)]

    status, body = aws.call("sqs", "send_message_batch", QueueUrl="http://aws/000000000000/tasks", Entries=entries)

    assert (status, aws.reached) == (200, 1)
    assert [each["Id"] for each in json.loads(body)["Failed"]] == ["1"]


def test_a_transaction_is_cancelled_for_one_throttled_item() -> None:
    items = [{"Put": {"TableName": "t", "Item": {"pk": {"S": str(number)}}}} for number in range(3)]
    busy, asked = Busy(1, 1.0), request("dynamodb", "TransactWriteItems", TransactItems=items)
    answers = [json.loads(_refused(asked, refusal)[2]) for _ in range(50) if (refusal := busy.refusal(asked))]

    cancelled = [each for each in answers if each["__type"] == "TransactionCanceledException"]
    assert 10 < len(cancelled) < 40
    for each in cancelled:
        assert sorted(reason["Code"] for reason in each["CancellationReasons"]) == ["None", "None", "ThrottlingError"]
