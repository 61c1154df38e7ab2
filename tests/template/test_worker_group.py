"""worker_group.yaml: a group's worker is the stack's own worker, with a queue, a size and a network of its own."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from samtranslator.yaml_helper import yaml_parse

from benches.cost import load_prices
from gust.aws.worker_groups import stack_name
from gust.cli.workers import template
from gust.model.architecture import MACHINES
from tests.template.conftest import ROOT
from tests.template.rights import statements, traces
from tests.template.test_template import as_list, logical_id

Resources = dict[str, dict[str, Any]]

SAME: Final = ("Handler", "RecursiveLoop", "Timeout", "Runtime")
"""Properties of the stack's worker that each group's worker has, too."""

FILLED_IN_WHERE_NEEDED: Final = {
    "Layers",
    "LayersBucket",
    "RuntimeLayerKey",
    "AirflowLayerKey",
    "DefaultDeferrable",
    "LogRetentionDays",
    "LambdaLogLevel",
    "Tracing",
}

OF_LAMBDA: Final = {"WorkerRole", "WorkerEntersNetwork", "WorkerLogs", "WorkerFunction", "WorkerTakesTasks"}


@pytest.fixture(scope="module")
def group() -> dict[str, Any]:
    return dict(yaml_parse((ROOT / "worker_group.yaml").read_text()))


def test_the_groups_worker_is_the_stacks_worker(group: dict[str, Any], resources: Resources) -> None:
    ours, theirs = group["Resources"]["WorkerFunction"]["Properties"], resources["WorkerFunction"]["Properties"]
    assert {name: ours[name] for name in SAME} == {name: theirs[name] for name in SAME}
    assert ours["Environment"]["Variables"].keys() - {"GUST_ARCHITECTURE"} == theirs["Environment"]["Variables"].keys()
    assert ours["Architectures"] == [{"Ref": "Architecture"}]
    assert [group["Parameters"]["Architecture"]["Default"]] == theirs["Architectures"]


def test_a_group_on_other_processors_has_layers_and_packages_of_its_own(group: dict[str, Any]) -> None:
    function = group["Resources"]["WorkerFunction"]["Properties"]
    assert function["Environment"]["Variables"]["GUST_ARCHITECTURE"] == {"Ref": "Architecture"}
    assert group["Outputs"]["Architecture"]["Value"] == {"Ref": "Architecture"}
    assert group["Parameters"]["Architecture"]["AllowedValues"] == list(MACHINES)
    for layer in ("RuntimeLayer", "AirflowLayer"):
        made = group["Resources"][layer]
        assert made["Condition"] == "HasOwnLayers"
        assert made["Properties"]["Content"] == {"S3Bucket": {"Ref": "LayersBucket"}, "S3Key": {"Ref": f"{layer}Key"}}
        assert made["Properties"]["CompatibleArchitectures"] == [{"Ref": "Architecture"}]
    own = {"Fn::Join": [",", [{"Ref": "RuntimeLayer"}, {"Ref": "AirflowLayer"}]]}
    assert json.dumps(own) in json.dumps(function["Layers"])


def test_the_groups_queue_is_the_stacks_queue_and_keeps_its_messages_for_longer(
    group: dict[str, Any], resources: Resources
) -> None:
    ours, theirs = (all_of["TasksQueue"]["Properties"] for all_of in (group["Resources"], resources))
    assert {**ours, "MessageRetentionPeriod": None} == {**theirs, "MessageRetentionPeriod": None}
    assert ours["MessageRetentionPeriod"] == 14 * 24 * 3600
    ours, theirs = (
        one["Properties"] for one in (group["Resources"]["WorkerTakesTasks"], resources["WorkerFunctionTasks"])
    )
    assert ours.keys() == theirs.keys()
    assert (ours["BatchSize"], ours["FunctionResponseTypes"]) == (theirs["BatchSize"], theirs["FunctionResponseTypes"])


def actions(statements: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return sorted(tuple(sorted(as_list(statement["Action"]))) for statement in statements)


def of(role: dict[str, Any]) -> list[dict[str, Any]]:
    (_,) = role["Properties"]["Policies"]
    return statements(role)


def test_the_groups_dead_letters_set_off_the_stacks_alarm(group: dict[str, Any], resources: Resources) -> None:
    ours, theirs = group["Resources"]["TasksDeadLettersAlarm"], resources["TasksDeadLettersAlarm"]
    differing = {"AlarmActions", "OKActions"}
    assert {name: value for name, value in ours["Properties"].items() if name not in differing} == {
        name: value for name, value in theirs["Properties"].items() if name not in differing
    }
    assert ours["Properties"]["AlarmActions"] == ours["Properties"]["OKActions"] == [{"Ref": "AlertTopic"}]
    assert ours["Condition"] == "HasAlerts"
    assert group["Conditions"]["HasAlerts"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlertTopic"}, ""]}]}


def test_the_groups_alarm_goes_where_the_stacks_alarms_go(source: dict[str, Any]) -> None:
    output = source["Outputs"]["AlertTopic"]
    (action,) = source["Resources"]["TasksDeadLettersAlarm"]["Properties"]["AlarmActions"]
    assert (output["Condition"], output["Value"]) == ("HasAlerts", action)


def test_the_groups_worker_has_the_rights_of_the_stacks_worker_on_its_own_queue(
    group: dict[str, Any], resources: Resources
) -> None:
    ours = of(group["Resources"]["WorkerRole"])
    assert [as_list(each["Action"]) for each in ours] == [
        as_list(each["Action"]) for each in of(resources["WorkerRole"])
    ]
    (reads,) = [statement for statement in ours if "sqs:ReceiveMessage" in statement["Action"]]
    assert logical_id(reads["Resource"]) == "TasksQueue"
    assert all(statement["Resource"] != "*" for statement in ours)


def test_a_host_has_the_rights_of_a_worker_and_finds_its_own_stack(group: dict[str, Any]) -> None:
    host = group["Resources"]["HostPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (uses_key,) = [statement["Fn::If"] for statement in host if "Fn::If" in statement]
    key_use = group["Resources"]["UsesKey"]["Properties"]["PolicyDocument"]["Statement"]
    assert uses_key == ["HasKey", *key_use, {"Ref": "AWS::NoValue"}]
    host = [statement for statement in host if "Fn::If" not in statement]
    finds = ("cloudformation:DescribeStacks",)
    assert actions(host) == sorted([*actions(of(group["Resources"]["WorkerRole"])), finds])
    assert all(statement["Resource"] != "*" for statement in host)


def test_the_worker_comes_after_the_rights_that_lambda_checks_or_uses_at_once(group: dict[str, Any]) -> None:
    """Lambda refuses a function in a VPC whose role may make no interface yet, and cannot read an encrypted queue."""
    assert group["Resources"]["WorkerFunction"]["Metadata"]["Needs"] == [
        {"Fn::If": ["WorkerUsesKey", {"Ref": "UsesKey"}, "none"]},
        {"Fn::If": ["HasNetwork", {"Ref": "WorkerEntersNetwork"}, "none"]},
    ]


def test_the_groups_worker_is_traced_where_the_stacks_functions_are(
    group: dict[str, Any], resources: Resources
) -> None:
    ours, theirs = (all_of["WorkerFunction"]["Properties"] for all_of in (group["Resources"], resources))
    assert ours["TracingConfig"] == theirs["TracingConfig"]
    assert traces(group["Resources"]["WorkerRole"]) == traces(resources["WorkerRole"])
    assert group["Conditions"]["Traces"] == {"Fn::Equals": [{"Ref": "Tracing"}, "Enabled"]}


def test_the_code_of_a_function_in_a_vpc_cannot_use_the_rights_that_lambda_needs_there(group: dict[str, Any]) -> None:
    network = group["Resources"]["WorkerEntersNetwork"]["Properties"]["PolicyDocument"]["Statement"]
    allowed, denied = network
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert allowed["Action"] == denied["Action"]
    function = denied["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]["Fn::Sub"]
    assert function.endswith(":function:${AWS::StackName}")
    assert group["Resources"]["WorkerFunction"]["Properties"]["FunctionName"] == {"Ref": "AWS::StackName"}


def test_the_role_of_the_groups_tasks_is_the_stacks_with_its_own_policies(
    group: dict[str, Any], source: dict[str, Any]
) -> None:
    """Only the stack's execution API may assume it, with the stack's external id, below the path that it may assume."""
    ours, theirs = group["Resources"]["TaskRole"], source["Resources"]["TaskRole"]["Properties"]
    assert ours["Condition"] == group["Outputs"]["TaskRoleArn"]["Condition"] == "HasTaskPolicies"
    trust = json.dumps(ours["Properties"]["AssumeRolePolicyDocument"])
    trust = trust.replace(
        json.dumps({"Ref": "ExecutionApiRoleArn"}), json.dumps({"Fn::GetAtt": ["ExecutionApiRole", "Arn"]})
    )
    external_id = source["Outputs"]["TaskExternalId"]["Value"]
    trust = trust.replace(json.dumps({"Ref": "TaskExternalId"}), json.dumps(external_id))
    assert json.loads(trust) == theirs["AssumeRolePolicyDocument"]
    assert ours["Properties"]["ManagedPolicyArns"] == {"Ref": "TaskPolicyArns"}
    assert group["Parameters"]["TaskPolicyArns"]["Default"] == ""
    assert "Policies" not in ours["Properties"]
    assert ours["Properties"]["Path"]["Fn::Sub"] == "/gust/${Stack}/"
    roles = [one for one in group["Resources"].values() if one["Type"] == "AWS::IAM::Role"]
    for role in roles:
        assert role["Properties"]["PermissionsBoundary"]["Fn::If"][:2] == [
            "HasBoundary",
            {"Ref": "PermissionsBoundaryArn"},
        ]
    assert len(roles) == 2


def test_the_scheduler_may_send_into_the_queues_of_groups_by_their_stacks_names(resources: Resources) -> None:
    (statement,) = [each for each in of(resources["SchedulerRole"]) if "-workers-" in str(each["Resource"])]
    assert set(statement["Action"]) == {"sqs:SendMessage", "sqs:GetQueueAttributes"}
    assert statement["Resource"]["Fn::Sub"].endswith(":${AWS::StackName}-workers-*")
    assert stack_name("gust", "large_1") == "gust-workers-large-1"


def test_a_group_elsewhere_has_a_queue_and_a_policy_alone(group: dict[str, Any]) -> None:
    conditions = {name: resource.get("Condition") for name, resource in group["Resources"].items()}
    assert {name for name, condition in conditions.items() if condition in ("IsLambda", "HasNetwork")} == OF_LAMBDA
    assert {name for name, condition in conditions.items() if condition == "IsElsewhere"} == {"HostPolicy"}


def test_what_the_command_fills_in_is_what_the_template_asks_for(group: dict[str, Any]) -> None:
    _, of_stack = group["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    for name in of_stack["Parameters"]:
        assert "Default" not in group["Parameters"][name] or name in FILLED_IN_WHERE_NEEDED


def test_cloudformation_takes_the_template_in_a_request() -> None:
    text = template({})
    assert len(text) < 51_200
    assert json.loads(text)["Resources"]


def test_the_documentation_says_what_an_idle_group_costs() -> None:
    polls = 5 * 30 * 24 * 3600 / 20
    assert f"${polls * load_prices()['sqs']['request']:.2f} a month" in (ROOT / "docs" / "workers.md").read_text()
