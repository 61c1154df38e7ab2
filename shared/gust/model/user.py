"""API users: who sends a request, and since when they are signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gust.model.access import Role


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as a token of the public API says."""

    name: str
    role: Role | None = None
    """`None`: of DAGs they see those that give something to one of their `dag_roles`, and nothing else."""
    dag_roles: tuple[str, ...] = ()
    """Names that DAGs may give rights to, beside the role's own."""

    @property
    def names(self) -> frozenset[str]:
        """All names that a DAG's `access_control` may know them by."""
        return frozenset(self.dag_roles if self.role is None else (self.role.title, *self.dag_roles))


@dataclass(frozen=True, slots=True)
class Session:
    """What a token of a person says."""

    user: User
    issued_at: datetime
    signed_in_at: datetime
    """Earlier than it was issued, where it was given for another token."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an OpenID provider has recognised."""

    name: str
    groups: tuple[str, ...] = ()
