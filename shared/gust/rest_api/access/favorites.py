"""A user's favorite DAGs: a setting per user and DAG."""

from typing import Final

FAVORITES: Final = "favorite_dags"
"""Namespace of settings: an entry per user and favorite DAG."""


def favorite_name(user: str, dag_id: str) -> str:
    return f"{user}/{dag_id}"
