"""`/api/v2/providers`: the provider distributions in the parser, and those that environments bring."""

from __future__ import annotations

from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Paging
from gust.services.context import Services
from gust.services.settings.environment_providers import environment_providers


@operation("get_providers")
def get_providers(services: Services, request: Request) -> Json:
    query = request.query(Paging)
    found = [*services.inventory.providers(), *environment_providers(services)]
    providers = sorted(found, key=lambda each: (each["package_name"], each["version"]))
    return {"providers": query.part_of(providers), "total_entries": len(providers)}
