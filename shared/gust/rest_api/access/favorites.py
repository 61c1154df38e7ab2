"""Which DAGs a user has marked as favorites: a setting per user and DAG."""

from typing import Final

FAVORITES: Final = "favorite_dags"
"""Namespace of settings: one of a user for each DAG they marked."""


def favorite_name(user: str, dag_id: str) -> str:
    return f"{user}/{dag_id}"
