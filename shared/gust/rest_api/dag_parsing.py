"""`/api/v2/parseDagFile/{file_token}`: have a file parsed again though nothing of it changed."""

from __future__ import annotations

import base64
import json
from uuid import uuid4

from gust.rest_api.request import Answer, Json, Request, not_found
from gust.rest_api.routing import operation
from gust.services.context import Services
from gust.services.reparse_file import reparse_file


@operation("reparse_dag_file")
def reparse_dag_file(services: Services, request: Request) -> Answer:
    named = _named_by(request.path["file_token"])
    if not any({"bundle_name": d.bundle_name, "relative_fileloc": d.relative_fileloc} == named
               for d in services.store.list_dags()):  # fmt: skip
        raise not_found("File not found")
    reparse_file(services, named["relative_fileloc"], name=f"reparse-{uuid4()}")
    return Answer(201)


def _named_by(token: str) -> Json:
    """What `dags` wrote into the token; empty for what it did not write."""
    try:
        named = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, RecursionError):
        return {}
    return named if isinstance(named, dict) else {}
