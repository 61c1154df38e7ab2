"""`/api/v2/parseDagFile/{file_token}`: have a file parsed again though nothing of it changed."""

from __future__ import annotations

import base64
import json
from uuid import uuid4

from gust.model.dag import Dag
from gust.rest_api.request import Answer, Json, Request, not_found
from gust.rest_api.routing import operation
from gust.services.context import Services
from gust.services.reparse_file import reparse_file


@operation("reparse_dag_file")
def reparse_dag_file(services: Services, request: Request) -> Answer:
    found = dags_of_token(services, request.path["file_token"])
    if not found:
        raise not_found("File not found")
    reparse_file(services, found[0].relative_fileloc, name=f"reparse-{uuid4()}")
    return Answer(201)


def dags_of_token(services: Services, token: str) -> list[Dag]:
    """The DAGs of the file that the token names."""
    named = _named_by(token)
    return [
        dag
        for dag in services.store.list_dags()
        if {"bundle_name": dag.bundle_name, "relative_fileloc": dag.relative_fileloc} == named
    ]


def _named_by(token: str) -> Json:
    """What `dags` wrote into the token; empty for what it did not write."""
    try:
        named = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, RecursionError):
        return {}
    return named if isinstance(named, dict) else {}
