"""`/api/v2/dagSources/{dag_id}`: the DAG file's text of one version."""

from __future__ import annotations

from typing import Final

from gust.errors import NotFound
from gust.http.answer import Answer, Json, not_found
from gust.http.check import Query
from gust.rest_api.access.readable import is_hidden_in_part
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services

HIDDEN: Final = "REDACTED - you do not have read permission on all Dags in the file"
"""Airflow's text in place of a file that also defines DAGs that the user may not read."""


class DagSourceQuery(Query):
    version_number: int | None = None


@operation("get_dag_source")
def get_dag_source(services: Services, request: Request) -> Json | Answer:
    dag_id = request.path["dag_id"]
    wanted = request.query(DagSourceQuery).version_number
    content_type = request.accepted(alternative="text/plain")
    dag = services.store.get_dag(dag_id)
    number = wanted if wanted is not None or dag is None else dag.version_number
    version = services.store.get_version(dag_id, number) if number is not None else None
    if version is None:
        raise not_found(f"The source code of the Dag {dag_id}, version_number {wanted} was not found")
    # An edit without effect on the DAG makes no version: the newest version shows the current file, as in Airflow.
    is_newest = dag is not None and dag.source_key and version.version_number == dag.version_number
    source_key = dag.source_key if dag is not None and is_newest else version.source_key
    try:
        content = services.objects.get(source_key).decode("utf-8", "replace")
    except NotFound as gone:
        raise not_found(f"Code not found. dag_id='{dag_id}' version_number='{wanted}'") from gone
    if dag is not None and is_hidden_in_part(services.store, dag):
        content = HIDDEN
    if content_type == "text/plain":
        return Answer(body=content, content_type="text/plain; charset=utf-8")
    return {
        "content": content,
        "dag_id": dag_id,
        "version_number": version.version_number,
        "dag_display_name": (dag.dag_display_name if dag else version.dag_display_name) or dag_id,
    }
