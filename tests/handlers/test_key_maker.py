"""The key maker's door, as CloudFormation knocks: on SSM and Secrets Manager as moto plays them, with an HTTP server that
takes its answers."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust.aws import clients
from gust.aws.cipher import FernetCipher
from gust.aws.key_maker import KeyMaker, UnansweredError, answered
from gust.aws.key_parameter import KeyParameter
from tests.handlers.test_key_rotation import Overtaken

DOOR = Path(__file__).parents[2] / "functions/key_maker/app.py"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/gust/1a2b"
SIGNING, ENCRYPTION = "/gust/gust/keys/signing", "/gust/gust/keys/encryption"


class CloudFormation:
    """`refuses`: how often it says no before the role's rights are known."""

    def __init__(self) -> None:
        self.status = "CREATE_IN_PROGRESS"
        self.secrets: dict[str, str] = {}
        """Logical id → ARN."""
        self.refuses = 0

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - boto3's
        assert StackName == STACK
        if self.refuses:
            self.refuses -= 1
            raise refusal("AccessDenied")
        return {"Stacks": [{"StackStatus": self.status}]}

    def describe_stack_resource(self, StackName: str, LogicalResourceId: str) -> Any:  # noqa: N803
        assert StackName == STACK
        if LogicalResourceId not in self.secrets:
            raise refusal("ValidationError")
        return {
            "StackResourceDetail": {
                "ResourceType": "AWS::SecretsManager::Secret",
                "ResourceStatus": "CREATE_COMPLETE",
                "PhysicalResourceId": self.secrets[LogicalResourceId],
            }
        }


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Describe")


class Answers:
    """Where CloudFormation waits. `refuses`: how many answers it does not take."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.refuses = 0
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if answers.refuses:
                    answers.refuses -= 1
                    self.send_error(503)
                    return
                answers.content_types.append(self.headers["Content-Type"])
                answers.got.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/answer"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Stack:
    def __init__(self, door: ModuleType, answers: Answers) -> None:
        self.cloudformation = CloudFormation()
        self.answers = answers
        self.paused: list[float] = []
        self._clients = {
            "cloudformation": self.cloudformation,
            "ssm": boto3.client("ssm"),
            "secretsmanager": boto3.client("secretsmanager"),
        }
        self.maker = KeyMaker(self._clients.__getitem__, pause=self.paused.append)
        self.door = door
        door.maker = self.maker  # type: ignore[attr-defined]

    def ask(self, kind: str, *, properties: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
        """Returns what CloudFormation was answered."""
        asked = {
            "RequestType": kind,
            "RequestId": "r1",
            "StackId": STACK,
            "LogicalResourceId": "Keys",
            "ResponseURL": self.answers.url,
            "ResourceProperties": {"Signing": SIGNING, "Encryption": ENCRYPTION, "KmsKeyArn": "", **(properties or {})},
            **more,
        }
        self.door.lambda_handler(asked, None)
        return self.answers.got.pop()

    def keys(self) -> tuple[str, str]:
        signing, encryption = (KeyParameter(name, self._clients["ssm"]).read().text for name in (SIGNING, ENCRYPTION))
        return signing, encryption

    def has_keys(self) -> bool:
        return bool(self._clients["ssm"].get_parameters(Names=[SIGNING, ENCRYPTION])["Parameters"])  # type: ignore[attr-defined]

    def kms_keys(self) -> set[str]:
        found = self._clients["ssm"].describe_parameters()["Parameters"]  # type: ignore[attr-defined]
        assert {each["Type"] for each in found} == {"SecureString"}
        return {each["KeyId"] for each in found}

    def overtake(self, writer: Callable[[], None]) -> None:
        """Another writer comes before the key maker's next write."""
        overtaken = Overtaken(self._clients["ssm"], [writer])
        self.maker = KeyMaker({**self._clients, "ssm": overtaken}.__getitem__, pause=self.paused.append)
        self.door.maker = self.maker  # type: ignore[attr-defined]

    def put(self, name: str, text: str) -> None:
        KeyParameter(name, self._clients["ssm"]).replace(text)

    def has_secrets(self, signing: str, encryption: str) -> None:
        """As a stack of the former template has them."""
        client: Any = self._clients["secretsmanager"]
        for logical_id, text in (("SigningSecret", signing), ("EncryptionSecret", encryption)):
            if logical_id in self.cloudformation.secrets:
                client.put_secret_value(SecretId=self.cloudformation.secrets[logical_id], SecretString=text)
            else:
                made = client.create_secret(Name=f"{logical_id}-Ab12", SecretString=text)
                self.cloudformation.secrets[logical_id] = made["ARN"]


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    found = Answers()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> Iterator[Stack]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients.client.cache_clear()
    spec = importlib.util.spec_from_file_location("key_maker_door", DOOR)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    with mock_aws():
        yield Stack(door, answers)
    clients.client.cache_clear()


def test_a_new_stack_gets_two_keys_and_the_names_of_their_parameters(stack: Stack) -> None:
    answer = stack.ask("Create")

    assert answer == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "Keys-r1",
        "StackId": STACK,
        "RequestId": "r1",
        "LogicalResourceId": "Keys",
        "Data": {"Signing": SIGNING, "Encryption": ENCRYPTION},
    }
    assert stack.answers.content_types[-1] == "", "S3 signed the address for a request without one"
    signing, encryption = stack.keys()
    assert signing != encryption
    assert min(len(signing), len(encryption)) >= 64
    assert stack.kms_keys() == {"alias/aws/ssm"}


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_key_that_is_there_is_never_replaced(stack: Stack, kind: str) -> None:
    stack.ask("Create")
    keys = stack.keys()

    assert stack.ask(kind, PhysicalResourceId="Keys-r1")["PhysicalResourceId"] == "Keys-r1"

    assert stack.keys() == keys


def test_an_update_carries_the_secrets_of_a_former_template_over(stack: Stack) -> None:
    stack.has_secrets("2~b,a", "NEW,OLD")
    stored = FernetCipher(lambda: "OLD").encrypt("hunter2")
    stack.cloudformation.status = "UPDATE_IN_PROGRESS"

    assert stack.ask("Create")["Status"] == "SUCCESS"
    assert stack.ask("Create")["Status"] == "SUCCESS", "delivered twice"

    assert stack.keys() == ("2~b,a", "NEW,OLD")
    assert FernetCipher(lambda: stack.keys()[1]).decrypt(stored) == "hunter2"


def test_an_update_that_was_rolled_back_leaves_the_keys_and_the_next_one_takes_what_the_secrets_hold_by_then(
    stack: Stack,
) -> None:
    stack.has_secrets("a", "OLD")
    stack.cloudformation.status = "UPDATE_IN_PROGRESS"
    stack.ask("Create")
    stack.cloudformation.status = "UPDATE_ROLLBACK_IN_PROGRESS"
    assert stack.ask("Delete", PhysicalResourceId="Keys-r1")["Status"] == "SUCCESS"
    assert stack.keys() == ("a", "OLD")
    stack.has_secrets("withdrawn a", "NEW")
    stack.cloudformation.status = "UPDATE_IN_PROGRESS"

    stack.ask("Create")

    # A withdrawn signing key does not come back; a value may need any encryption key.
    assert stack.keys() == ("withdrawn a", "NEW,OLD")


def test_once_the_update_is_over_the_secrets_count_no_more(stack: Stack) -> None:
    """A request that Lambda delivers late must not bring back what a rotation has replaced."""
    stack.has_secrets("a", "OLD")
    stack.cloudformation.status = "UPDATE_IN_PROGRESS"
    stack.ask("Create")
    stack.put(SIGNING, "3~c,a")
    stack.cloudformation.status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"

    stack.ask("Create")

    assert stack.keys() == ("3~c,a", "OLD")


@pytest.mark.parametrize("status", ["DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_the_keys_go_with_the_stack(stack: Stack, status: str) -> None:
    stack.ask("Create")
    stack.cloudformation.status = status

    assert stack.ask("Delete", PhysicalResourceId="Keys-r1")["Status"] == "SUCCESS"
    assert stack.ask("Delete", PhysicalResourceId="Keys-r1")["Status"] == "SUCCESS"

    assert not stack.has_keys()


@pytest.mark.parametrize("status", ["UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "DELETE_COMPLETE", "CREATE_COMPLETE"])
def test_they_stay_where_the_template_drops_them_or_a_deletion_comes_again_after_the_stack(
    stack: Stack, status: str
) -> None:
    stack.ask("Create")
    stack.cloudformation.status = status

    assert stack.ask("Delete", PhysicalResourceId="Keys-r1")["Status"] == "SUCCESS"

    assert stack.has_keys()


def test_another_key_of_kms_encrypts_the_same_text(stack: Stack) -> None:
    stack.ask("Create")
    keys = stack.keys()
    mine = {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/mine"}

    stack.ask("Update", PhysicalResourceId="Keys-r1", properties=mine, OldResourceProperties={"KmsKeyArn": ""})
    assert (stack.keys(), stack.kms_keys()) == (keys, {mine["KmsKeyArn"]})

    stack.ask("Update", PhysicalResourceId="Keys-r1", OldResourceProperties=mine)
    assert (stack.keys(), stack.kms_keys()) == (keys, {"alias/aws/ssm"})


def test_keys_that_are_replaced_by_hand_while_the_key_of_kms_changes_stay_and_get_the_new_one(stack: Stack) -> None:
    stack.ask("Create")
    mine = {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/mine"}
    signs_all_out = partial(stack.put, SIGNING, "by hand")
    stack.overtake(signs_all_out)

    stack.ask("Update", PhysicalResourceId="Keys-r1", properties=mine, OldResourceProperties={"KmsKeyArn": ""})

    assert (stack.keys()[0], stack.kms_keys()) == ("by hand", {mine["KmsKeyArn"]})


def test_keys_that_an_earlier_update_left_get_the_key_of_kms_that_the_operator_chose_since(stack: Stack) -> None:
    stack.cloudformation.status = "UPDATE_IN_PROGRESS"
    stack.ask("Create")
    keys = stack.keys()
    stack.cloudformation.status = "UPDATE_ROLLBACK_IN_PROGRESS"
    stack.ask("Delete", PhysicalResourceId="Keys-r1")
    mine = {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/mine"}
    stack.cloudformation.status = "UPDATE_IN_PROGRESS"

    stack.ask("Create", properties=mine)

    assert (stack.keys(), stack.kms_keys()) == (keys, {mine["KmsKeyArn"]})
    stack.cloudformation.status = "UPDATE_COMPLETE"
    stack.ask("Create")
    assert stack.kms_keys() == {mine["KmsKeyArn"]}, "delivered late"


def test_rights_that_take_a_moment_are_waited_for(stack: Stack) -> None:
    stack.cloudformation.refuses = 3

    assert stack.ask("Create")["Status"] == "SUCCESS"

    assert len(stack.paused) == 3


def test_a_failure_is_an_answer_with_its_reason(stack: Stack) -> None:
    stack.cloudformation.refuses = 99

    answer = stack.ask("Create")

    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", "Keys-r1")
    assert "AccessDenied" in answer["Reason"]
    assert not stack.has_keys()


def test_a_deletion_after_a_failed_creation_succeeds_whatever_aws_says(stack: Stack) -> None:
    stack.cloudformation.refuses = 99

    assert stack.ask("Delete", PhysicalResourceId="Keys-r1")["Status"] == "SUCCESS"


def test_a_request_that_cannot_be_understood_is_answered(stack: Stack) -> None:
    assert stack.ask("Create", ResourceProperties={})["Status"] == "FAILED"


def test_an_answer_that_is_not_taken_is_given_again_and_then_lambda_calls_again(stack: Stack) -> None:
    paused: list[float] = []
    asked = {
        "RequestType": "Create",
        "RequestId": "r1",
        "StackId": STACK,
        "LogicalResourceId": "Keys",
        "ResponseURL": stack.answers.url,
    }
    stack.answers.refuses = 2
    assert answered(asked, lambda _: {}, pause=paused.append) == "SUCCESS"
    assert stack.answers.got.pop()["Status"] == "SUCCESS"
    stack.answers.refuses = 99
    with pytest.raises(UnansweredError):
        answered(asked, lambda _: {}, pause=paused.append)
    stack.answers.refuses = 0


def test_only_cloudformation_is_answered(stack: Stack) -> None:
    with pytest.raises(ValueError, match="Only CloudFormation"):
        stack.door.lambda_handler({"RequestType": "Delete"}, None)
