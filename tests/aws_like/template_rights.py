"""Which rights the template gives to whom, and which of them AWS itself uses in a role's name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gust.local import deployment
from tests.aws_like.rights import names

ROOT: Final = Path(__file__).parents[2]

Resources = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, order=True)
class Right:
    role: str
    """By its logical id."""
    action: str
    resource: str
    """As the template says it, in JSON: names are made when a stack is."""

    def __str__(self) -> str:
        return f"{self.role}: {self.action} on {self.resource}"


def resources() -> Resources:
    """After SAM's transform, with everything that a parameter adds."""
    found: Resources = deployment.transform(ROOT, {})["Resources"]
    return found


def rights(template: Resources) -> dict[tuple[str, str], Right]:
    """(role, grant as `tests.aws_like.rights.Grant` names it) → the right."""
    return {
        (role, f"{name} {of_statement} {action} {number}"): Right(role, action, as_text(resource))
        for role, name, conditional in policies(template)
        for statements in [[with_parameters(statement) for statement in conditional]]
        for of_statement, statement in zip(names(each.get("Sid") for each in statements), statements, strict=True)
        if statement["Effect"] == "Allow"
        for action in _listed(statement["Action"])
        for number, resource in enumerate(_listed(statement["Resource"]))
    }


def of_grant(allowed: Mapping[tuple[str, str], Right], role: str, grant: str) -> Right | None:
    """The right that a grant of a stack comes from. A parameter of several resources is one resource of the template, the
    last one of its statement: all grants that it makes are that right."""
    statement, _, number = grant.rpartition(" ")
    names = (f"{statement} {each}" for each in range(int(number), -1, -1))
    return next((allowed[role, name] for name in names if (role, name) in allowed), None)


def of_aws(template: Resources) -> set[Right]:
    """What Lambda, ECS and Step Functions do with the rights of the roles: pollers read queues and streams, Lambda writes
    functions' logs and failed events, a state machine calls what its definition names."""
    return {*_of_pollers(template), *_of_logs(template), *_of_failed_events(template), *_of_state_machines(template)}


def _of_pollers(template: Resources) -> Iterator[Right]:
    for properties in _of_type(template, "AWS::Lambda::EventSourceMapping"):
        role = _role_of(template, properties["FunctionName"]["Ref"])
        source = as_text(properties["EventSourceArn"])
        if "StreamArn" in source:
            for action in ("DescribeStream", "GetRecords", "GetShardIterator"):
                yield Right(role, f"dynamodb:{action}", source)
            yield Right(role, "dynamodb:ListStreams", as_text("*"))
        else:
            # SAM's SQSPollerPolicy; Lambda does not document when it uses the last.
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility"):
                yield Right(role, f"sqs:{action}", source)
        yield from _of_destination(role, properties)


def _of_failed_events(template: Resources) -> Iterator[Right]:
    for properties in _of_type(template, "AWS::Lambda::EventInvokeConfig"):
        yield from _of_destination(_role_of(template, properties["FunctionName"]["Ref"]), properties)


def _of_destination(role: str, properties: Mapping[str, Any]) -> Iterator[Right]:
    if destination := properties.get("DestinationConfig", {}).get("OnFailure"):
        yield Right(role, "sqs:SendMessage", as_text(destination["Destination"]))


def _of_logs(template: Resources) -> Iterator[Right]:
    for properties in _of_type(template, "AWS::Lambda::Function"):
        group = as_text({"Fn::GetAtt": [properties["LoggingConfig"]["LogGroup"]["Ref"], "Arn"]})
        role = properties["Role"]["Fn::GetAtt"][0]
        for action in ("CreateLogStream", "PutLogEvents"):
            yield Right(role, f"logs:{action}", group)
    for properties in _of_type(template, "AWS::ECS::TaskDefinition"):
        for container in properties["ContainerDefinitions"]:
            group = container["LogConfiguration"]["Options"]["awslogs-group"]["Ref"]
            role = properties["ExecutionRoleArn"]["Fn::GetAtt"][0]
            for action in ("CreateLogStream", "PutLogEvents"):
                yield Right(role, f"logs:{action}", as_text({"Fn::GetAtt": [group, "Arn"]}))


def _of_state_machines(template: Resources) -> Iterator[Right]:
    """By what AWS documents for each integration. Their definitions name resources by the substitutions of the template."""
    for properties in _of_type(template, "AWS::StepFunctions::StateMachine"):
        role = properties["RoleArn"]["Fn::GetAtt"][0]
        named = properties["DefinitionSubstitutions"]
        definition = json.dumps(properties["DefinitionString"])
        for name, value in named.items():
            if name.endswith("FunctionArn") and f"${{{name}}}" in definition:
                yield Right(role, "lambda:InvokeFunction", as_text(value))
        if "ecs:runTask.sync" in definition:
            families = [named["TaskDefinition"]["Fn::Sub"], named["X86TaskDefinition"]["Fn::Sub"]]
            for family in families:
                revisions = (
                    f"arn:${{AWS::Partition}}:ecs:${{AWS::Region}}:${{AWS::AccountId}}:task-definition/{family}:*"
                )
                yield Right(role, "ecs:RunTask", as_text({"Fn::Sub": revisions}))
            for task in _of_type(template, "AWS::ECS::TaskDefinition"):
                assert task["Family"]["Fn::Sub"] in families
                for passed in ("TaskRoleArn", "ExecutionRoleArn"):
                    yield Right(role, "iam:PassRole", as_text(task[passed]))
            cluster = named["Cluster"]["Fn::GetAtt"][0]
            tasks = f"arn:${{AWS::Partition}}:ecs:${{AWS::Region}}:${{AWS::AccountId}}:task/${{{cluster}}}/*"
            for action in ("ecs:StopTask", "ecs:DescribeTasks"):
                yield Right(role, action, as_text({"Fn::Sub": tasks}))
            rule = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/StepFunctionsGetEventsForECSTaskRule"
            for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
                yield Right(role, action, as_text({"Fn::Sub": rule}))


def policies(template: Resources) -> Iterator[tuple[str, str, list[Any]]]:
    """(role, name of the policy, statements)."""
    for name, resource in template.items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::IAM::Role":
                for policy in properties.get("Policies", []):
                    yield name, policy["PolicyName"], policy["PolicyDocument"]["Statement"]
            case "AWS::IAM::Policy":
                for role in properties["Roles"]:
                    yield role["Ref"], properties["PolicyName"], properties["PolicyDocument"]["Statement"]
            case "AWS::IAM::RolePolicy":
                yield properties["RoleName"]["Ref"], properties["PolicyName"], properties["PolicyDocument"]["Statement"]


def with_parameters(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """A statement that a condition adds, as if it held."""
    return statement["Fn::If"][1] if "Fn::If" in statement else statement


def _of_type(template: Resources, kind: str) -> Iterator[Mapping[str, Any]]:
    for resource in template.values():
        if resource["Type"] == kind:
            yield resource["Properties"]


def _role_of(template: Resources, function: str) -> str:
    return str(template[function]["Properties"]["Role"]["Fn::GetAtt"][0])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
