<<<<<<< HEAD
"""API users and their sessions."""
=======
"""API users, and their sign-ins."""
>>>>>>> w-words

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gust.model.access import Role


@dataclass(frozen=True, slots=True)
class User:
<<<<<<< HEAD
    """An API user, as a token of the public API names them."""

    name: str
    role: Role | None = None
    """`None`: the user sees only the DAGs that give rights to one of their `dag_roles`."""
=======
    """The caller that a token of the public API names."""

    name: str
    role: Role | None = None
    """`None`: they see only the DAGs that give a right to one of their `dag_roles`."""
>>>>>>> w-words
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
<<<<<<< HEAD
    """A person that the OpenID provider has recognised."""
=======
    """A person signed in by an OpenID provider."""
>>>>>>> w-words

    name: str
    groups: tuple[str, ...] = ()
