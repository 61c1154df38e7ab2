"""API users and their sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gust.model.access import Role


@dataclass(frozen=True, slots=True)
class User:
    """An API user, as a token of the public API names them."""

    name: str
    role: Role | None = None
    """`None`: the user sees only the DAGs that give rights to one of their `dag_roles`."""
    dag_roles: tuple[str, ...] = ()
    """Further names that DAGs may give rights to."""

    @property
    def names(self) -> frozenset[str]:
        """All names that may stand in a DAG's `access_control` and mean this user."""
        return frozenset(self.dag_roles if self.role is None else (self.role.title, *self.dag_roles))


@dataclass(frozen=True, slots=True)
class Session:
    """What a user's token says."""

    user: User
    issued_at: datetime
    signed_in_at: datetime
    """Earlier than `issued_at` if the token was issued for an older one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person that the OpenID provider has recognised."""

    name: str
    groups: tuple[str, ...] = ()
