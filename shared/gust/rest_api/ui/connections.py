"""`/ui/connections/hook_meta`: the form fields of each connection type, which layer `web` extracts from the
providers."""

from __future__ import annotations

from gust.http.answer import Answer
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.http.web import web_files
from gust.services.context import Services


@ui_operation("hook_meta_data")
def hook_meta_data(services: Services, request: Request) -> Answer:  # noqa: ARG001 - a handler's signature
    return Answer(body=web_files().connection_types)
