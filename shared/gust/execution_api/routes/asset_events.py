from gust.execution_api.datamodels.asset_event import EventsOfAlias, EventsOfAsset, asset_events_response
from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer
from gust.model.asset import AssetEvent
from gust.services.assets.consumed_events import assets_of, runs_made_of
from gust.services.context import Services

routes = Routes("/asset-events")


@routes.get("/by-asset", query=EventsOfAsset)
def get_asset_event_by_asset_name_uri(call: Call[None, EventsOfAsset]) -> Answer:
    asked = call.query
    if not asked.name and not asked.uri:
        return Answer(400, {"detail": {"reason": "Missing parameter", "message": "name and uri cannot both be None"}})
    events = call.services.store.list_asset_events(
        name=asked.name or None,
        uri=asked.uri or None,
        after=asked.after,
        before=asked.before,
        ascending=asked.ascending,
        limit=asked.limit,
    )
    return _answer(call.services, events)


@routes.get("/by-asset-alias", query=EventsOfAlias)
def get_asset_event_by_asset_alias(call: Call[None, EventsOfAlias]) -> Answer:
    asked = call.query
    events = call.services.store.list_asset_events(
        alias=asked.name, after=asked.after, before=asked.before, ascending=asked.ascending, limit=asked.limit
    )
    return _answer(call.services, events)


def _answer(services: Services, events: list[AssetEvent]) -> Answer:
    return Answer(body=asset_events_response(events, assets_of(services, events), runs_made_of(services, events)))
