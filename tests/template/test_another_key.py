"""`KmsKeyArn` changes or goes: what the stack has stored stays under the key with which it was written, and readable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.aws_like import template_rights
from tests.aws_like.rights import ACCOUNT, REGION, Need, Role, judge
from tests.template.conftest import ROOT

Resources = dict[str, dict[str, Any]]

FORMER: Final = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/former"
"""The key under which everything lies."""
TODAY: Final = {
    "": "removed",
    f"arn:aws:kms:{REGION}:{ACCOUNT}:key/other": "replaced",
}
"""What `KmsKeyArn` is now → what became of the former one."""

BUCKET: Final = "arn:aws:s3:::gust-bucket-1x2y3z"
OF_AWS: Final = {"Partition": "aws", "Region": REGION, "AccountId": ACCOUNT, "StackName": "gust"}


def readers(template: Mapping[str, Any], key: str) -> Iterator[Role]:
    """Roles, with all policies that a stack with that key has. Among them the policy for hosts of a worker group."""
    documents: dict[str, list[tuple[str, str]]] = {}
    for name, policy, statements in policies(template["Resources"]):
        document = resolved({"Version": "2012-10-17", "Statement": statements}, key)
        documents.setdefault(name, []).append((policy, json.dumps(document)))
    for name, of_role in documents.items():
        yield Role(f"gust-{name}-1", tuple(of_role))


def policies(resources: Resources) -> Iterator[tuple[str, str, list[Any]]]:
    yield from template_rights.policies(resources)
    for name, each in resources.items():
        if each["Type"] == "AWS::IAM::ManagedPolicy":
            yield name, name, each["Properties"]["PolicyDocument"]["Statement"]


def resolved(value: Any, key: str) -> Any:
    """As CloudFormation resolves it, with all parameters but the key given."""
    match value:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": "KmsKeyArn"}:
            return key or "no key"
        case {"Fn::If": ["HasKey", given, otherwise]}:
            return resolved(given if key else otherwise, key)
        case {"Fn::If": [_, given, _]}:
            return resolved(given, key)
        case {"Fn::GetAtt": [name, "Arn"]} | {"Ref": name}:
            return arn(name)
        case {"Fn::Sub": str(text)}:
            for name, of_aws in OF_AWS.items():
                text = text.replace(f"${{AWS::{name}}}", of_aws)
            return text.replace("${Bucket.Arn}", BUCKET).replace("${Bucket}", BUCKET.rpartition(":")[2])
        case dict():
            return {name: resolved(each, key) for name, each in value.items()}
        case list():
            return [found for each in value if (found := resolved(each, key)) is not None]
    return value


def arn(logical_id: str) -> str:
    return BUCKET if logical_id == "Bucket" else f"arn:aws:sqs:{REGION}:{ACCOUNT}:{logical_id}"


def decrypts(role: Role, service: str, of_what: str, key: str = FORMER) -> bool:
    """Whether the role may have that service decrypt an object or a message of a queue."""
    names = {"s3": "kms:encryptioncontext:aws:s3:arn", "sqs": "kms:encryptioncontext:aws:sqs:arn"}
    context = (("kms:viaservice", f"{service}.{REGION}.amazonaws.com"), (names[service], of_what))
    return bool(judge(role, Need("kms:Decrypt", key, context)))


def may(role: Role, action: str) -> set[str]:
    """The resources on which the role may do that."""
    return {
        resource
        for _, document in role.policies
        for statement in json.loads(document)["Statement"]
        if any(fnmatchcase(action, allowed) for allowed in listed(statement["Action"]))
        for resource in listed(statement["Resource"])
    }


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(params=["template.yaml", "worker_group.yaml"])
def template(request: pytest.FixtureRequest, resources: Resources) -> dict[str, Any]:
    if request.param == "template.yaml":
        return {"Resources": resources}
    return dict(yaml_parse((ROOT / request.param).read_text()))


@pytest.mark.parametrize("key", TODAY, ids=TODAY.values())
def test_a_role_that_reads_the_bucket_reads_what_lies_under_the_former_key(template: dict[str, Any], key: str) -> None:
    reading = [role for role in readers(template, key) if may(role, "s3:GetObject")]
    assert len(reading) > 1
    for role in reading:
        assert decrypts(role, "s3", BUCKET), f"{role.name}: with a bucket key S3 names the bucket"
        assert decrypts(role, "s3", f"{BUCKET}/bundles/1.zip"), f"{role.name}: and without one the object"


@pytest.mark.parametrize("key", TODAY, ids=TODAY.values())
def test_a_role_that_reads_a_queue_reads_messages_from_before(template: dict[str, Any], key: str) -> None:
    reading = {role: may(role, "sqs:ReceiveMessage") for role in readers(template, key)}
    assert any(reading.values())
    for role, queues in reading.items():
        for queue in queues:
            assert decrypts(role, "sqs", queue), f"{role.name} {queue}"


@pytest.mark.parametrize("key", TODAY, ids=TODAY.values())
def test_no_role_decrypts_under_the_former_key_what_is_not_the_stacks(template: dict[str, Any], key: str) -> None:
    for role in readers(template, key):
        assert not decrypts(role, "s3", "arn:aws:s3:::payroll"), role.name
        assert not decrypts(role, "s3", f"{BUCKET}-of-others/march.csv"), role.name
        assert not decrypts(role, "sqs", f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"), role.name
        assert not judge(role, Need("kms:Decrypt", FORMER)), f"{role.name}: not through a service"
        through_another = (("kms:viaservice", f"rds.{REGION}.amazonaws.com"),)
        assert not judge(role, Need("kms:Decrypt", FORMER, through_another)), role.name
        assert not may(role, "s3:GetObject") or not judge(
            role, Need("kms:GenerateDataKey", FORMER, (("kms:viaservice", f"s3.{REGION}.amazonaws.com"),))
        ), f"{role.name}: nothing new lies under the former key"
