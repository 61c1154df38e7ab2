"""`/docs`, `/redoc` and `/openapi.json`: the REST API's contract, and a page to read it and to try it.

The page needs no sign-in, as the web UI's; the contract needs one, as every answer of the API.
"""

from __future__ import annotations

from typing import Final

from gust.http.answer import Answer
from gust.rest_api.http.operations import Operation
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import Handler
from gust.rest_api.http.web import base_path, web_files
from gust.services.context import Services

DOCS_OPERATIONS: Final[dict[str, Operation]] = {
    "get_docs": Operation("GET", "/docs"),
    "get_redoc": Operation("GET", "/redoc"),
    "get_openapi": Operation("GET", "/openapi.json"),
}
"""FastAPI's routes. They are no part of the contract."""

DOCS_PAGES: Final = frozenset({"get_docs", "get_redoc"})


def get_docs(services: Services, request: Request) -> Answer:  # noqa: ARG001 - a handler's signature
    page = web_files().docs_page(base_path(request.event))
    return Answer(200, page, content_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})


def get_redoc(services: Services, request: Request) -> Answer:  # noqa: ARG001
    """Answers with the page of `/docs`: Airflow's ReDoc page shows the same document."""
    return Answer(307, "", content_type="text/plain", headers={"Location": f"{base_path(request.event)}docs"})


def get_openapi(services: Services, request: Request) -> Answer:  # noqa: ARG001
    # The document is JSON already.
    return Answer(200, web_files().contract(base_path(request.event)), content_type="application/json; charset=utf-8")


DOCS_HANDLERS: Final[dict[str, Handler]] = {"get_docs": get_docs, "get_redoc": get_redoc, "get_openapi": get_openapi}
