"""Roles of API users, and the rights that a DAG's file gives to roles by name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

AccessControl = dict[str, dict[str, list[str]]]
"""Role's name → `DAGs` or `DAG Runs` → actions (`can_read`, `can_edit`, …), as Airflow has it."""


class Role(IntEnum):
    """Airflow's roles. Each has the rights of the roles before it."""

    VIEWER = 0
    """Reads all DAGs, runs and logs, assets and pools; nothing with secrets in it."""
    USER = 1
    """Also changes DAGs and runs: pause, trigger, clear, mark, answer questions."""
    OP = 2
    """Also connections, variables, pools, assets."""
    ADMIN = 3
    """Everything."""

    @property
    def title(self) -> str:
        """As DAG files name it in their `access_control`."""
        return self.name.capitalize()

    @classmethod
    def of(cls, name: str) -> Role | None:
        """`None` for a name that is none of Airflow's."""
        return cls.__members__.get(name.upper())


def access_control_of(given: Mapping[str, Any] | None) -> AccessControl | None:
    """A DAG file's `access_control` in one form: a role's bare actions become actions on the DAG."""
    if not given:
        return None
    shaped = {role: what if isinstance(what, Mapping) else {"DAGs": what} for role, what in given.items()}
    return {
        role: {resource: sorted(actions) for resource, actions in sorted(what.items())}
        for role, what in sorted(shaped.items())
    }
