"""`/api/v2/assets`: assets, aliases, events and their queues, materializing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Final
from uuid import uuid4

from pydantic import AwareDatetime, Field, StringConstraints

from gust.errors import BadRequest
from gust.http.answer import Answer, Json, Problem, not_found
from gust.http.check import Query
from gust.model.asset import Asset, AssetAlias, AssetEvent, AssetKey, AssetReference, number_of, number_of_event
from gust.model.dag_run import DagRun
from gust.model.field_values import values_of
from gust.model.history_query import AssetEventQuery, AssetEventSource
from gust.model.keys import DagRunKey
from gust.model.state import DagRunTriggeredByType, DagRunType
from gust.model.watcher import Watcher
from gust.model.window import NEWEST_FIRST, Window
from gust.rest_api.http.request import Body, NamedMoment, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Elsewhere, Filter, Filters, ListQuery, between, equal, narrows, query_of, search
from gust.rest_api.lists.history import COUNTED, page_of_walk, window_of
from gust.rest_api.lists.listing import Ordering, filtered_page, named, page
from gust.rest_api.public.dag_run import TriggerBody, existing_run
from gust.services.assets.active_assets import active_among
from gust.services.assets.consumed_events import Consumption, consumed_by, runs_made_of
from gust.services.assets.register_asset_event import register_asset_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.runs.public_form import dag_run_fields

NO_CONTENT: Final = Answer(204)
MAX_PARTITION_KEY: Final = 250
SORTED_EVENTS: Final = 200
"""The newest events, among which a page is sorted if its order is not by time."""
LATE: Final = timedelta(hours=1)
"""Tasks send no event after their run's end, but a worker's clock may be ahead."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

# --- assets -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AssetRow:
    asset: Asset
    references: Sequence[AssetReference] = ()
    aliases: Sequence[AssetAlias] = ()
    watchers: Sequence[tuple[str, Watcher]] = ()
    """Name and watcher of each."""

    @property
    def number(self) -> int:
        return number_of(*self.asset.key)

    def used(self, use: str) -> list[AssetReference]:
        """Schedules or tasks that name the asset itself, without references by name or URI."""
        found = [ref for ref in self.references if ref.use == use and ref.what == "asset"]
        return sorted(found, key=lambda ref: (ref.dag_id, ref.task_id))


_plain_values: Final = values_of(Asset, "name", "uri", "group", "extra", "created_at")


def asset_response(row: AssetRow, last: AssetEvent | None) -> Json:
    asset = row.asset
    return {
        **_plain_values(asset),
        "id": row.number,
        "updated_at": asset.updated_at or asset.created_at,
        "scheduled_dags": [_reference(ref, "dag_id") for ref in row.used("schedule")],
        "producing_tasks": [_reference(ref, "dag_id", "task_id") for ref in row.used("outlet")],
        "consuming_tasks": [_reference(ref, "dag_id", "task_id") for ref in row.used("inlet")],
        "aliases": [alias_response(alias) for alias in row.aliases],
        "watchers": [
            {"name": name, "trigger_id": number_of(watcher.watcher_id), "created_date": watcher.created_at}
            for name, watcher in row.watchers
        ],
        "last_asset_event": {
            "id": number_of_event(last.event_id) if last else None,
            "timestamp": last.timestamp if last else None,
        },
    }


def _reference(reference: AssetReference, *names: str) -> Json:
    # References are never changed.
    born = {"created_at": reference.created_at, "updated_at": reference.created_at}
    return {name: getattr(reference, name) for name in names} | born


class _AssetsQuery(ListQuery):
    dag_ids: Annotated[list[str], Elsewhere("read of the references of the assets that pass the filters")] = []
    only_active: Annotated[bool, Elsewhere("read of the references and aliases of the assets that pass")] = True


ASSET_FILTERS: Final = Filters[Asset](search("name", lambda a: a.name), search("uri", lambda a: a.uri))
AssetsQuery: Final = query_of(_AssetsQuery, ASSET_FILTERS)
ASSET_ORDERING: Final = Ordering[AssetRow](
    attributes={
        # Airflow's ids grow with time.
        "id": lambda row: (row.asset.created_at or _LONG_AGO).isoformat(),
        "name": lambda row: row.asset.name,
        "uri": lambda row: row.asset.uri,
        "created_at": lambda row: row.asset.created_at,
        "updated_at": lambda row: row.asset.updated_at or row.asset.created_at,
    },
    key=lambda row: ((row.asset.created_at or _LONG_AGO).isoformat(), row.asset.name, row.asset.uri),
)


@operation("get_assets")
def get_assets(services: Services, request: Request) -> Json:
    query = request.query(AssetsQuery)
    order = ASSET_ORDERING.resolve(query.order_by)
    dag_ids = query.dag_ids
    if len(dag_ids) == 1 and "," in dag_ids[0]:
        dag_ids = dag_ids[0].split(",")
    everything = services.store.list_assets()
    rows = _rows(services, list(filter(ASSET_FILTERS.matches(query), everything)))
    if query.only_active:
        rows = [row for row in rows if row.references or row.aliases]
        active = active_among(services, (row.asset for row in rows), everything)
        rows = [row for row in rows if row.asset.key in active]
    if dag_ids:
        rows = [row for row in rows if any(r.dag_id in dag_ids and r.what == "asset" for r in row.references)]
    found = page(rows, order, limit=query.limit, offset=query.offset)
    return found.answer("assets", lambda row: asset_response(row, _last_event(services, row.asset)))


@operation("get_asset")
def get_asset(services: Services, request: Request) -> Json:
    number = request.path_value("asset_id", int)
    asset = asset_of_number(services, number)
    if asset is None:
        raise not_found(f"The Asset with ID: `{number}` was not found")
    (row,) = _rows(services, [asset])
    return asset_response(row, _last_event(services, asset))


def _rows(services: Services, assets: Sequence[Asset]) -> list[AssetRow]:
    references = services.store.references_to_assets([asset.key for asset in assets])
    aliases: dict[AssetKey, list[AssetAlias]] = {}
    of_aliases = services.store.assets_of_aliases() if assets else {}
    for alias in services.store.list_asset_aliases() if of_aliases else ():
        for key in of_aliases.get(alias.name, ()):
            aliases.setdefault(key, []).append(alias)
    watchers: dict[AssetKey, list[tuple[str, Watcher]]] = {}
    for watcher in services.store.list_watchers() if assets else ():
        for name, key in sorted({(want.watcher_name, want.asset) for want in watcher.wants}):
            watchers.setdefault(key, []).append((name, watcher))
    return [
        AssetRow(asset, references[asset.key], aliases.get(asset.key, ()), watchers.get(asset.key, ()))
        for asset in assets
    ]


def asset_of_number(services: Services, number: int) -> Asset | None:
    """The asset with the number, a hash of its names: searches the list of assets."""
    return next((asset for asset in services.store.list_assets() if number_of(*asset.key) == number), None)


def _last_event(services: Services, asset: Asset) -> AssetEvent | None:
    last = services.store.list_asset_events(AssetEventSource(name=asset.name, uri=asset.uri), NEWEST_FIRST, limit=1)
    return last[0] if last else None


# --- aliases ----------------------------------------------------------------------------------------------------------


def alias_response(alias: AssetAlias) -> Json:
    return {"id": number_of(alias.name), "name": alias.name, "group": alias.group}


ALIAS_FILTERS: Final = Filters[AssetAlias](search("name", lambda alias: alias.name))
AliasesQuery: Final = query_of(ListQuery, ALIAS_FILTERS)
ALIAS_ORDERING: Final = Ordering[AssetAlias](
    attributes={"id": lambda alias: number_of(alias.name), "name": lambda alias: alias.name},
    key=lambda alias: (number_of(alias.name),),
)


@operation("get_asset_aliases")
def get_asset_aliases(services: Services, request: Request) -> Json:
    query = request.query(AliasesQuery)
    found = filtered_page(services.store.list_asset_aliases(), query, ALIAS_ORDERING, ALIAS_FILTERS)
    return found.answer("asset_aliases", alias_response)


@operation("get_asset_alias")
def get_asset_alias(services: Services, request: Request) -> Json:
    number = request.path_value("asset_alias_id", int)
    alias = next((a for a in services.store.list_asset_aliases() if number_of(a.name) == number), None)
    if alias is None:
        raise not_found(f"The Asset Alias with ID: `{number}` was not found")
    return alias_response(alias)


# --- events -----------------------------------------------------------------------------------------------------------


def event_response(event: AssetEvent, runs: Iterable[Consumption]) -> Json:
    return {
        "id": number_of_event(event.event_id),
        "asset_id": number_of(*event.asset),
        "uri": event.uri,
        "name": event.name,
        "group": event.group,
        "extra": event.extra,
        "source_task_id": event.source_task_id,
        "source_dag_id": event.source_dag_id,
        "source_run_id": event.source_run_id,
        "source_map_index": event.source_map_index,
        "created_dagruns": [_created_run(consumption) for consumption in runs],
        "timestamp": event.timestamp,
        "partition_key": event.partition_key,
    }


_plain_of_run: Final = values_of(
    DagRun, "run_id", "dag_id", "logical_date", "end_date", "data_interval_start", "data_interval_end", "partition_key"
)


def _created_run(consumption: Consumption) -> Json:
    run = consumption.run
    return {
        **_plain_of_run(run),
        # Airflow's answer fails for a run that has not started.
        "start_date": run.start_date or run.queued_at,
        "state": run.state.value,
        "triggering": consumption.is_trigger,
    }


class _EventsQuery(ListQuery):
    order_by: list[str] = ["timestamp"]
    asset_id: Annotated[int | None, Elsewhere("the store walks the events of one asset")] = None


def _moment(event: AssetEvent) -> datetime:
    return event.timestamp


SOURCE_DAG: Final[Filter[AssetEvent]] = equal("source_dag_id", str, lambda e: e.source_dag_id)
SOURCE_RUN: Final[Filter[AssetEvent]] = equal("source_run_id", str, lambda e: e.source_run_id)
EVENT_FILTERS: Final = Filters[AssetEvent](
    SOURCE_DAG,
    equal("source_task_id", str, lambda e: e.source_task_id),
    SOURCE_RUN,
    equal("source_map_index", int, lambda e: e.source_map_index),
    search("name", lambda e: e.name),
    between("timestamp", datetime, _moment),
)
EventsQuery: Final = query_of(_EventsQuery, EVENT_FILTERS)
EVENT_ORDERING: Final = Ordering[AssetEvent](
    attributes={
        **named("source_task_id", "source_dag_id", "source_run_id", "source_map_index"),
        "timestamp": _moment,
    },
    key=lambda e: (e.timestamp.isoformat(), e.event_id),
)


@operation("get_asset_events")
def get_asset_events(services: Services, request: Request) -> Json:
    query = request.query(EventsQuery)
    order = EVENT_ORDERING.resolve(query.order_by)
    asset = None
    if query.asset_id is not None:
        if (known := asset_of_number(services, query.asset_id)) is None:
            return _collection(services, [], 0)
        asset = known.key
    window = window_of(query, "timestamp")
    source_dag_id, source_run_id = SOURCE_DAG.value(query), SOURCE_RUN.value(query)
    if source_dag_id is not None and source_run_id is not None:
        window = _while_running(services, DagRunKey(source_dag_id, source_run_id), window)
    asked = AssetEventQuery(asset, window, source_dag_id=source_dag_id)
    matches = EVENT_FILTERS.matches(query)

    def total() -> int | None:
        by_store = {"asset_id", "timestamp_gte", "timestamp_lte"} | ({"source_dag_id"} if asset is None else set())
        return (
            None
            if narrows(query, except_=by_store)
            else services.store.count_asset_events(asked, limit=query.offset + COUNTED)
        )

    if not order.is_by(_moment):
        newest = islice(services.store.walk_asset_events(asked), SORTED_EVENTS)
        found = page(filter(matches, newest), order, limit=query.limit, offset=query.offset)
        return _collection(services, found.rows, found.total_entries)
    in_order = replace(asked, window=window.read(ascending=not order.key_descends))
    events = services.store.walk_asset_events(in_order)
    found = page_of_walk(events, matches, order, limit=query.limit, offset=query.offset, total=total)
    return _collection(services, found.rows, found.total_entries)


def _while_running(services: Services, key: DagRunKey, window: Window) -> Window:
    """The part of the window in which the run's tasks can have sent events: from its `run_after` to its end."""
    if (run := services.store.get_run(key)) is None:
        return window
    ended = run.end_date + LATE if run.is_finished and run.end_date else None
    return window.narrowed(run.run_after, ended)


@operation("get_upstream_asset_events")
def get_upstream_asset_events(services: Services, request: Request) -> Json:
    run = existing_run(services, DagRunKey(request.path["dag_id"], request.path["dag_run_id"]))
    events = consumed_by(services, run)
    return _collection(services, events, len(events))


class AccessControlBody(Body):
    consumer_teams: list[str] | None = None
    allow_global: bool = True


class CreateEventBody(Body):
    asset_id: int
    partition_key: Annotated[str, StringConstraints(pattern=r"\S", max_length=MAX_PARTITION_KEY)] | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    access_control: AccessControlBody | None = None
    """For Airflow's teams, which Gust does not have."""


@operation("create_asset_event")
def create_asset_event(services: Services, request: Request) -> Json:
    body = request.body(CreateEventBody)
    asset = asset_of_number(services, body.asset_id)
    if asset is None:
        raise not_found(f"Asset with ID: `{body.asset_id}` was not found")
    event = AssetEvent(
        event_id=str(uuid4()),
        name=asset.name,
        uri=asset.uri,
        group=asset.group,
        timestamp=request.now,
        extra=body.extra | {"from_rest_api": True},
        partition_key=body.partition_key,
    )
    (stored,) = register_asset_events(services, event.event_id, [event])
    if (bundle := services.store.active_bundle()) is not None:
        tell_of_events(services, [stored], listeners=bundle.listeners, bundle_version=bundle.version)
    return event_response(stored, ())


def _collection(services: Services, events: Sequence[AssetEvent], total: int) -> Json:
    runs = runs_made_of(services, events)
    return {"asset_events": [event_response(event, runs[event.event_id]) for event in events], "total_entries": total}


# --- materializing ----------------------------------------------------------------------------------------------------


class MaterializeBody(TriggerBody):
    logical_date: AwareDatetime | None = None


@operation("materialize_asset")
def materialize_asset(services: Services, request: Request) -> Json:
    number = request.path_value("asset_id", int)
    asset = asset_of_number(services, number)
    outlets = [] if asset is None else _rows(services, [asset])[0].used("outlet")
    dag_ids = sorted({ref.dag_id for ref in outlets})
    if not dag_ids:
        raise not_found(f"No Dag materializes asset with ID: {number}")
    if len(dag_ids) > 1:
        raise Problem(409, f"More than one Dag materializes asset with ID: {number}")
    body = request.body(MaterializeBody) if request.raw_body.strip() else MaterializeBody()
    run = _materializing_run(services, dag_ids[0], body, request)
    return dag_run_fields(run, services.store.get_version(run.dag_id, run.version_number))


def _materializing_run(services: Services, dag_id: str, body: MaterializeBody, request: Request) -> DagRun:
    dag = services.store.get_dag(dag_id)
    run_type = DagRunType.ASSET_MATERIALIZATION
    if dag is not None and dag.allowed_run_types is not None and run_type not in dag.allowed_run_types:
        raise BadRequest(f"Dag with dag_id: '{dag_id}' does not allow asset materialization runs")
    return create_dag_run(
        services,
        dag_id,
        **body.asked(),
        run_type=run_type,
        triggered_by=DagRunTriggeredByType.REST_API,
        triggering_user_name=request.user.name,
    )


# --- queued events ----------------------------------------------------------------------------------------------------


class QueuedQuery(Query):
    before: Annotated[NamedMoment | None, Elsewhere("read with the queue, see QueuedOf")] = None


@dataclass(frozen=True)
class Queued:
    dag_id: str
    display_name: str
    asset: AssetKey
    created_at: datetime

    def response(self) -> Json:
        return {
            "dag_id": self.dag_id,
            "asset_id": number_of(*self.asset),
            "created_at": self.created_at,
            "dag_display_name": self.display_name,
        }


@dataclass(frozen=True)
class QueuedOf:
    """The queued events that a request selects."""

    services: Services
    dag_id: str | None = None
    asset_id: int | None = None
    before: datetime | None = None

    def found(self) -> list[Queued]:
        queues = self.services.store.asset_queues(self._dag_ids())
        found = [(q.dag_id, asset, at) for q in queues for asset, at in q.queued.items() if self._is_meant(asset, at)]
        dags = self.services.store.get_dags(sorted({dag_id for dag_id, _, _ in found}))
        names = {dag.dag_id: dag.dag_display_name for dag in dags}
        rows = [Queued(dag_id, names.get(dag_id) or dag_id, asset, at) for dag_id, asset, at in found]
        return sorted(rows, key=lambda row: (row.created_at, row.dag_id, row.asset))

    def delete(self) -> int:
        gone = 0
        for dag_id in self._dag_ids():
            assets = {row.asset for row in self.found() if row.dag_id == dag_id}
            if assets:
                gone += len(self.services.store.unqueue(dag_id, assets=assets, before=self.before))
        return gone

    def response(self) -> Json:
        rows = self.found()
        return {"queued_events": [row.response() for row in rows], "total_entries": len(rows)}

    def _is_meant(self, asset: AssetKey, at: datetime) -> bool:
        return self.asset_id in (None, number_of(*asset)) and (self.before is None or at < self.before)

    def _dag_ids(self) -> list[str]:
        if self.dag_id is not None:
            return [self.dag_id]
        # Events come through aliases and references too, so every DAG that waits for assets may have one queued.
        return [dag.dag_id for dag in self.services.store.list_dags() if dag.is_asset_triggered]


def _queued(services: Services, request: Request) -> QueuedOf:
    asset_id = request.path_value("asset_id", int) if "asset_id" in request.path else None
    return QueuedOf(services, request.path.get("dag_id"), asset_id, request.query(QueuedQuery).before)


@operation("get_asset_queued_events")
def get_asset_queued_events(services: Services, request: Request) -> Json:
    return _queued(services, request).response()


@operation("get_dag_asset_queued_events")
def get_dag_asset_queued_events(services: Services, request: Request) -> Json:
    return _queued(services, request).response()


@operation("get_dag_asset_queued_event")
def get_dag_asset_queued_event(services: Services, request: Request) -> Json:
    queued = _queued(services, request)
    rows = queued.found()
    if not rows:
        names = f"dag_id: `{queued.dag_id}` and asset_id: `{queued.asset_id}`"
        raise not_found(f"Queued event with {names} was not found")
    return rows[0].response()


@operation("delete_asset_queued_events")
def delete_asset_queued_events(services: Services, request: Request) -> Answer:
    queued = _queued(services, request)
    return _deleted(queued, f"Queue event with asset_id: `{queued.asset_id}` was not found")


@operation("delete_dag_asset_queued_events")
def delete_dag_asset_queued_events(services: Services, request: Request) -> Answer:
    queued = _queued(services, request)
    return _deleted(queued, f"Queue event with dag_id: `{queued.dag_id}` was not found")


@operation("delete_dag_asset_queued_event")
def delete_dag_asset_queued_event(services: Services, request: Request) -> Answer:
    queued = _queued(services, request)
    names = f"dag_id: `{queued.dag_id}` and asset_id: `{queued.asset_id}`"
    return _deleted(queued, f"Queued event with {names} was not found")


def _deleted(queued: QueuedOf, otherwise: str) -> Answer:
    if not queued.delete():
        raise not_found(otherwise)
    return NO_CONTENT
