"""`…/dagRuns/{dag_run_id}/wait`: lines of JSON, one per poll, until the run has finished.

Airflow streams them without a limit. Here they are one answer, given before API Gateway times out: if the last line
shows an unfinished run, the caller repeats the request.
"""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Any, Final

from pydantic import Field

from gust.http.answer import Answer
from gust.http.check import Query
from gust.model.dag_run import DagRun
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.state import DagRunState
from gust.model.xcom import XCom
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.public.dag_run import existing_run
from gust.services.context import Services

PATIENCE: Final = timedelta(seconds=20)
"""An HTTP API times out after 30 seconds, which include a cold start."""
SHORTEST_INTERVAL: Final = 0.25
"""Seconds. A shorter interval reads the same run more often."""

NDJSON: Final = "application/x-ndjson"
RETURN_VALUE: Final = "return_value"
FINISHED: Final = {DagRunState.SUCCESS, DagRunState.FAILED}


class WaitQuery(Query):
    interval: Annotated[float, Field(gt=0.0)]
    result: list[str] | None = None


@operation("wait_dag_run_until_finished")
def wait_dag_run_until_finished(services: Services, request: Request) -> Answer:
    query = request.query(WaitQuery)
    key = DagRunKey(request.path["dag_id"], request.path["dag_run_id"])
    run = existing_run(services, key)
    until = request.now + PATIENCE
    lines = [_line(services, run, query.result)]
    while run.state not in FINISHED and (left := (until - services.clock.now()).total_seconds()) > 0:
        services.clock.sleep(min(max(query.interval, SHORTEST_INTERVAL), left))
        if (now_read := services.store.get_run(key)) is None:  # deleted meanwhile
            break
        run = now_read
        lines.append(_line(services, run, query.result))
    return Answer(200, "".join(lines), content_type=NDJSON)


def _line(services: Services, run: DagRun, result_task_ids: list[str] | None) -> str:
    line: dict[str, Any] = {"state": run.state}
    if run.state in FINISHED and (results := _results(services, run.key, result_task_ids)):
        line["results"] = results
    return f"{json.dumps(line)}\n"


def _results(services: Services, run: DagRunKey, task_ids: list[str] | None) -> dict[str, Any]:
    """Return values of the tasks, a list for a mapped one; without task ids, the DAG's result."""
    returned = [
        xcom
        for task_id in ([None] if task_ids is None else sorted(set(task_ids)))
        for xcom in services.store.list_xcoms(run, task_id=task_id, name=RETURN_VALUE)
        if task_ids is not None or xcom.dag_result
    ]
    return {task_id: _value(list(pushed)) for task_id, pushed in groupby(returned, key=lambda x: x.key.task_id)}


def _value(pushed: list[XCom]) -> Any:
    if len(pushed) == 1 and pushed[0].key.map_index == UNMAPPED:
        return pushed[0].value
    return [xcom.value for xcom in pushed]
