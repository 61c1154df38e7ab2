"""What AWS itself does in the name of a role is allowed to that role: no call of a test shows it."""

from tests.aws_like import template_rights
from tests.aws_like.rights import names
from tests.aws_like.template_rights import Right, as_text

TASKS_QUEUE = as_text({"Fn::GetAtt": ["TasksQueue", "Arn"]})


def test_pollers_logs_failed_events_and_state_machines_have_their_rights() -> None:
    template = template_rights.resources()
    needed = template_rights.of_aws(template)

    assert sorted(map(str, needed - set(template_rights.rights(template).values()))) == []
    assert Right("WorkerRole", "sqs:ReceiveMessage", TASKS_QUEUE) in needed
    assert {right.role for right in needed if right.action == "iam:PassRole"} == {"FargateTaskRole"}
    assert {right.role for right in needed if right.action == "lambda:InvokeFunction"} == {
        "DeployBundleRole",
        "FargateTaskRole",
    }
    functions = [each for each in template.values() if each["Type"] == "AWS::Lambda::Function"]
    assert len({right.role for right in needed if right.action == "logs:PutLogEvents"}) == len(functions) + 1


def test_each_resource_of_a_list_parameter_stands_for_the_parameter() -> None:
    """SecretsBackendArns is one resource of the template, and as many of a stack as it names."""
    allowed = template_rights.rights(template_rights.resources())

    for number in range(3):
        grant = f"secrets-backend 0 ssm:GetParameter {number}"
        right = template_rights.of_grant(allowed, "ExecutionApiRole", grant)
        assert right == Right("ExecutionApiRole", "ssm:GetParameter", as_text({"Ref": "SecretsBackendArns"}))
    assert template_rights.of_grant(allowed, "ExecutionApiRole", "secrets-backend 1 ssm:GetParameter 0") is None


def test_a_grant_has_the_same_name_whatever_the_parameters_are() -> None:
    """A statement of a condition is named by its Sid: without it the stack's other statements have the same numbers."""
    conditional = [
        template_rights.with_parameters(statement)
        for _, _, statements in template_rights.policies(template_rights.resources())
        for statement in statements
        if "Fn::If" in statement
    ]

    assert len(conditional) > 1
    assert [statement for statement in conditional if not statement.get("Sid")] == []
    assert names(["", "Traces", None, ""]) == ["0", "Traces", "1", "2"]
