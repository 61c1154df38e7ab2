"""The API over the store in memory as a WSGI application, with one of each thing in it, anew whenever it is asked to."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from gust.model.asset import AssetKey
from gust.model.bundle import DagWarning, ImportProblem
from gust.model.hitl import HITLDetail
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.test_assets import ID, given_asset, given_event, given_use
from tests.unit.rest_api.test_backfills import asked, daily
from tests.unit.rest_api.world import NOW, Api, World, make_world

KNOWN: Final = {
    "dag_id": "etl",
    "dag_run_id": "manual__1",
    "task_id": "extract",
    "group_id": "load",
    "map_index": -1,
    "try_number": 1,
    "task_try_number": 1,
    "xcom_key": "return_value",
    "version_number": 1,
    "asset_id": ID,
    "backfill_id": 1,
    "event_log_id": 1,
    "import_error_id": 7,
    "connection_id": "warehouse",
    "variable_key": "color",
    "pool_name": "slow",
    "key": "cursor",
    "section": "core",
    "option": "executor",
}
"""Path parameters of what exists."""

Start = Callable[[str, list[tuple[str, str]]], Any]


def known(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: KNOWN.get(name, value) for name, value in parameters.items()}


def furnish(world: World) -> Api:
    """One of each thing."""
    api = Api(build(world.services, Authenticator(ALL_ADMINS)))
    world.inventory.sections = {"core": {"executor": "LocalExecutor"}}
    dag = world.dag(spec=daily(), tags=("nightly",))
    run = world.run(dag, logical_date=NOW, conf={"rows": 3})
    extract = world.instance(
        run, "extract", state=TaskInstanceState.SUCCESS, try_number=1, start_date=NOW, end_date=NOW, dispatch_count=1
    )
    world.instance(run, "load", state=TaskInstanceState.FAILED, try_number=2, start_date=NOW, end_date=NOW)
    world.xcom(run, "extract", {"rows": [1, 2]})
    world.logs.lines["extract", -1, 1] = [{"event": "started", "timestamp": "2026-03-04T12:00:00Z"}]
    given_asset(world)
    given_use(world, "inlet")
    given_event(world, 1, AssetKey("orders", "s3://lake/orders"), "etl")
    question = HITLDetail(
        key=TaskInstanceKey(extract.dag_id, extract.run_id, "extract", -1),
        try_number=1,
        options=["yes", "no"],
        subject="Go on?",
        created_at=NOW,
    )
    world.store.put_hitl_detail(question)
    world.store.put_import_problem(
        ImportProblem(
            import_error_id=7, filename="broken.py", bundle_name="dags-folder", stack_trace="NameError", timestamp=NOW
        )
    )
    world.store.put_warning(
        DagWarning(dag_id="etl", warning_type="non-existent pool", message="no such pool", timestamp=NOW)
    )
    for path, body in {
        "/api/v2/backfills": asked(),
        "/api/v2/connections": {"connection_id": "warehouse", "conn_type": "postgres", "password": "p", "extra": "{}"},
        "/api/v2/variables": {"key": "color", "value": "green", "description": "of the door"},
        "/api/v2/pools": {"name": "slow", "slots": 2},
    }.items():
        reply = api("POST", path, body)
        assert reply.status in (200, 201), reply.text
    for path in ("/api/v2/dags/etl/dagRuns/manual__1/taskInstances/extract", f"/api/v2/assets/{ID}"):
        assert api("PUT", f"{path}/state-store/cursor", {"value": 1}).status in (200, 201, 204)
    return api


class Server:
    """A WSGI application. What a request changes is there until `begin`; that takes longer than most requests."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.dumps(document).encode()
        self._is_fresh = False
        self.begin()

    def begin(self) -> None:
        """Have all be as it was at first."""
        if not self._is_fresh:
            self.api = furnish(make_world())
            self._is_fresh = True

    def __call__(self, environment: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        path = environment.get("RAW_URI") or environment.get("REQUEST_URI") or environment["PATH_INFO"]
        if path.startswith("/openapi.json"):
            start("200 OK", [("Content-Type", "application/json")])
            return [self._document]
        self._is_fresh = self._is_fresh and environment["REQUEST_METHOD"] == "GET"
        answer = self.api.handler(_event(environment, path.partition("?")[0]), None)
        body = answer.get("body") or ""
        start(f"{answer['statusCode']} .", list((answer.get("headers") or {}).items()))
        return [base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()]


def _event(environment: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What API Gateway makes of the request."""
    headers = {
        name[5:].replace("_", "-").lower(): value for name, value in environment.items() if name.startswith("HTTP_")
    }
    headers.pop("accept-encoding", None)  # the client does not unpack
    if environment.get("CONTENT_TYPE"):
        headers["content-type"] = environment["CONTENT_TYPE"]
    raw = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
    return {
        "version": "2.0",
        "routeKey": "$default",
        # As API Gateway does it: all escapes decoded but that of the percent sign.
        "rawPath": re.sub(r"(?:%(?!25)[0-9A-Fa-f]{2})+", lambda m: unquote(m[0]), path),
        "rawQueryString": environment.get("QUERY_STRING", ""),
        "headers": headers,
        "requestContext": {
            "stage": "$default",
            "http": {"method": environment["REQUEST_METHOD"], "path": path, "sourceIp": "127.0.0.1"},
        },
        "isBase64Encoded": True,
        "body": base64.b64encode(raw).decode(),
    }
