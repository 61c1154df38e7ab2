"""The AWS roles of tasks."""

from __future__ import annotations

from typing import Protocol

from gust.errors import Forbidden
from gust.model.task_role import AwsCredentials, RoleSession


class TaskRoles(Protocol):
    @property
    def default(self) -> str:
        """ARN of the role of DAGs that the access document gives none; empty if the stack has none."""

    def document(self) -> str:
        """The access document; empty if the stack has none. Up to a minute old. Raises Forbidden where it cannot be read."""

    def assume(self, role: str, session: RoleSession) -> AwsCredentials:
        """New credentials of a session of the role, for an hour. Raises Forbidden, with AWS's reason, where AWS refuses it;
        ServiceUnavailable where AWS may give them later."""


class NoTaskRoles:
    """For functions that give no credentials away."""

    default = ""

    def document(self) -> str:
        return ""

    def assume(self, role: str, session: RoleSession) -> AwsCredentials:  # noqa: ARG002
        raise Forbidden("This stack has no role for tasks")
