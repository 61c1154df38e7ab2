"""The AWS role that a DAG author's code has: which one the access document gives to a DAG, and a session of it.

    {"tasks": [{"path": "team_a/*", "role": "arn:aws:iam::123456789012:role/gust-team-a"},
               {"dag": "billing_*", "role": "arn:aws:iam::123456789012:role/gust-billing"}]}

The first matching entry counts; a DAG without one has the stack's default role. An entry with both `dag` and `path` asks
for both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from gust.errors import Invalid
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


class TaskRole(BaseModel):
    """An entry of the access document's `tasks`. `*` matches any characters, slashes included."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    dag: str | None = None
    """Of DAG ids."""
    path: str | None = None
    """Of DAG files, from the folder `dags/` on."""
    role: Annotated[str, AfterValidator(_role_arn)]

    @model_validator(mode="after")
    def _names_dags(self) -> Self:
        if not self.dag and not self.path:
            raise ValueError('names neither dag nor path; {"dag": "*"} is every DAG')
        return self

    def fits(self, dag_id: str, path: str) -> bool:
        return _matches(self.dag or "*", dag_id) and _matches(self.path or "*", path)


@lru_cache(maxsize=8)
def task_roles_of(document: str) -> tuple[TaskRole, ...]:
    """The entries of an access document's `tasks`; none without a document. Raises Invalid with the place and the fault."""
    if not document.strip():
        return ()
    try:
        found: Any = json.loads(document)
        if not isinstance(found, dict):
            raise Invalid("The access document is invalid: it is no JSON object")
        return TypeAdapter(tuple[TaskRole, ...]).validate_python(found.get("tasks", ()))
    except json.JSONDecodeError as error:
        raise Invalid(f"The access document is not JSON: {error}") from error
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(["tasks", *(str(part) for part in wrong["loc"])])
        reason = wrong["msg"].removeprefix("Value error, ")
        raise Invalid(f"The access document is invalid: {where}: {reason}") from error


def role_of(document: str, dag_id: str, path: str) -> str | None:
    """The role that the document gives to a DAG; `None` without a matching entry. Raises Invalid."""
    return next((entry.role for entry in task_roles_of(document) if entry.fits(dag_id, path)), None)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None
