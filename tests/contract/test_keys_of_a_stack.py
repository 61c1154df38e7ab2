"""The stack's keys through a life of it, on CloudFormation as MiniStack plays it: the key maker of template.yaml alone, and
before it the two secrets of earlier templates."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from gust.aws.cipher import FernetCipher
from gust.aws.key_parameter import KeyParameter
from gust.local import deployment
from tests.contract.stores import Aws, emulated

ROOT = Path(__file__).parents[2]
SECRETS = {
    name: {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {"GenerateSecretString": {"PasswordLength": 64, "ExcludePunctuation": True}},
    }
    for name in ("SigningSecret", "EncryptionSecret")
}
FAILS = {"Fails": {"Type": "Custom::Fails", "Properties": {"ServiceToken": "arn:aws:lambda:us-east-1:0:function:none"}}}


def test_functions_here_print_something_at_each_invocation() -> None:
    """MiniStack answers 50 ms late where a function has printed nothing, and accepted starts are told at DEBUG."""
    functions = {
        name: resource["Properties"]["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"]
        for name, resource in deployment.transform(ROOT, {})["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    assert functions.keys() >= {"SchedulerFunction", "ExecutionApiFunction", "WorkerFunction"}
    assert set(functions.values()) == {"DEBUG"}


class Stack:
    def __init__(self, aws: Aws, name: str) -> None:
        self.aws, self.name = aws, name
        self._cloudformation = aws.client("cloudformation")
        template = deployment.transform(ROOT, {})
        self._frame = {part: template[part] for part in ("Parameters", "Conditions")}
        named = {"Keys", "KeyMakerRole", "KeyMakerLogs", "KeyMakerFunction"}
        self.keys_of_today = {key: each for key, each in template["Resources"].items() if key in named}
        code = self.keys_of_today["KeyMakerFunction"]["Properties"]["Code"]
        aws.s3.create_bucket(Bucket=code["S3Bucket"])
        aws.s3.put_object(Bucket=code["S3Bucket"], Key=code["S3Key"], Body=_zipped("key_maker"))

    def become(self, *resources: dict[str, Any]) -> None:
        """Raises WaiterError where the change fails."""
        made = {"Resources": {key: each for part in resources for key, each in part.items()}, **self._frame}
        arguments = {"StackName": self.name, "TemplateBody": json.dumps(made), "Capabilities": ["CAPABILITY_IAM"]}
        if self._exists():
            self._cloudformation.update_stack(**arguments)
            self._await("stack_update_complete")
        else:
            self._cloudformation.create_stack(**arguments)
            self._await("stack_create_complete")

    def delete(self) -> None:
        self._cloudformation.delete_stack(StackName=self.name)
        self._await("stack_delete_complete")

    def secret(self, logical_id: str) -> str:
        found = self._cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        arn = found["StackResourceDetail"]["PhysicalResourceId"]
        return str(self.aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])

    def key(self, of: str) -> str:
        return KeyParameter(f"/gust/{self.name}/keys/{of}", self.aws.client("ssm")).read().text

    def has_keys(self) -> bool:
        names = [f"/gust/{self.name}/keys/{of}" for of in ("signing", "encryption")]
        return bool(self.aws.client("ssm").get_parameters(Names=names)["Parameters"])

    def _exists(self) -> bool:
        try:
            self._cloudformation.describe_stacks(StackName=self.name)
        except ClientError:
            return False
        return True

    def _await(self, what: str) -> None:
        self._cloudformation.get_waiter(what).wait(StackName=self.name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})


def _zipped(function: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(ROOT / "functions" / function / "app.py", "app.py")
    return packed.getvalue()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    services = "cloudformation,iam,lambda,logs,s3,secretsmanager,sqs,ssm,sts"
    home = tmp_path_factory.mktemp("keys")
    with emulated(home, services, PYTHONPATH=str(ROOT / "shared"), AWS_DEFAULT_REGION="us-east-1") as aws:
        yield aws


def test_an_update_from_the_former_template_keeps_what_was_encrypted_and_signed(cloud: Aws) -> None:
    stack = Stack(cloud, "former")
    stack.become(SECRETS)
    signing, encryption = stack.secret("SigningSecret"), stack.secret("EncryptionSecret")
    stored = FernetCipher(lambda: encryption).encrypt("postgresql://ada:hunter2@db")

    stack.become(stack.keys_of_today)

    assert (stack.key("signing"), stack.key("encryption")) == (signing, encryption)
    assert FernetCipher(lambda: stack.key("encryption")).decrypt(stored) == "postgresql://ada:hunter2@db"
    with pytest.raises(ClientError):
        stack.secret("EncryptionSecret")
    stack.delete()
    assert not stack.has_keys()


def test_an_update_that_fails_leaves_the_secrets_in_force_and_the_next_one_takes_them(cloud: Aws) -> None:
    stack = Stack(cloud, "failing")
    stack.become(SECRETS)
    signing, encryption = stack.secret("SigningSecret"), stack.secret("EncryptionSecret")

    with pytest.raises(WaiterError):
        stack.become(stack.keys_of_today, FAILS)

    assert (stack.secret("SigningSecret"), stack.secret("EncryptionSecret")) == (signing, encryption)
    stack.become(stack.keys_of_today)
    assert (stack.key("signing"), stack.key("encryption")) == (signing, encryption)
    stack.delete()


def test_a_creation_that_fails_leaves_no_key(cloud: Aws) -> None:
    stack = Stack(cloud, "stillborn")

    with pytest.raises(WaiterError):
        stack.become(stack.keys_of_today, FAILS)

    assert not stack.has_keys()


def test_a_template_that_drops_the_keys_leaves_them_for_the_next_that_has_them(cloud: Aws) -> None:
    stack = Stack(cloud, "dropping")
    stack.become(stack.keys_of_today)
    signing, encryption = stack.key("signing"), stack.key("encryption")

    stack.become({key: each for key, each in stack.keys_of_today.items() if key != "Keys"})

    assert (stack.key("signing"), stack.key("encryption")) == (signing, encryption)
    stack.become(stack.keys_of_today)
    assert (stack.key("signing"), stack.key("encryption")) == (signing, encryption)
    stack.delete()
    assert not stack.has_keys()
