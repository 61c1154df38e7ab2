"""The key rotation's door, on Secrets Manager as moto plays it, which asks for nothing by itself: the steps are taken here
as AWS takes them, once, twice, and after a death in between."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust import bootstrap
from gust.aws.key_rotation import KeyRotation
from gust.aws.signing_keys import ASK_AGAIN_AFTER, SIGNS_AFTER, parse
from gust.aws.tokens import JwtTokens
from gust.errors import Forbidden, StaleSigningKeys
from gust.model.access import Role
from gust.model.user import User

EVENT = json.loads((Path(__file__).parent / "events/key_rotation.json").read_text())
DOOR = Path(__file__).parents[2] / "functions/key_rotation/app.py"
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]
GENERATED = "what CloudFormation made up of sixty-four characters or so"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
USER = User("ada", Role.OP)


class Stack:
    """A secret with its schedule, and the door that Secrets Manager would knock at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = boto3.client("secretsmanager")
        self.secret = self.client.create_secret(Name="SigningSecret-gust", SecretString=GENERATED)["ARN"]
        role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = {"ZipFile": b"PK\x05\x06" + bytes(18)}
        function = boto3.client("lambda").create_function(
            FunctionName="key-rotation", Runtime="python3.12", Role=role, Handler="app.lambda_handler", Code=code
        )
        self.function = function["FunctionArn"]
        monkeypatch.setenv("GUST_SIGNING_SECRET", self.secret)
        self.door = _door()

    def begin(self) -> str:
        """What the schedule does: an empty version, labelled AWSPENDING. Returns the rotation's token."""
        token = str(uuid4())
        self.client.rotate_secret(
            SecretId=self.secret, ClientRequestToken=token, RotationLambdaARN=self.function, RotateImmediately=True
        )
        assert self.stages(token) == ["AWSPENDING"]
        return token

    def take(self, token: str, *steps: str) -> None:
        for step in steps:
            event = {**EVENT, "SecretId": self.secret, "ClientRequestToken": token, "Step": step}
            assert self.door.lambda_handler(event, None) is None

    def replace_by_hand(self, keys: str) -> None:
        """`put-secret-value`, in two calls: after a rotation has begun, moto takes AWSCURRENT from the wrong version."""
        current = self.client.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")["VersionId"]
        made = self.client.put_secret_value(SecretId=self.secret, SecretString=keys, VersionStages=["BY_HAND"])
        self.client.update_secret_version_stage(
            SecretId=self.secret,
            VersionStage="AWSCURRENT",
            MoveToVersionId=made["VersionId"],
            RemoveFromVersionId=current,
        )

    def stages(self, token: str) -> list[str]:
        return list(self.client.describe_secret(SecretId=self.secret)["VersionIdsToStages"].get(token, []))

    def keys(self) -> str:
        return str(self.client.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")["SecretString"])

    def pending(self) -> list[str]:
        versions = self.client.describe_secret(SecretId=self.secret)["VersionIdsToStages"]
        return [v for v, stages in versions.items() if "AWSPENDING" in stages and "AWSCURRENT" not in stages]


def _door() -> ModuleType:
    spec = importlib.util.spec_from_file_location("key_rotation_door", DOOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bootstrap.client.cache_clear()
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield Stack(monkeypatch)
    bootstrap.client.cache_clear()


def test_a_rotation_puts_a_new_key_before_the_others_and_logs_nobody_out(stack: Stack) -> None:
    before = JwtTokens(stack.keys).for_user(USER, now=NOW, lifetime=HOUR)
    token = stack.begin()
    for step in STEPS[:-1]:
        stack.take(token, step)
        assert stack.keys() == GENERATED, "nothing changes before the last step"
    stack.take(token, "finishSecret")
    (made, _), old = parse(stack.keys())
    assert made is not None
    assert old == (None, GENERATED)
    assert JwtTokens(stack.keys).user_of(before, now=NOW) == USER
    later = datetime.fromtimestamp(made, UTC) + SIGNS_AFTER
    after = JwtTokens(stack.keys).for_user(USER, now=later, lifetime=HOUR)
    assert JwtTokens(stack.keys).user_of(after, now=later) == USER
    with pytest.raises(Forbidden):  # the new key signs by now
        JwtTokens(lambda: GENERATED).user_of(after, now=later)


@pytest.mark.parametrize("died_after", range(len(STEPS) + 1))
def test_after_a_death_all_steps_come_again_and_make_one_key(stack: Stack, died_after: int) -> None:
    token = stack.begin()
    stack.take(token, *STEPS[:died_after])
    stack.take(token, *STEPS)
    assert len(parse(stack.keys())) == 2
    assert "AWSCURRENT" in stack.stages(token)


def test_each_step_may_come_twice(stack: Stack) -> None:
    token = stack.begin()
    for step in STEPS:
        stack.take(token, step, step)
    keys = stack.keys()
    stack.take(token, *STEPS)
    assert stack.keys() == keys


def test_the_same_step_twice_at_a_time_makes_one_version(stack: Stack) -> None:
    token = stack.begin()
    behind = Overtaken(stack.client, "get_secret_value", lambda: stack.take(token, "createSecret"))
    KeyRotation(stack.secret, behind).step("createSecret", token, datetime.now(UTC))
    made = stack.client.get_secret_value(SecretId=stack.secret, VersionId=token)["SecretString"]
    stack.take(token, *STEPS)
    assert stack.keys() == made


@pytest.mark.parametrize("noticed_by", ["testSecret", "finishSecret"])
def test_keys_that_were_replaced_by_hand_do_not_come_back(stack: Stack, noticed_by: str) -> None:
    """Somebody logs everybody out while a rotation is under way."""
    token = stack.begin()
    stack.take(token, *STEPS[: STEPS.index(noticed_by)])
    stack.replace_by_hand("a new one that somebody put by hand")
    with pytest.raises(StaleSigningKeys):
        stack.take(token, noticed_by)
    assert stack.keys() == "a new one that somebody put by hand"
    assert not stack.pending(), "Secrets Manager would begin no other rotation"
    with pytest.raises(StaleSigningKeys):
        stack.take(token, "createSecret")
    following = stack.begin()
    stack.take(following, *STEPS)
    assert [key for _, key in parse(stack.keys())][1:] == ["a new one that somebody put by hand"]


def test_nor_where_they_are_replaced_in_the_very_last_moment(stack: Stack) -> None:
    token = stack.begin()
    stack.take(token, *STEPS[:-1])
    by_hand = lambda: stack.replace_by_hand("another one that somebody put by hand")
    late = Overtaken(stack.client, "update_secret_version_stage", by_hand, before=True)
    with pytest.raises(ClientError):
        KeyRotation(stack.secret, late).step("finishSecret", token, datetime.now(UTC))
    assert stack.keys() == "another one that somebody put by hand"


def test_a_new_key_that_comes_too_late_is_not_taken(stack: Stack) -> None:
    """The last step died, and comes again when the key is as old as those that sign: it would sign at once, and functions
    that have just asked would not know it."""
    token = stack.begin()
    stack.take(token, *STEPS[:-1])
    ((made, _), _) = parse(stack.client.get_secret_value(SecretId=stack.secret, VersionId=token)["SecretString"])
    assert made is not None
    in_time = datetime.fromtimestamp(made + ASK_AGAIN_AFTER, UTC)
    with pytest.raises(StaleSigningKeys, match="too late"):
        KeyRotation(stack.secret, stack.client).step("finishSecret", token, in_time + timedelta(seconds=1))
    assert stack.keys() == GENERATED
    assert not stack.pending(), "Secrets Manager would begin no other rotation"
    following = stack.begin()
    stack.take(following, *STEPS[:-1])
    KeyRotation(stack.secret, stack.client).step("finishSecret", following, in_time)
    assert len(parse(stack.keys())) == 2


def test_being_tried_out_before_the_schedule_begins_changes_nothing(stack: Stack) -> None:
    """`rotate-secret --no-rotate-immediately`: testSecret alone, with a copy of what there is."""
    token = str(uuid4())
    stack.client.put_secret_value(
        SecretId=stack.secret, ClientRequestToken=token, SecretString=GENERATED, VersionStages=["AWSPENDING"]
    )
    stack.take(token, "testSecret")
    assert stack.keys() == GENERATED


def test_what_is_not_ours_to_do_is_refused(stack: Stack) -> None:
    with pytest.raises(ValueError, match="is not the secret"):
        stack.door.lambda_handler(EVENT, None)
    with pytest.raises(StaleSigningKeys):
        stack.take(str(uuid4()), "createSecret")
    with pytest.raises(ValueError, match="no step"):
        stack.take(stack.begin(), "deleteSecret")


class Overtaken:
    """A client that is overtaken once, by `by`: after it has asked `call` for the first time, or just before."""

    def __init__(self, client: Any, call: str, by: Any, *, before: bool = False) -> None:
        self._client, self._call, self._by, self._before = client, call, by, before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name != self._call or self._by is None:
            return method
        by, self._by = self._by, None

        def overtaken(**arguments: Any) -> Any:
            if self._before:
                by()
                return method(**arguments)
            try:
                return method(**arguments)
            finally:
                by()

        return overtaken
