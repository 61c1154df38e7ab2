"""The border refuses what AWS would refuse, and lets everything else pass as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from tests.aws_like import calls, template_rights
from tests.aws_like.border import Border, Record
from tests.aws_like.rights import ACCOUNT, CONDITION_KEYS, REGION, Role
from tests.aws_like.throttles import Busy

TABLE: Final = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/state"
QUEUE: Final = f"arn:aws:sqs:{REGION}:{ACCOUNT}:tasks"
GROUP: Final = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:tasks:*"

ROLE: Final = Role(
    "gust-WorkerRole-1",
    (
        (
            "worker",
            json.dumps(
                {
                    "Statement": [
                        {"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PutItem"], "Resource": TABLE},
                        {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": f"{TABLE}/index/due"},
                        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::files/bundles/*"},
                        {
                            "Effect": "Allow",
                            "Action": "s3:PutObject",
                            "Resource": "arn:aws:s3:::files/specs/*",
                            "Condition": {"Null": {"s3:if-none-match": "false"}},
                        },
                        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": QUEUE},
                        {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": GROUP},
                        {
                            "Effect": "Allow",
                            "Action": "secretsmanager:GetSecretValue",
                            "Resource": "gust-SigningSecret-1",
                        },
                        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"},
                        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"},
                        {"Effect": "Deny", "Action": "lambda:InvokeFunction", "Resource": "*:function:other"},
                        {
                            "Effect": "Allow",
                            "Action": "events:PutTargets",
                            "Resource": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/bus/gust-*",
                            "Condition": {"ForAllValues:ArnEquals": {"events:TargetArn": QUEUE}},
                        },
                        {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"},
                        {
                            "Effect": "Deny",
                            "Action": "ssm:GetParameter",
                            "Resource": "*",
                            "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": "arn:aws:lambda:*:gust-worker"}},
                        },
                    ]
                }
            ),
        ),
    ),
)
ITEM: Final = {"pk": {"S": "a"}, "sk": {"S": "b"}}


class Asked:
    """An AWS behind the border that answers every request with one answer, and remembers what it was asked."""

    def __init__(
        self, folder: Path, *, caller: str = "gust app/gust-worker", status: int = 200, busy: Busy | None = None
    ) -> None:
        self.file = folder / calls.FILE
        self.reached = 0
        self._status = status
        self._caller = caller
        roles = {"gust-worker": ROLE}.get
        self._border = Border(self._answer, Record(self.file), roles, busy=busy)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        assert (await receive())["type"] == "http.request"
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def call(self, service: str, operation: str, **arguments: Any) -> tuple[int, str]:
        """Status and body for a call as botocore sends it."""
        return self.send(signed(service, operation, self._caller, **arguments))

    def send(self, request: AWSRequest, path: str | None = None) -> tuple[int, str]:
        import asyncio

        url = request.url.partition("//")[2].partition("/")[2]
        route, _, query = url.partition("?")
        body = request.data.read() if hasattr(request.data, "read") else _bytes(request.data or b"")
        headers = [(name.lower().encode(), _bytes(value)) for name, value in request.headers.items()]
        scope = {
            "type": "http",
            "method": request.method,
            "path": path or f"/{route}",
            "query_string": query.encode(),
            "headers": headers,
        }
        answered: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            answered.append(message)

        asyncio.run(self._border(scope, receive, send))
        return answered[0]["status"], b"".join(each.get("body", b"") for each in answered[1:]).decode()

    @property
    def record(self) -> list[dict[str, Any]]:
        return list(calls.read(self.file)) if self.file.exists() else []


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def signed(service: str, operation: str, caller: str, **arguments: Any) -> AWSRequest:
    sent: list[AWSRequest] = []
    client = boto3.client(
        service,  # type: ignore[call-overload]
        region_name=REGION,
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="local",
        config=Config(user_agent=caller, s3={"addressing_style": "path"}, parameter_validation=False),
    )

    def stop(request: AWSRequest, **_: Any) -> Any:
        sent.append(request)
        raise StopIteration

    client.meta.events.register("before-send", stop)
    with pytest.raises(StopIteration):
        getattr(client, operation)(**arguments)
    (request,) = sent
    return AWSRequest(request.method, request.url, dict(request.headers), request.body)


@pytest.fixture
def aws(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_an_allowed_call_passes_and_is_recorded_with_its_grant(aws: Asked) -> None:
    assert aws.call("dynamodb", "get_item", TableName="state", Key=ITEM)[0] == 200

    assert aws.record == [
        {"role": "WorkerRole", "grant": "worker 0 dynamodb:GetItem 0", "action": "dynamodb:GetItem", "on": ""}
    ]


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("dynamodb", "delete_item", {"TableName": "state", "Key": ITEM}),
        ("dynamodb", "get_item", {"TableName": "other", "Key": ITEM}),
        ("dynamodb", "query", {"TableName": "state", "KeyConditionExpression": "pk = pk"}),
        ("s3", "get_object", {"Bucket": "files", "Key": "xcom/1"}),
        ("s3", "list_objects_v2", {"Bucket": "files"}),
        ("s3", "put_object", {"Bucket": "files", "Key": "specs/1", "Body": b""}),
        ("s3", "delete_objects", {"Bucket": "files", "Delete": {"Objects": [{"Key": "bundles/1"}]}}),
        ("sqs", "send_message", {"QueueUrl": f"http://q/{ACCOUNT}/other", "MessageBody": "x"}),
        ("sqs", "receive_message", {"QueueUrl": f"http://q/{ACCOUNT}/tasks"}),
        ("lambda", "invoke", {"FunctionName": "other", "Payload": b"{}"}),
        ("secretsmanager", "get_secret_value", {"SecretId": "gust-EncryptionSecret-1"}),
        ("ssm", "get_parameter", {"Name": "/any"}),
        ("events", "put_targets", {"EventBusName": "bus", "Rule": "other", "Targets": [{"Id": "1", "Arn": QUEUE}]}),
        ("events", "put_targets", {"EventBusName": "bus", "Rule": "gust-1", "Targets": [{"Id": "1", "Arn": TABLE}]}),
        ("states", "start_execution", {"stateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:any"}),
    ],
)
def test_what_the_role_does_not_allow_is_refused_and_recorded(
    aws: Asked, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    status, body = aws.call("stepfunctions" if service == "states" else service, operation, **arguments)

    assert status == 403
    assert "AccessDenied" in body
    assert "no identity-based policy allows" in body
    assert aws.reached == 0
    (line,) = aws.record
    assert line["refused"] == "AccessDenied"


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("dynamodb", "query", {"TableName": "state", "IndexName": "due", "KeyConditionExpression": "pk = pk"}),
        ("s3", "get_object", {"Bucket": "files", "Key": "bundles/1"}),
        ("s3", "put_object", {"Bucket": "files", "Key": "specs/1", "Body": b"", "IfNoneMatch": "*"}),
        (
            "sqs",
            "send_message_batch",
            {"QueueUrl": f"http://q/{ACCOUNT}/tasks", "Entries": [{"Id": "1", "MessageBody": "x"}]},
        ),
        (
            "secretsmanager",
            "get_secret_value",
            {"SecretId": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gust-SigningSecret-1-abcdef"},
        ),
        ("lambda", "invoke", {"FunctionName": "any", "Payload": b"{}"}),
        ("events", "put_targets", {"EventBusName": "bus", "Rule": "gust-1", "Targets": [{"Id": "1", "Arn": QUEUE}]}),
        (
            "logs",
            "put_log_events",
            {"logGroupName": "tasks", "logStreamName": "1", "logEvents": [{"timestamp": 1, "message": "x"}]},
        ),
    ],
)
def test_indexes_conditions_batches_streams_and_secrets_are_resources_as_aws_names_them(
    aws: Asked, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    assert aws.call(service, operation, **arguments)[0] == 200


def test_a_transaction_needs_the_rights_of_each_of_its_items(aws: Asked) -> None:
    put = {"Put": {"TableName": "state", "Item": ITEM}}
    check = {"ConditionCheck": {"TableName": "state", "Key": ITEM, "ConditionExpression": "pk = pk"}}

    assert aws.call("dynamodb", "transact_write_items", TransactItems=[put])[0] == 200
    status, body = aws.call("dynamodb", "transact_write_items", TransactItems=[put, check])

    assert status == 403
    assert "dynamodb:ConditionCheckItem" in body


def test_a_session_with_tags_needs_the_right_to_tag(aws: Asked) -> None:
    asked = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/task", "RoleSessionName": "a"}

    assert aws.call("sts", "assume_role", **asked)[0] == 200
    status, body = aws.call("sts", "assume_role", **asked, Tags=[{"Key": "dag", "Value": "etl"}])

    assert status == 403
    assert "sts:TagSession" in body


def test_a_missing_object_is_forbidden_to_a_role_that_may_not_list_the_bucket(tmp_path: Path) -> None:
    aws = Asked(tmp_path, status=404)

    status, body = aws.call("s3", "get_object", Bucket="files", Key="bundles/none")

    assert (status, "AccessDenied" in body) == (403, True)
    assert not [line for line in aws.record if "refused" in line]  # the function must cope with it


@pytest.mark.parametrize("caller", ["Boto3/1.0", "gust"])
def test_calls_of_tests_and_tasks_are_not_judged(tmp_path: Path, caller: str) -> None:
    aws = Asked(tmp_path, caller=caller)

    assert aws.call("dynamodb", "delete_item", TableName="other", Key=ITEM)[0] == 200
    assert aws.record == []


def test_a_function_without_a_role_may_do_nothing(tmp_path: Path) -> None:
    aws = Asked(tmp_path, caller="gust app/gust-unknown")

    assert aws.call("dynamodb", "get_item", TableName="state", Key=ITEM)[0] == 403


def log_events(*events: tuple[int, str]) -> dict[str, Any]:
    lines = [{"timestamp": timestamp, "message": message} for timestamp, message in events]
    return {"logGroupName": "tasks", "logStreamName": "1", "logEvents": lines}


DAY: Final = 24 * 3600 * 1000


@pytest.mark.parametrize(
    "given",
    [
        log_events(*[(1, "x")] * 10_001),
        log_events((2, "x"), (1, "x")),
        log_events((1, "x"), (2 + DAY, "x")),
        log_events((1, "x" * 600_000), (1, "x" * 500_000)),
        log_events((1, "")),
    ],
    ids=["10,001 events", "out of order", "over a day", "over 1 MiB", "an empty one"],
)
def test_a_batch_of_log_events_has_limits(aws: Asked, given: dict[str, Any]) -> None:
    status, body = aws.call("logs", "put_log_events", **given)

    assert (status, json.loads(body)["__type"]) == (400, "InvalidParameterException")


def test_an_invocation_takes_six_megabytes_and_one_if_it_is_asynchronous(aws: Asked) -> None:
    two, seven = b'"' + b"x" * 2_000_000 + b'"', b'"' + b"x" * 7_000_000 + b'"'

    assert aws.call("lambda", "invoke", FunctionName="any", Payload=two)[0] == 200
    assert aws.call("lambda", "invoke", FunctionName="any", Payload=seven)[0] == 413
    assert aws.call("lambda", "invoke", FunctionName="any", Payload=two, InvocationType="Event")[0] == 413


@pytest.mark.parametrize(
    ("header", "body", "status"), [("x" * 9_000, b"", 200), ("x" * 11_000, b"", 431), ("", b"x" * 11_000_000, 413)]
)
def test_the_http_api_has_limits_of_its_own(aws: Asked, header: str, body: bytes, status: int) -> None:
    request = AWSRequest("POST", "http://x/api/v2/dags", {"cookie": header}, body)

    assert aws.send(request, "/_aws/execute-api/abc/$default/api/v2/dags")[0] == status


def test_a_stack_with_a_refused_call_fails_its_test(aws: Asked, tmp_path: Path) -> None:
    aws.call("sqs", "receive_message", QueueUrl=f"http://q/{ACCOUNT}/tasks")

    with pytest.raises(AssertionError, match="sqs:ReceiveMessage"):
        calls.look_at(tmp_path)
    calls.look_at(tmp_path)


def test_the_judge_knows_every_condition_of_the_template() -> None:
    used = {
        key.lower()
        for _, _, statements in template_rights.policies(template_rights.resources())
        for statement in map(template_rights.with_parameters, statements)
        for keys in statement.get("Condition", {}).values()
        for key in keys
    }
    # Calls of KMS by SSM, Secrets Manager, S3 and SQS.
    by_other_services = {
        "kms:viaservice",
        "kms:encryptioncontext:parameter_arn",
        "kms:encryptioncontext:secretarn",
        "kms:encryptioncontext:aws:s3:arn",
        "kms:encryptioncontext:aws:sqs:arn",
    }
    # Asked in the update of a stack of an earlier template, which no stack behind the border is.
    in_updates = {"aws:resourcetag/aws:cloudformation:stack-id"}
    assert used <= CONDITION_KEYS | by_other_services | in_updates
