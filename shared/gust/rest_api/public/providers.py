"""`/api/v2/providers`: the provider distributions in the parser."""

from __future__ import annotations

from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Paging
from gust.services.context import Services


@operation("get_providers")
def get_providers(services: Services, request: Request) -> Json:
    query = request.query(Paging)
    providers = services.inventory.providers()
    return {"providers": query.part_of(providers), "total_entries": len(providers)}
