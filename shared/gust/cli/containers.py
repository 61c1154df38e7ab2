"""Stops the tasks of a stack that run in containers, before its cluster goes.

Step Functions deletes a state machine when its last execution has ended, and a container may run for days. ECS deletes no
cluster that has a task. So CloudFormation's change would fail half-way, and the container would go on. Meanwhile the
scheduler may start further ones: a stopped try has retries, and makes room for others. So `delete` and `deploy` stop what
starts until CloudFormation has ended. It deletes the cluster after the state machine, without which none starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from gust.cli.aws import AwsError, Clients, Stack
from gust.cli.changes import ChangeSet
from gust.cli.resources import resources_of

STATE_MACHINE: Final = "FargateTask"
CLUSTER: Final = "FargateCluster"
NETWORK: Final = "FargateNetwork"

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the cluster."""

QUIET_LOOKS: Final = 2
"""Looks in a row that find nothing: an invocation of the scheduler, or a call of RunTask, may not have ended yet."""

PATIENCE: Final = 300.0
"""Seconds until containers are gone: SIGTERM leaves a task two minutes, and Fargate then removes the network interface."""

TELL_EVERY: Final = 15.0
"""Seconds between two lines of progress: some looks."""

GONE: Final = frozenset({"StateMachineDoesNotExist", "ClusterNotFoundException"})
"""What AWS answers once CloudFormation has deleted one of the two."""

ENDED_BEFORE: Final = frozenset({"ExecutionDoesNotExist", "InvalidParameterException", "ValidationException"})
"""What AWS answers to the stop of an execution or a task that has ended since it was listed."""

AT_ONCE: Final = 100
"""ARNs that DescribeTasks takes."""


@dataclass(frozen=True, slots=True)
class Containers:
    """A stack's, as the account of its operator sees them. `None`: CloudFormation has deleted it."""

    aws: Clients
    state_machine: str | None
    cluster: str | None

    def count(self) -> int:
        """Containers, and executions that still wait for one."""
        return max(len(self._executions()), len(self._tasks()))

    def stop(self) -> int:
        """Stops everything that runs. Returns the number of containers that are not yet gone."""
        executions = self._executions()
        for execution in executions:
            with _allowing(ENDED_BEFORE):
                self.aws("stepfunctions").stop_execution(
                    executionArn=execution, cause="The stack's cluster is being deleted."
                )
        tasks = self._tasks()
        for task in tasks:
            if task["desiredStatus"] != "STOPPED":
                with _allowing(ENDED_BEFORE):
                    self.aws("ecs").stop_task(
                        cluster=self.cluster, task=task["taskArn"], reason="The stack's cluster is being deleted."
                    )
        return max(len(executions), len(tasks))

    def stop_all(self, say: Callable[[str], None], *, pause: Callable[[float], None] = time.sleep) -> None:
        """Stop everything and wait until it is gone. Raises AwsError after pauses of PATIENCE."""
        waited, quiet = 0.0, 0
        while quiet < QUIET_LOOKS:
            left = self.stop()
            quiet = 0 if left else quiet + 1
            if left and waited >= PATIENCE:
                raise AwsError(
                    f"the cluster {self.cluster} still has {_containers(left)} after {PATIENCE / 60:.0f} minutes. Try "
                    "again; pause DAGs that start more."
                )
            if left and waited % TELL_EVERY == 0:
                say(f"Stopping {_containers(left)} …")
            pause(LOOK_EVERY)
            waited += LOOK_EVERY

    def stop_again(self) -> None:
        """Stops what has started since. A refusal of AWS is ignored: CloudFormation's end tells whether it mattered."""
        with _allowing(None):
            self.stop()

    def _executions(self) -> list[str]:
        if self.state_machine is None:
            return []
        found: list[str] = []
        with _allowing(GONE):
            pages = self.aws("stepfunctions").get_paginator("list_executions")
            for page in pages.paginate(stateMachineArn=self.state_machine, statusFilter="RUNNING"):
                found += [each["executionArn"] for each in page["executions"]]
        return found

    def _tasks(self) -> list[dict[str, Any]]:
        """Tasks that ECS counts for the cluster: one that is to stop is among them until it has."""
        if self.cluster is None:
            return []
        ecs = self.aws("ecs")
        found: list[dict[str, Any]] = []
        with _allowing(GONE):
            listed = [
                task
                for wanted in ("RUNNING", "STOPPED")
                for page in ecs.get_paginator("list_tasks").paginate(cluster=self.cluster, desiredStatus=wanted)
                for task in page["taskArns"]
            ]
            for start in range(0, len(listed), AT_ONCE):
                described = ecs.describe_tasks(cluster=self.cluster, tasks=listed[start : start + AT_ONCE])["tasks"]
                found += [task for task in described if task["lastStatus"] != "STOPPED"]
        return found


def containers_of(aws: Clients, stack: Stack) -> Containers | None:
    """`None`: the stack has no Fargate."""
    found = {
        each.logical_id: each.id for each in resources_of(aws, stack) if each.logical_id in (STATE_MACHINE, CLUSTER)
    }
    return Containers(aws, found.get(STATE_MACHINE), found.get(CLUSTER)) if found else None


def loses_containers(change: ChangeSet) -> bool:
    """True if CloudFormation is to delete the cluster, or the state machine that starts containers in it."""
    return any(change.has("Remove", name) for name in (STATE_MACHINE, CLUSTER))


def loses_network(change: ChangeSet) -> bool:
    """True if CloudFormation is to delete the network that the stack has made for its containers."""
    return change.has("Remove", NETWORK)


def what_loses_network(count: int) -> str:
    """Why the network stays, and what the operator can do."""
    return (
        f"{_containers(count)} would lose the way to AWS: this change deletes the network that the stack has made for "
        "containers. Wait until they have ended, or clear or mark their tasks; then deploy again."
    )


def what_stops(count: int) -> str:
    """A sentence for the operator, before they confirm."""
    return (
        f"It stops {_containers(count)} with what runs in {'it' if count == 1 else 'them'}: the tasks' retries apply."
    )


@contextmanager
def _allowing(codes: frozenset[str] | None) -> Iterator[None]:
    """Ends the body at these refusals of AWS, without an error; `None`: at all."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as refused:
        if codes is not None and refused.response["Error"]["Code"] not in codes:
            raise


def _containers(count: int) -> str:
    return "1 container" if count == 1 else f"{count} containers"
