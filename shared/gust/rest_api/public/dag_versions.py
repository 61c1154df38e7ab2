"""`/api/v2/dags/{dag_id}/dagVersions`: the versions of DAGs."""

from __future__ import annotations

from typing import Final

from gust.http.answer import Json, not_found
from gust.model.dag import DagVersion
from gust.rest_api.http.request import ALL_PAGES, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Filters, ListQuery, equal, query_of
from gust.rest_api.lists.listing import Ordering, filtered_page, named
from gust.services.context import Services
from gust.services.runs.public_form import dag_version_fields

FILTERS: Final = Filters[DagVersion](
    equal("version_number", int, lambda v: v.version_number),
    equal("bundle_name", str, lambda v: v.bundle_name),
    equal("bundle_version", str, lambda v: v.bundle_version),
)
DagVersionsQuery: Final = query_of(ListQuery, FILTERS)
ORDERING: Final = Ordering[DagVersion](
    attributes={
        # Airflow's ids of versions grow with time.
        "id": lambda v: v.created_at,
        **named("version_number", "bundle_name", "bundle_version"),
    },
    key=lambda v: (v.dag_id, v.version_number),
)


@operation("get_dag_version")
def get_dag_version(services: Services, request: Request) -> Json:
    dag_id = request.path["dag_id"]
    version_number = request.path_value("version_number", int)
    version = services.store.get_version(dag_id, version_number)
    if version is None:
        raise not_found(f"The DagVersion with dag_id: `{dag_id}` and version_number: `{version_number}` was not found")
    return dag_version_fields(version)


@operation("get_dag_versions")
def get_dag_versions(services: Services, request: Request) -> Json:
    dag_id = request.path["dag_id"]
    query = request.query(DagVersionsQuery)
    if dag_id == ALL_PAGES:
        # Versions are numbered from 1, so they can be read by key in batches.
        dags = services.store.list_dags()
        named = {(dag.dag_id, number) for dag in dags for number in range(1, dag.version_number + 1)}
        versions = list(services.store.get_versions(named).values())
    elif services.store.get_dag(dag_id) is None:
        raise not_found(f"The Dag with ID: `{dag_id}` was not found")
    else:
        versions = services.store.list_versions(dag_id)
    return filtered_page(versions, query, ORDERING, FILTERS).answer("dag_versions", dag_version_fields)
