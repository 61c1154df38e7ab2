"""`/api/v2/parseDagFile/{file_token}`: parses an unchanged file again."""

from __future__ import annotations

from uuid import uuid4

from gust.http.answer import Answer, not_found
from gust.rest_api.access.file_tokens import dags_of_token
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services
from gust.services.deployments.reparse_file import reparse_file


@operation("reparse_dag_file")
def reparse_dag_file(services: Services, request: Request) -> Answer:
    found = dags_of_token(services, request.path["file_token"])
    if not found:
        raise not_found("File not found")
    reparse_file(services, found[0].relative_fileloc, name=f"reparse-{uuid4()}")
    return Answer(201)
