from gust.execution_api.datamodels.asset_event import EventsOfAlias, EventsOfAsset, asset_events_response
from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer
from gust.model.asset import AssetEvent
from gust.model.history_query import AssetEventSource
from gust.model.window import Window
from gust.services.assets.consumed_events import assets_of, runs_made_of
from gust.services.context import Services

routes = Routes("/asset-events")


@routes.get("/by-asset", query=EventsOfAsset)
def get_asset_event_by_asset_name_uri(call: Call[None, EventsOfAsset]) -> Answer:
    query = call.query
    if not query.name and not query.uri:
        return Answer(400, {"detail": {"reason": "Missing parameter", "message": "name and uri cannot both be None"}})
    events = call.services.store.list_asset_events(
        AssetEventSource(name=query.name or None, uri=query.uri or None),
        Window(query.after, query.before, ascending=query.ascending),
        limit=query.limit,
    )
    return _answer(call.services, events)


@routes.get("/by-asset-alias", query=EventsOfAlias)
def get_asset_event_by_asset_alias(call: Call[None, EventsOfAlias]) -> Answer:
    query = call.query
    window = Window(query.after, query.before, ascending=query.ascending)
    events = call.services.store.list_asset_events(AssetEventSource(alias=query.name), window, limit=query.limit)
    return _answer(call.services, events)


def _answer(services: Services, events: list[AssetEvent]) -> Answer:
    return Answer(body=asset_events_response(events, assets_of(services, events), runs_made_of(services, events)))
