"""The access document: it maps IAM principals and OIDC groups to roles, and DAGs to the AWS roles of their tasks.

    {"iam":  [{"principal": "arn:aws:sts::123456789012:assumed-role/DataTeam/*", "role": "User"}],
     "oidc": [{"group": "airflow-admins", "role": "Admin"},
              {"group": "team-a", "dag_roles": ["team-a"]}]}

All matching entries count: the highest of their roles, and all of their `dag_roles`, to which DAGs may give rights in
their `access_control`. A user without a matching entry is refused. Without a document every principal that IAM lets in
is an administrator, and OIDC sign-in is off (docs/adr/0017-who-may-what-is-one-document.md). `gust.model.task_role` reads
`tasks`, `gust.model.queue_access` reads `queues`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from gust.errors import Invalid
from gust.model.access import Role
from gust.model.queue_access import QueueAccess
from gust.model.task_role import TaskRole
from gust.model.user import User
from gust.rest_api.lists.like import Like, literal

ASK_AGAIN_AFTER: Final = 60.0
"""Seconds until a changed document takes effect."""


def _role(given: Any) -> Any:
    if isinstance(given, str) and (role := Role.of(given)) is not None:
        return role
    raise ValueError(f"is none of {', '.join(role.title for role in Role)}")


def _pattern(given: str) -> str:
    if not re.match(r"arn:[^:]+:(iam|sts)::(\d{12}|\*):.+", given):
        raise ValueError("is not the ARN of an IAM principal, e.g. arn:aws:sts::123456789012:assumed-role/DataTeam/*")
    return given


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    role: Annotated[Role | None, BeforeValidator(lambda given: None if given is None else _role(given))] = None
    dag_roles: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _gives_something(self) -> _Entry:
        if self.role is None and not self.dag_roles:
            raise ValueError("gives neither a role nor dag_roles")
        if known := [name for name in self.dag_roles if Role.of(name) is not None]:
            raise ValueError(f"{known[0]} is one of Airflow's roles; give it as role")
        return self


class IamEntry(_Entry):
    principal: Annotated[str, AfterValidator(_pattern)]
    """ARN of the signer as AWS reports it; `*` matches any characters."""
    tag: str | None = None
    """Value of a session tag. API Gateway passes no tags: the caller names it in the signed path, and their IAM policy
    allows no other path: `…/POST/auth/token/as/${aws:PrincipalTag/gust}`."""


class OidcEntry(_Entry):
    group: str


class AccessDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    iam: tuple[IamEntry, ...] = ()
    oidc: tuple[OidcEntry, ...] = ()
    tasks: tuple[TaskRole, ...] = ()
    queues: tuple[QueueAccess, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AccessDocument:
        """Raises Invalid with the place and the fault."""
        try:
            return cls.model_validate(json.loads(text))
        except json.JSONDecodeError as error:
            raise Invalid(f"The access document is not JSON: {error}") from error
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in wrong["loc"]) or "it"
            raise Invalid(
                f"The access document is invalid: {where}: {wrong['msg'].removeprefix('Value error, ')}"
            ) from error

    def of_principal(self, arn: str, tag: str | None = None) -> User | None:
        """The user of a signer. With a tag, only entries with that tag count."""
        fitting = (e for e in self.iam if e.tag == tag and _compiled(e.principal).matches(arn))
        return _merged(arn, fitting)

    def of_groups(self, name: str, groups: Iterable[str]) -> User | None:
        theirs = set(groups)
        return _merged(name, (entry for entry in self.oidc if entry.group in theirs))


class Access:
    """The current document. `text` returns it; empty text: there is none."""

    def __init__(
        self, text: Callable[[], str] = lambda: "", *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = text
        self._monotonic = monotonic
        self._known: tuple[float, AccessDocument | None] | None = None

    def of_principal(self, arn: str, tag: str | None = None) -> User | None:
        """The signer's user; `None` without a matching entry. Raises Invalid for an invalid document, which refuses
        every signer."""
        document = self._document()
        if document is not None:
            return document.of_principal(arn, tag)
        # A principal that may sign for one tag only has fewer rights than one that may sign for any.
        return User(arn, Role.ADMIN) if tag is None else None

    def of_groups(self, name: str, groups: Iterable[str]) -> User | None:
        document = self._document()
        return None if document is None else document.of_groups(name, groups)

    def _document(self) -> AccessDocument | None:
        now = self._monotonic()
        if self._known is None or now - self._known[0] >= ASK_AGAIN_AFTER:
            text = self._ask()
            self._known = now, AccessDocument.parse(text) if text.strip() else None
        return self._known[1]


def _merged(name: str, entries: Iterable[_Entry]) -> User | None:
    fitting = list(entries)
    if not fitting:
        return None
    role = max((entry.role for entry in fitting if entry.role is not None), default=None)
    return User(name, role, tuple(sorted({name for entry in fitting for name in entry.dag_roles})))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Like:
    return Like("%".join(map(literal, pattern.split("*"))))
