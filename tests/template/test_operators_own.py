"""Key, network, boundary, protection: what an operator may ask for, and what the stack has without asking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Resources = dict[str, dict[str, Any]]
Template = dict[str, Any]

ROOT = Path(__file__).parents[2]
NO_VALUE = {"Ref": "AWS::NoValue"}
KEY = {"Fn::If": ["HasKey", {"Ref": "KmsKeyArn"}, NO_VALUE]}
RUN_AUTHORS_CODE = {
    "ParseFunction": ("ParserEntersNetwork", "ParseRole"),
    "WorkerFunction": ("WorkerEntersNetwork", "WorkerRole"),
    "TriggererFunction": ("TriggererEntersNetwork", "TriggererRole"),
}


def of_type(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, each) for name, each in resources.items() if each["Type"] == kind)


@pytest.mark.parametrize(
    ("parameter", "default", "condition"),
    [
        ("KmsKeyArn", "", "HasKey"),
        ("NetworkSubnets", "", "HasNetwork"),
        ("PermissionsBoundaryArn", "", "HasBoundary"),
        ("DeletionProtection", "Disabled", "ProtectsTable"),
        ("BucketVersioning", "Disabled", "KeepsOldObjects"),
    ],
)
def test_each_is_off_until_it_is_asked_for(source: Template, parameter: str, default: str, condition: str) -> None:
    assert source["Parameters"][parameter]["Default"] == default
    assert f'"{parameter}"' in json.dumps(source["Conditions"][condition])


def test_a_key_of_ones_own_encrypts_everything_that_is_stored(resources: Resources) -> None:
    keys = {
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
    }
    for kind, name in keys.items():
        for logical_id, resource in of_type(resources, kind):
            assert resource["Properties"].get(name) == KEY, logical_id
    for logical_id, queue in of_type(resources, "AWS::SQS::Queue"):
        assert queue["Properties"]["SqsManagedSseEnabled"] == {"Fn::If": ["HasKey", NO_VALUE, True]}, logical_id
    table = resources["Table"]["Properties"]["SSESpecification"]
    assert table["KMSMasterKeyId"] == KEY
    assert table["SSEEnabled"] == {"Fn::If": ["HasKey", True, False]}
    (rule,) = resources["Bucket"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == KEY
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {"Fn::If": ["HasKey", "aws:kms", "AES256"]}
    assert resources["Keys"]["Properties"]["KmsKeyArn"] == {"Ref": "KmsKeyArn"}


def test_every_function_and_container_may_use_the_key_and_through_the_services_alone(resources: Resources) -> None:
    policies = [
        resources[name] for name in ("UsesKey", "ContainerUsesKey", "EventsFunctionUsesKey", "AnnouncerUsesKey")
    ]
    users = {role["Ref"] for policy in policies for role in policy["Properties"]["Roles"]}
    functions = {each["Properties"]["Role"]["Fn::GetAtt"][0] for _, each in of_type(resources, "AWS::Lambda::Function")}
    # The key maker writes the stack's keys before most of these roles exist, and has rights of its own.
    assert users == (functions - {"KeyMakerRole"}) | {"ContainerRole"}
    for policy in policies:
        (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
        assert statement["Resource"] == {"Ref": "KmsKeyArn"}
        assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
        through = {each["Fn::Sub"].split(".")[0] for each in statement["Condition"]["StringEquals"]["kms:ViaService"]}
        assert through == {"dynamodb", "s3", "sqs", "ssm"}
    assert [policy["Condition"] for policy in policies] == [
        "HasKey",
        "ContainersUseKey",
        "EventsUseKey",
        "AnnouncerHasKey",
    ]


def test_lambda_may_decrypt_before_it_reads_a_queue_or_a_stream(resources: Resources) -> None:
    """A mapping waits for its function, and the function for the right that its role has beside it."""
    readers = {
        each["Properties"]["FunctionName"]["Ref"] for _, each in of_type(resources, "AWS::Lambda::EventSourceMapping")
    }
    assert len(readers) == 5
    for name in readers:
        (needs,) = [
            each["Fn::If"] for each in resources[name]["Metadata"]["Needs"] if "UsesKey" in each["Fn::If"][1]["Ref"]
        ]
        policy = resources[needs[1]["Ref"]]
        assert policy["Condition"] == needs[0]
        assert {"Ref": resources[name]["Properties"]["Role"]["Fn::GetAtt"][0]} in policy["Properties"]["Roles"]


def test_authors_code_runs_in_the_operators_network_and_cannot_change_it(
    source: Template, resources: Resources
) -> None:
    in_network = {
        name for name, each in of_type(resources, "AWS::Lambda::Function") if each["Properties"].get("VpcConfig")
    }
    assert in_network == set(RUN_AUTHORS_CODE)
    for name, (policy, role) in RUN_AUTHORS_CODE.items():
        config = resources[name]["Properties"]["VpcConfig"]["Fn::If"]
        assert config[0] == "HasNetwork"
        assert config[1] == {
            "SubnetIds": {"Ref": "NetworkSubnets"},
            "SecurityGroupIds": {"Ref": "NetworkSecurityGroups"},
        }
        # Lambda refuses a function whose role may not make interfaces: the policy comes first.
        assert {"Fn::If": ["HasNetwork", {"Ref": policy}, "none"]} in resources[name]["Metadata"]["Needs"]
        assert resources[policy]["Properties"]["Roles"] == [{"Ref": role}]
        assert resources[policy]["Condition"] == "HasNetwork"
        given, denied = resources[policy]["Properties"]["PolicyDocument"]["Statement"]
        assert (given["Effect"], denied["Effect"]) == ("Allow", "Deny")
        assert given["Action"] == denied["Action"]
        functions = [each["Fn::Sub"] for each in denied["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]]
        called = resources[name]["Properties"]["FunctionName"]["Fn::Sub"]
        assert any(arn.endswith(f":function:{called}") for arn in functions)
    assert "NetworkSubnetsNeedSecurityGroups" in source["Rules"]


def test_a_boundary_bounds_every_role(resources: Resources) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role"):
        boundary = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, NO_VALUE]}
        assert role["Properties"].get("PermissionsBoundary") == boundary, name


def test_the_documented_boundary_allows_what_the_roles_do(resources: Resources) -> None:
    page = (ROOT / "docs/deploying.md").read_text()
    said = set(re.findall(r"`([\w:]+)`", page.partition("### A permissions boundary")[2].partition("\n#")[0]))
    names = {each.rpartition(":")[2] for each in said}
    done = {
        action
        for kind in ("AWS::IAM::Role", "AWS::IAM::Policy")
        for _, role in of_type(resources, kind)
        for action in actions(role["Properties"])
    }
    assert {"lambda:GetLayerVersion", "sts:TagSession", "ecr:BatchGetImage"} <= done
    services = {action: action.partition(":")[0] for action in done}
    assert [action for action in done if services[action] not in said and action.partition(":")[2] not in names] == []


def actions(value: Any) -> Iterator[str]:
    """What the policies in it allow, but for who may assume the role."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Action":
                yield from re.findall(r"\w+:\w+", json.dumps(inner))
            elif key != "AssumeRolePolicyDocument":
                yield from actions(inner)
    elif isinstance(value, list):
        for each in value:
            yield from actions(each)


def test_the_bucket_takes_tls_alone_and_stays_except_after_a_failed_creation(resources: Resources) -> None:
    (statement,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}]
    assert resources["Bucket"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resources["Bucket"]["UpdateReplacePolicy"] == "Retain"


def test_the_table_can_be_restored_and_protected(resources: Resources) -> None:
    table = resources["Table"]["Properties"]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] == {"Fn::If": ["ProtectsTable", True, False]}


def test_old_objects_do_not_stay_for_ever(resources: Resources) -> None:
    bucket = resources["Bucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Fn::If": ["KeepsOldObjects", {"Status": "Enabled"}, NO_VALUE]}
    (rule,) = [each for each in bucket["LifecycleConfiguration"]["Rules"] if each["Id"] == "DropOldVersions"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
