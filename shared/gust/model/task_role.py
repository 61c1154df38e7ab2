"""The AWS role that a DAG author's code has: which one the access document gives to a DAG, and a session of it.

    {"tasks": [{"path": "team_a/*", "role": "arn:aws:iam::123456789012:role/gust-team-a"},
               {"dag": "billing_*", "role": "arn:aws:iam::123456789012:role/gust-billing"}]}

The first matching entry counts. A DAG without one has the role of the worker group that its task runs in, if that has one,
else the stack's default role.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, Self

from pydantic import AfterValidator

from gust.model.dag_pattern import DagPattern, entries_of
from gust.model.dispatch import Dispatch

LONGEST_TAG: Final = 256
LONGEST_SESSION_NAME: Final = 64
"""Characters that STS takes."""

_NOT_IN_TAGS: Final = re.compile(r"[^\w .:/=+\-@]")
_NOT_IN_NAMES: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class RoleSession:
    """A session's name, which CloudTrail and GetCallerIdentity show, and its tags, which IAM policies can compare
    (`aws:PrincipalTag/dag_id`)."""

    name: str
    tags: dict[str, str]

    @classmethod
    def of(cls, caller: Dispatch) -> Self:
        """Of the try, trigger, callback, watcher or test: its id, behind the beginning of the DAG's. In tags, `_` stands for
        each character that STS refuses; in ids of DAGs and tasks there is none."""
        ids = {"dag_id": caller.key.dag_id, "run_id": caller.key.run_id, "task_id": caller.key.task_id}
        tags = {name: _NOT_IN_TAGS.sub("_", value)[:LONGEST_TAG] for name, value in ids.items() if value}
        own = str(caller.id)
        begin = _NOT_IN_NAMES.sub("_", caller.key.dag_id)[: LONGEST_SESSION_NAME - len(own) - 1]
        return cls(f"{begin}-{own}" if begin else own, tags)


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    role: str
    """The role's ARN."""
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime


def _role_arn(given: str) -> str:
    if not re.fullmatch(r"arn:[a-z0-9-]+:iam::\d{12}:role/[\w+=,.@/-]+", given, re.ASCII):
        raise ValueError("is not the ARN of an IAM role, e.g. arn:aws:iam::123456789012:role/gust-team-a")
    return given


class TaskRole(DagPattern):
    """An entry of the access document's `tasks`."""

    role: Annotated[str, AfterValidator(_role_arn)]


@lru_cache(maxsize=8)
def task_roles_of(document: str) -> tuple[TaskRole, ...]:
    """The entries of an access document's `tasks`; none without a document. Raises Invalid with the place and the fault."""
    return entries_of(document, "tasks", TaskRole)


def role_of(document: str, dag_id: str, path: str) -> str | None:
    """The role that the document gives to a DAG; `None` without a matching entry. Raises Invalid."""
    return next((entry.role for entry in task_roles_of(document) if entry.fits(dag_id, path)), None)
