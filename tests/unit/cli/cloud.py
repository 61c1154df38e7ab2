"""CloudFormation as the commands see it, without AWS: a change set, its events, and the stack that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import ClientError

STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/gust/1"
OUTPUTS = {
    "ApiUrl": "https://abc.execute-api.eu-west-1.amazonaws.com",
    "BucketName": "gust-bucket-1",
    "TableName": "gust-table-1",
    "SigningKeys": "/gust/gust/keys/signing",
    "EncryptionKeys": "/gust/gust/keys/encryption",
    "TaskLogGroup": "gust-tasks",
    "DeployBundleArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:gust-deploy-bundle",
}


def refusal(code: str, message: str = "no", *, status: int = 400, operation: str = "Operation") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


class Meta:
    region_name = "eu-west-1"
    endpoint_url = "https://s3.eu-west-1.amazonaws.com"


class CloudFormation:
    """`changes` is what a change set finds; `events` what follows when it is carried out or the stack is deleted, oldest
    first: (logical id, status, reason)."""

    meta = Meta()

    def __init__(
        self,
        *,
        status: str | None = None,
        parameters: Mapping[str, str] | None = None,
        changes: Sequence[tuple[str, str, str, str]] = (),
        events: Sequence[tuple[str, str, str]] = (),
        resources: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        self.status = status
        self.parameters = dict(parameters or {})
        self.tags: dict[str, str] = {}
        self.changes, self.to_come, self.resources = changes, list(events), resources
        self.events: list[dict[str, Any]] = []
        self.asked: dict[str, Any] = {}
        self.calls: list[str] = []
        self.missing: set[str] = set()
        """Names of stacks that are not there."""
        self.is_protected = False

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - boto3's
        if self.status is None or StackName in self.missing:
            raise refusal("ValidationError", f"Stack with id {StackName} does not exist")
        return {
            "Stacks": [
                {
                    "StackName": StackName,
                    "StackId": STACK_ID,
                    "StackStatus": self.status,
                    "EnableTerminationProtection": self.is_protected,
                    "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()],
                    "Parameters": [
                        {"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()
                    ],
                    "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
                }
            ]
        }

    def create_change_set(self, **asked: Any) -> Any:
        self.asked = asked
        return {"Id": "change", "StackId": STACK_ID}

    def describe_change_set(self, **_: Any) -> Any:
        if not self.changes:
            return {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."}
        return {
            "Status": "CREATE_COMPLETE",
            "Changes": [
                {
                    "ResourceChange": {
                        "Action": action,
                        "LogicalResourceId": name,
                        "ResourceType": kind,
                        "Replacement": replacement,
                    }
                }
                for action, name, kind, replacement in self.changes
            ],
        }

    def execute_change_set(self, **_: Any) -> None:
        self.calls.append("execute")
        self._happen()

    def delete_change_set(self, **_: Any) -> None:
        self.calls.append("discard")

    def delete_stack(self, **_: Any) -> None:
        self.calls.append("delete")
        self._happen()

    def _happen(self) -> None:
        for name, status, reason in self.to_come:
            is_stack = name == "gust"
            self.events.insert(
                0,
                {
                    "EventId": str(len(self.events)),
                    "StackId": STACK_ID,
                    "LogicalResourceId": name,
                    "PhysicalResourceId": STACK_ID if is_stack else name,
                    "ResourceStatus": status,
                    "ResourceStatusReason": reason,
                },
            )
            if is_stack:
                self.status = status

    def describe_stack_events(self, **_: Any) -> Any:
        return {"StackEvents": list(self.events)}

    def get_paginator(self, name: str) -> Any:
        pages = {
            "describe_stack_events": {"StackEvents": list(self.events)},
            "list_stack_resources": {
                "StackResourceSummaries": [
                    {"LogicalResourceId": name, "ResourceType": kind, "PhysicalResourceId": there}
                    for name, kind, there in self.resources
                ]
            },
        }

        class Paginator:
            @staticmethod
            def paginate(**_: Any) -> Iterator[Any]:
                yield pages[name]

        return Paginator()


class Sts:
    meta = Meta()

    @staticmethod
    def get_caller_identity() -> Any:
        return {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ada"}


class Lambda:
    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit

    def get_account_settings(self) -> Any:
        return {"AccountLimit": {"ConcurrentExecutions": self.limit}}


class LambdaOfStack(Lambda):
    """Functions by name: their configuration."""

    def __init__(self, limit: int = 1000, **functions: dict[str, Any]) -> None:
        super().__init__(limit)
        self.functions = functions

    def get_function_configuration(self, FunctionName: str) -> Any:  # noqa: N803 - boto3's
        usual = {"MemorySize": 1024, "Timeout": 60, "LastModified": "2026-03-01T10:00:00.000+0000", "State": "Active"}
        return {**usual, **self.functions[FunctionName.removeprefix("gust-")]}

    @staticmethod
    def get_event_source_mapping(UUID: str) -> Any:  # noqa: N803 - boto3's
        return {"State": "Disabled" if UUID == "stopped" else "Enabled"}


class Iam:
    def __init__(self, denied: Sequence[str] = (), policies: Sequence[str] = ()) -> None:
        self.denied = denied
        self.policies = policies
        """Inline policies of each role."""

    def list_role_policies(self, **_: Any) -> Any:
        return {"PolicyNames": list(self.policies)}

    def simulate_principal_policy(self, ActionNames: Sequence[str], **_: Any) -> Any:  # noqa: N803 - boto3's
        return {
            "EvaluationResults": [
                {"EvalActionName": name, "EvalDecision": "implicitDeny" if name in self.denied else "allowed"}
                for name in ActionNames
            ]
        }


class Logs:
    """Log groups: (moment in ms, id, message)."""

    def __init__(self, **groups: Sequence[tuple[int, str, str]]) -> None:
        self.groups = groups

    def get_paginator(self, _: str) -> Any:
        groups = self.groups

        class Paginator:
            @staticmethod
            def paginate(logGroupName: str, startTime: int, **_: Any) -> Iterator[Any]:  # noqa: N803 - boto3's
                events = [
                    {"timestamp": moment, "eventId": event_id, "message": message}
                    for moment, event_id, message in groups.get(logGroupName, ())
                    if moment >= startTime
                ]
                yield {"events": events}

        return Paginator()


class Fargate:
    """Step Functions and ECS in one: each execution has a container, which takes some looks to end once it is stopped."""

    STATE_MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:gust-fargate-task"
    RESOURCES = (
        ("FargateTask", "AWS::StepFunctions::StateMachine", STATE_MACHINE),
        ("FargateCluster", "AWS::ECS::Cluster", "gust-FargateCluster-1"),
    )

    def __init__(self, *running: str, looks: int = 2) -> None:
        self.executions = {*running}
        self.looks = looks
        """Of `describe_tasks` until a stopped container is gone."""
        self.containers: dict[str, int | None] = dict.fromkeys(running)
        """Looks until each is gone; `None`: it runs."""
        self.stopped: list[str] = []

    def start(self, name: str) -> None:
        self.executions.add(name)
        self.containers[name] = None

    def get_paginator(self, operation: str) -> Any:
        class Paginator:
            @staticmethod
            def paginate(**asked: Any) -> Iterator[Any]:
                yield from (self._executions(**asked) if operation == "list_executions" else self._tasks(**asked))

        return Paginator()

    def _executions(self, *, stateMachineArn: str, statusFilter: str) -> Iterator[Any]:  # noqa: N803 - boto3's
        assert (stateMachineArn, statusFilter) == (self.STATE_MACHINE, "RUNNING")
        for name in sorted(self.executions):
            yield {"executions": [{"executionArn": name}]}

    def stop_execution(self, *, executionArn: str, cause: str) -> None:  # noqa: N803 - boto3's
        assert cause
        self.executions.remove(executionArn)
        self.stopped.append(executionArn)
        self.containers[executionArn] = self.looks

    def _tasks(self, *, cluster: str, desiredStatus: str) -> Iterator[Any]:  # noqa: N803 - boto3's
        assert cluster == "gust-FargateCluster-1"
        runs = desiredStatus == "RUNNING"
        yield {"taskArns": [name for name, left in self.containers.items() if (left is None) == runs]}

    def describe_tasks(self, *, cluster: str, tasks: Sequence[str]) -> Any:
        assert cluster == "gust-FargateCluster-1"
        found = []
        for name in tasks:
            left = self.containers[name]
            wanted, last = ("RUNNING", "RUNNING") if left is None else ("STOPPED", "STOPPING" if left else "STOPPED")
            found.append({"taskArn": name, "desiredStatus": wanted, "lastStatus": last})
            if left:
                self.containers[name] = left - 1
        return {"tasks": found}

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        assert cluster == "gust-FargateCluster-1"
        assert reason
        self.stopped.append(task)
        self.containers[task] = self.looks


class Events:
    """EventBridge as moto plays it, with AWS's refusal to delete a bus that has rules."""

    def __init__(self, *rules: str) -> None:
        self.aws = boto3.client("events", region_name="eu-west-1")
        self.aws.create_event_bus(Name="gust")
        for name in rules:
            self.make(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.aws, name)

    def make(self, name: str) -> None:
        self.aws.put_rule(Name=name, EventBusName="gust", EventPattern="{}")
        target = {"Id": "events", "Arn": "arn:aws:sqs:eu-west-1:123456789012:q"}
        self.aws.put_targets(EventBusName="gust", Rule=name, Targets=[target])

    def remove(self, name: str) -> None:
        self.aws.remove_targets(EventBusName="gust", Rule=name, Ids=["events"])
        self.aws.delete_rule(EventBusName="gust", Name=name)

    def rules(self) -> list[str]:
        return [rule["Name"] for rule in self.aws.list_rules(EventBusName="gust")["Rules"]]

    def buses(self) -> list[str]:
        return [bus["Name"] for bus in self.aws.list_event_buses(NamePrefix="gust")["EventBuses"]]

    def delete_event_bus(self, Name: str) -> None:  # noqa: N803 - boto3's
        if self.buses() and self.rules():
            raise refusal("ValidationException", "EventBus can't be deleted since it has rules.")
        self.aws.delete_event_bus(Name=Name)
