"""File tokens: opaque names of DAG files for API users."""

from __future__ import annotations

import base64
import json

from gust.http.answer import Json
from gust.model.dag import Dag
from gust.services.context import Services


def file_token(dag: Dag) -> str:
    """Names the DAG's file to operations on files. It is opaque but no secret: each operation checks the user's
    rights."""
    named = {"bundle_name": dag.bundle_name, "relative_fileloc": dag.relative_fileloc}
    return base64.urlsafe_b64encode(json.dumps(named).encode()).decode().rstrip("=")


def dags_of_token(services: Services, token: str) -> list[Dag]:
    """The DAGs of the file that the token names."""
    named = _named_by(token)
    return [
        dag
        for dag in services.store.list_dags()
        if {"bundle_name": dag.bundle_name, "relative_fileloc": dag.relative_fileloc} == named
    ]


def _named_by(token: str) -> Json:
    """The file that `dags` wrote into the token; empty for any other token."""
    try:
        named = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, RecursionError):
        return {}
    return named if isinstance(named, dict) else {}
