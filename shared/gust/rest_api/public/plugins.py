"""`/api/v2/plugins`: plugins of the active bundle and of installed distributions, read from the parser."""

from __future__ import annotations

from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Paging
from gust.services.context import Services


@operation("get_plugins")
def get_plugins(services: Services, request: Request) -> Json:
    query = request.query(Paging)
    plugins = services.inventory.plugins(_active(services))
    return {"plugins": query.part_of(plugins), "total_entries": len(plugins)}


@operation("import_errors")
def import_errors(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    errors = services.inventory.plugin_import_errors(_active(services))
    return {
        "import_errors": [{"source": source, "error": error} for source, error in errors.items()],
        "total_entries": len(errors),
    }


def _active(services: Services) -> str | None:
    bundle = services.store.active_bundle()
    return bundle.version if bundle else None
