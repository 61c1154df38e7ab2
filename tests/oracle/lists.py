"""Ask real Airflow and Gust for the same lists, with random filters, orders and pages, about the same scene.

    python -m tests.oracle.lists [--seed 7] [--queries 40]

Prints the differences, and writes the scene and Airflow's answers to `tests/unit/rest_api/recorded/scene.*`, with which
`tests/unit/rest_api/test_recorded_lists.py` compares Gust.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx

from gust.model.asset import number_of
from tests.oracle.drive import ApiClient
from tests.oracle.scene import Scene, act, instance_path, moment, prepare, rows_of, staged
from tests.oracle.server import ROOT, real_airflow
from tests.unit.rest_api import contract
from tests.unit.rest_api.test_recorded_answers import different
from tests.unit.rest_api.world import Api

RECORDED: Final = ROOT / "tests" / "unit" / "rest_api" / "recorded"


@dataclass(frozen=True, kw_only=True)
class List:
    """What can be asked of one list."""

    path: str
    rows: str
    """The field of the answer that holds them; empty: the answer is the rows."""
    key: tuple[str, ...]
    """What tells rows apart, and is the same on both."""
    orders: Mapping[str, str]
    """What it can be ordered by → the field of a row that shows it (`a.b`: of an object in it)."""
    file: str = contract.FILE
    template: str = ""
    """The path in the contract, where it is another than `path`."""
    never: frozenset[str] = frozenset()
    """Parameters that are not asked."""
    takes_one_order: bool = False
    """The last one that is asked for."""
    is_total: bool = False
    """Rows that the order does not tell apart stand in the order of their key, on both."""


def same(*names: str, **others: str) -> dict[str, str]:
    return {name: name for name in names} | others


DAG_ORDERS: Final = dict.fromkeys(
    ("dag_id", "dag_display_name", "next_dagrun", "state", "start_date", "last_run_state", "last_run_start_date"),
    "dag_id",
)
RUN_ORDERS: Final = same(
    *("state", "dag_id", "logical_date", "partition_date", "run_after", "start_date", "end_date", "duration"),
    run_id="dag_run_id", dag_run_id="dag_run_id",
)  # fmt: skip
INSTANCE_ORDERS: Final = same(
    *("state", "start_date", "end_date", "map_index", "try_number", "logical_date", "run_after"),
    *("rendered_map_index", "operator"),
)
XCOM_ORDERS: Final = same("key", "dag_id", "run_id", "task_id", "map_index", "timestamp", "run_after")
DURATIONS: Final = frozenset({"duration_gte", "duration_gt", "duration_lte", "duration_lt"})
"""What a branch skips takes no time in Gust, and has none in Airflow."""
INSTANCE: Final = ("dag_id", "dag_run_id", "task_id", "map_index")

LISTS: Final = (
    List(
        path="/api/v2/dags",
        is_total=True,
        rows="dags",
        key=("dag_id",),
        orders=DAG_ORDERS,
        never=frozenset({"bundle_version"}),
    ),
    List(
        path="/ui/dags",
        is_total=True,
        rows="dags",
        key=("dag_id",),
        orders=DAG_ORDERS,
        file=contract.UI_FILE,
        never=frozenset({"bundle_version"}),
    ),
    List(
        path="/api/v2/dags/~/dagRuns",
        template="/api/v2/dags/{dag_id}/dagRuns",
        rows="dag_runs",
        key=("dag_id", "dag_run_id"),
        orders=RUN_ORDERS,
        never=frozenset({"bundle_version"}),
    ),
    List(
        path="/api/v2/dags/shop_make/dagRuns",
        template="/api/v2/dags/{dag_id}/dagRuns",
        rows="dag_runs",
        key=("dag_id", "dag_run_id"),
        orders=RUN_ORDERS,
        never=frozenset({"bundle_version"}),
    ),
    List(
        path="/api/v2/dags/~/dagRuns/~/taskInstances",
        template="/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
        rows="task_instances",
        key=INSTANCE,
        orders=INSTANCE_ORDERS,
        never=DURATIONS,
    ),
    List(
        path="/api/v2/dags/shop_make/dagRuns/one/taskInstances",
        template="/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
        rows="task_instances",
        key=INSTANCE,
        orders=INSTANCE_ORDERS,
        never=DURATIONS,
    ),
    List(
        path="/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries",
        template="/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
        rows="xcom_entries",
        key=("dag_id", "run_id", "task_id", "map_index", "key"),
        orders=XCOM_ORDERS,
    ),
    List(
        path="/api/v2/eventLogs",
        rows="event_logs",
        key=("when", "event"),
        orders=same("dag_id", "task_id", "run_id", "event", "logical_date", "owner", "extra", "when", dttm="when"),
    ),
    List(
        path="/api/v2/dags/~/dagRuns/~/hitlDetails",
        template="/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails",
        rows="hitl_details",
        key=("task_instance.dag_id", "task_instance.dag_run_id", "task_instance.task_id"),
        orders=same("subject", "created_at", dag_id="task_instance.dag_id", run_id="task_instance.dag_run_id"),
    ),
    List(
        path="/api/v2/assets/events",
        rows="asset_events",
        key=("timestamp", "uri"),
        orders=same("timestamp", "source_task_id", "source_dag_id", "source_run_id"),
        never=frozenset({"asset_id"}),
    ),
    List(
        path="/api/v2/assets",
        rows="assets",
        key=("name", "uri"),
        orders=same("name", "uri"),
    ),
    List(path="/api/v2/dagTags", rows="tags", key=("",), orders=same(name="")),
    List(
        path="/api/v2/dags/~/dagVersions",
        template="/api/v2/dags/{dag_id}/dagVersions",
        rows="dag_versions",
        key=("dag_id", "version_number"),
        orders=same("version_number", "bundle_name"),
        never=frozenset({"bundle_version"}),
    ),
    List(
        path="/api/v2/dags/shop_make/tasks",
        template="/api/v2/dags/{dag_id}/tasks",
        rows="tasks",
        takes_one_order=True,
        key=("task_id",),
        orders=same("task_id", "pool", "pool_slots", "priority_weight", "task_display_name", "trigger_rule"),
    ),
    List(path="/api/v2/pools", rows="pools", key=("name",), orders=same("name", pool="name")),
    List(path="/api/v2/variables", rows="variables", key=("key",), orders=same("key", "is_encrypted", "description")),
    List(
        path="/api/v2/connections",
        rows="connections",
        key=("connection_id",),
        orders=same("connection_id", "conn_type", "description", "host", "port", conn_id="connection_id"),
    ),
    List(path="/api/v2/importErrors", rows="import_errors", key=("filename",), orders=same("filename", "bundle_name")),
    List(
        path="/ui/grid/runs/shop_make",
        template="/ui/grid/runs/{dag_id}",
        rows="",
        key=("run_id",),
        orders=same("run_after", "start_date", "logical_date"),
        file=contract.UI_FILE,
    ),
    List(
        path="/api/v2/backfills",
        rows="backfills",
        key=("dag_id", "from_date"),
        orders={},
    ),
    List(path="/ui/backfills", rows="backfills", key=("dag_id", "from_date"), orders={}, file=contract.UI_FILE),
)


def pages(scene: Scene) -> Iterator[str]:
    """What is asked without choices: the rest of what the UI asks for itself, and what is not in any list."""
    for path in (
        "auth/me",
        "auth/menus",
        "config",
        "dashboard/dag_stats",
        "dependencies",
        "teams",
        "partitioned_dag_runs",
    ):
        yield f"/ui/{path}"
    yield "/ui/dashboard/historical_metrics_data?start_date=2026-01-01T00:00:00Z"
    yield "/ui/dashboard/historical_metrics_data?start_date=2026-03-01T00:00:00Z&end_date=2026-03-02T00:00:00Z"
    yield "/ui/dependencies?dependency_type=data"
    yield "/api/v2/dagStats"
    yield "/api/v2/dagWarnings"
    for row in scene["dags"]:
        dag_id = row["dag_id"]
        for path in ("next_run_assets", "pending_partitioned_dag_run", "grid/structure", "grid/runs"):
            yield f"/ui/{path}/{dag_id}"
        yield f"/ui/partitioned_dag_runs?dag_id={dag_id}"
        yield f"/ui/dags/{dag_id}/latest_run"
        yield f"/ui/dags/{dag_id}/deadlineAlerts"
        yield f"/ui/dependencies?node_id=dag:{dag_id}"
        for more in ("", "&external_dependencies=true", "&version_number=1", "&version_number=2"):
            yield f"/ui/structure/structure_data?dag_id={dag_id}{more}"
        for granularity in ("hourly", "daily"):
            dates = "logical_date_gte=2026-01-01T00:00:00Z&logical_date_lte=2026-03-02T00:00:00Z"
            yield f"/ui/calendar/{dag_id}?granularity={granularity}&{dates}"
        yield f"/api/v2/dags/{dag_id}/details"
        yield f"/api/v2/dags/{dag_id}/tasks"
        yield f"/api/v2/dags/{dag_id}/assets/queuedEvents"
    for task in ("make", "parcels", "parcels.pack"):
        for way in ("include_upstream", "include_downstream"):
            yield f"/ui/structure/structure_data?dag_id=shop_make&root={task}&{way}=true&depth=1"
            yield f"/ui/grid/structure/shop_make?root={task}&{way}=true"
    for row in scene["dag_runs"]:
        run = f"{row['dag_id']}/dagRuns/{quote(row['dag_run_id'], safe='')}"
        yield f"/ui/dags/{run}/stats"
        yield f"/ui/dags/{run}/deadlines"
        yield f"/ui/gantt/{row['dag_id']}/{quote(row['dag_run_id'], safe='')}"
        yield f"/ui/grid/ti_summaries/{row['dag_id']}?run_ids={quote(row['dag_run_id'], safe='')}"
        yield f"/api/v2/dags/{run}"
        yield f"/api/v2/dags/{run}/upstreamAssetEvents"
    for row in scene["task_instances"]:
        if row["dag_run_id"] in ("one", "ask_1"):
            index = f"/{row['map_index']}" if row["map_index"] >= 0 else ""
            yield f"{instance_path(row)}{index}"
            yield f"{instance_path(row)}{index}/tries"
            yield f"{instance_path(row)}/links?map_index={row['map_index']}"
            yield f"{instance_path(row)}/xcomEntries?map_index={row['map_index']}"
    yield "/api/v2/dags/shop_make/dagRuns/one/taskInstances/parcels.pack/listMapped"
    for row in scene["assets"]:
        yield f"/ui/dependencies?node_id=asset:{row['id']}&dependency_type=data"


# --- drawing ----------------------------------------------------------------------------------------------------------

SHOWN_AS: Final = {
    "run_id": ("dag_run_id", "run_id"),
    "name": ("name",),
    "pool_name": ("pool",),
    "queue_name": ("queue",),
    "operator_name": ("operator_name",),
    "dag_display_name": ("dag_display_name",),
    "consuming_asset": ("uri", "name"),
    "asset_dependency": ("uri", "name"),
    "xcom_key": ("key",),
    "owners": ("owner",),
    "dag_ids": ("dag_id",),
    "before": ("when",),
    "after": ("when",),
    "excluded_events": ("event",),
    "included_events": ("event",),
    "dag_run_start_date": ("start_date",),
    "dag_run_end_date": ("end_date",),
    "dag_run_state": ("state",),
    "last_dag_run_state": ("state",),
    "map_index_filter": ("map_index",),
    "dag_version": ("version_number",),
    "triggering_user": ("triggering_user_name",),
    "body_search": ("body",),
    "subject_search": ("subject",),
    "responded_by_user_name": ("owner",),
    "connection_id": ("connection_id",),
    "variable_key": ("key",),
    "timetable_type": ("timetable_type",),
}
"""Parameter (without `_pattern` and so on) → the fields whose values are worth asking for; else those of its own name."""

KNOWN: Final = {
    "name": ["scene_orders", "scene_narrow", "Wide", "default_pool", "shop", "nightly", "50%_off"],
    "key": ["colour", "Shape", "shop_key", "50%_off", "return_value", "remark"],
    "connection_id": ["warehouse", "Lake", "lake_two"],
    "tags": ["shop", "nightly", "50%_off", "people"],
    "owner": ["ann", "ben", "airflow", "Anonymous"],
    "filename": ["broken.py"],
    "conf_contains": ["rows", "7", '"who"', "x"],
    "timetable_type": ["DeltaDataIntervalTimetable", "NullTimetable", "airflow.timetables.simple.NullTimetable"],
}
RANGE: Final = ("_gte", "_gt", "_lte", "_lt")


@dataclass
class Draw:
    scene: Scene
    random: random.Random
    values: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found: dict[str, dict[str, Any]] = {}
        for row in rows_of(self.scene):
            for name, value in _scalars(row):
                found.setdefault(name, {})[json.dumps(value)] = value
        self.values = {name: list(values.values()) for name, values in found.items()}
        for name, more in KNOWN.items():
            self.values.setdefault(name, []).extend(more)

    def url(self, listed: List) -> str:
        parameters = _parameters(listed)
        free = [p for p in parameters if p["name"] not in {"limit", "offset", "order_by", "cursor", *listed.never}]
        free = [p for p in free if not p["name"].startswith("updated_at_")]
        chosen = self.random.sample(free, min(len(free), self.random.choice((0, 1, 1, 2, 3))))
        query: list[tuple[str, Any]] = []
        for parameter in chosen:
            query += [(parameter["name"], value) for value in self._values(parameter)]
        names = {p["name"] for p in parameters}
        if listed.orders and self.random.random() < 0.7:
            orders = self.random.sample(
                sorted(listed.orders), min(len(listed.orders), self.random.choice((1, 1, 2, 3)))
            )
            query += [("order_by", self.random.choice(("", "-")) + order) for order in orders]
        if self.random.random() < 0.5:
            query.append(("limit", self.random.choice((0, 1, 2, 3, 5, 10, 1000))))
        if "cursor" in names and self.random.random() < 0.25:
            query.append(("cursor", ""))
        elif "offset" in names and self.random.random() < 0.4:
            query.append(("offset", self.random.choice((0, 1, 2, 5, 40))))
        if "dag_id" in names and listed.path.endswith("backfills") and not any(n == "dag_id" for n, _ in query):
            query.append(("dag_id", "shop_daily"))
        return f"{listed.path}?{urlencode(query)}" if query else listed.path

    def _values(self, parameter: dict[str, Any]) -> list[Any]:
        name, schema = parameter["name"], parameter["schema"]
        kinds = schema.get("anyOf", [schema])
        kind = next(k for k in kinds if k.get("type") != "null")
        if kind.get("type") == "array":
            item = kind.get("items", {})
            return [self._value(name, item) for _ in range(self.random.choice((1, 1, 2)))]
        return [self._value(name, kind)]

    def _value(self, name: str, kind: Mapping[str, Any]) -> Any:
        if "enum" in kind:
            return self.random.choice(kind["enum"])
        if "$ref" in kind:
            document = contract.document(contract.FILE)["components"]["schemas"]
            schema = document.get(str(kind["$ref"]).rpartition("/")[2])
            return self.random.choice(schema["enum"] if schema else ["success", "failed", "running"])
        match kind.get("type"):
            case "boolean":
                return self.random.choice(("true", "false"))
            case "integer":
                return self.random.choice([v for v in self._pool(name) if isinstance(v, int)] or [-1, 0, 1, 2])
            case "number":
                numbers = [v for v in self._pool(name) if isinstance(v, int | float)] or [0, 1]
                return self.random.choice(numbers) + self.random.choice((0, 0, 0.5, -0.001))
        texts = [v for v in self._pool(name) if isinstance(v, str) and v] or ["none"]
        text = self.random.choice(texts)
        if kind.get("format") == "date-time":
            at = moment(self.random.choice([t for t in texts if _is_moment(t)] or ["2026-03-01T00:00:00Z"]))
            assert at is not None
            return (at + timedelta(microseconds=self.random.choice((0, 0, 1, -1, 10**6, -3600 * 10**6)))).isoformat()
        if kind.get("format") == "date":
            return self.random.choice(("2026-03-01", "2026-01-04"))
        if name.endswith("_prefix_pattern") or name == "triggering_user_prefix":
            return self.random.choice((text[: self.random.randint(1, len(text))], "~", f"{text[:2]}|zz", text.upper()))
        if name.endswith(("_pattern", "_search")):
            return self._pattern(text)
        if name in ("state", "task_instance_state") and self.random.random() < 0.2:
            return self.random.choice(("no_status", "none", "skipped"))
        return text

    def _pattern(self, text: str) -> str:
        start = self.random.randrange(len(text))
        part = text[start : start + self.random.randint(1, 6)]
        other = self.random.choice(("a", "zz", "o_e"))
        return self.random.choice(
            (part, part.swapcase(), f"{part[:1]}%{part[-1:]}", f"_{part}", f"{part}|{other}", "~", "%")
        )

    def _pool(self, name: str) -> list[Any]:
        base = name
        for end in ("_prefix_pattern", "_pattern", *RANGE):
            base = base.removesuffix(end)
        return [value for field in SHOWN_AS.get(base, (base,)) for value in self.values.get(field, [])]


def _scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, value


def _is_moment(text: str) -> bool:
    try:
        return moment(text) is not None and "T" in text
    except ValueError:
        return False


def _parameters(listed: List) -> list[dict[str, Any]]:
    operation = contract.document(listed.file)["paths"][listed.template or listed.path]["get"]
    return [p for p in operation.get("parameters", []) if p["in"] == "query"]


# --- asking -----------------------------------------------------------------------------------------------------------


def asked(scene: Scene, seed: int, queries: int) -> Iterator[tuple[List | None, str]]:
    for page in pages(scene):
        yield None, page
    for listed in LISTS:
        draw = Draw(scene, random.Random(f"{seed} {listed.path}"))  # noqa: S311 - drawing questions
        yield listed, listed.path
        for _ in range(queries):
            yield listed, draw.url(listed)


class Airflow:
    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {token}"})

    def get(self, url: str) -> tuple[int, Any]:
        for attempts_left in (3, 2, 1, 0):
            try:
                answer = self._http.get(url)
                break
            except httpx.TransportError:
                if not attempts_left:
                    raise
                time.sleep(1)
        return answer.status_code, _body(answer.headers.get("content-type", ""), answer.text)


def ours(api: Api, url: str) -> tuple[int, Any]:
    reply = api("GET", url)
    return reply.status, _body(reply.headers.get("content-type", ""), reply.text)


def _body(content_type: str, text: str) -> Any:
    if "ndjson" in content_type:
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text) if "json" in content_type and text else text


# --- comparing --------------------------------------------------------------------------------------------------------

CURSORS: Final = ("next_cursor", "previous_cursor")


def compare(listed: List, url: str, theirs: tuple[int, Any], mine: tuple[int, Any]) -> Iterator[str]:
    """Rows that the order asked for does not tell apart may stand in any order."""
    if theirs[0] != mine[0]:
        yield f"{mine[0]} instead of {theirs[0]}: {str(mine[1])[:300]} / {str(theirs[1])[:300]}"
        return
    if theirs[0] != 200:
        yield from different(theirs[1], mine[1], "")
        return
    their_rows, my_rows = _rows(listed, theirs[1]), _rows(listed, mine[1])
    if listed.rows:
        for name in sorted(theirs[1].keys() | mine[1].keys()):
            if name == listed.rows:
                continue
            one, other = theirs[1].get(name), mine[1].get(name)
            if (one is None) != (other is None) if name in CURSORS else one != other:
                yield f"{name} is {other!r} instead of {one!r}"
    by = _key if listed.is_total else partial(_sorted_by, url=url)
    if [by(listed, row) for row in their_rows] != [by(listed, row) for row in my_rows]:
        yield f"other rows: {[_key(listed, r) for r in my_rows]} instead of {[_key(listed, r) for r in their_rows]}"
        return
    if is_whole(theirs[1], their_rows) and {_key(listed, r) for r in their_rows} != {_key(listed, r) for r in my_rows}:
        yield f"other rows: {[_key(listed, r) for r in my_rows]} instead of {[_key(listed, r) for r in their_rows]}"


OF_THE_SERVER: Final = frozenset(
    # Gust keeps versions of the folder; the others are numbers and places of the server's own.
    {
        "bundle_version",
        "fileloc",
        "event_log_id",
        "import_error_id",
        "triggerer_id",
        "triggerer_job",
        "enable_swagger_ui",
    }
)
UNORDERED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "downstream_task_ids": str,
    "edges": lambda edge: (edge["source_id"], edge["target_id"]),
    "created_dagruns": lambda run: (run["dag_id"], run["run_id"]),
}
"""Lists that Airflow makes of a set → by what they are sorted here."""


class Plain:
    """What is compared of an answer. Airflow numbers assets as they come, Gust by their names: here they have names."""

    def __init__(self, scene: Scene) -> None:
        self._ours = {row["id"]: number_of(row["name"], row["uri"]) for row in scene["assets"]}
        self._names = {number: row["name"] for row in scene["assets"] for number in (row["id"], self._ours[row["id"]])}

    def for_gust(self, url: str) -> str:
        return re.sub(r"asset:(\d+)", lambda found: f"asset:{self._ours[int(found[1])]}", url)

    def __call__(self, body: Any) -> Any:
        match body:
            case {"name": "default_pool", **rest}:  # it has no end in Gust
                return {"name": "default_pool"} | {k: v for k, v in rest.items() if not k.endswith("slots")}
            case {"event_log_id": _, "task_display_name": _, **rest}:  # only of what tasks do, which Gust does not log
                return self(rest)
            case {"state": "skipped", "duration": 0.0, **rest}:  # see docs/airflow-differences.md
                return self({"state": "skipped", "duration": None, **rest})
            case dict():
                return {key: self._field(key, value) for key, value in body.items() if key not in OF_THE_SERVER}
            case list():
                return [self(value) for value in body]
            case str():
                return re.sub(r"(?:/[\w.-]+)+/(?=site-packages/|broken\.py)", "", body)
        return body

    def _field(self, name: str, value: Any) -> Any:
        if name in ("asset_id", "id", "source_id", "target_id"):
            found = re.fullmatch(r"(?:asset:)?(\d+)", str(value))
            return self._names.get(int(found[1]), value) if found else value
        if by := UNORDERED.get(name):
            return sorted(self(value), key=by)
        return self(value)


def compare_page(theirs: tuple[int, Any], mine: tuple[int, Any]) -> Iterator[str]:
    if theirs[0] != mine[0]:
        yield f"{mine[0]} instead of {theirs[0]}: {str(mine[1])[:300]} / {str(theirs[1])[:300]}"
    else:
        yield from different(theirs[1], mine[1], "")


def is_whole(answer: Any, rows: list[Any]) -> bool:
    """Whether the page is all there is: then it does not hang on the order."""
    return isinstance(answer, dict) and answer.get("total_entries") == len(rows)


def _rows(listed: List, answer: Any) -> list[Any]:
    return list(answer[listed.rows] if listed.rows else answer)


def _key(listed: List, row: Any) -> tuple[Any, ...]:
    return tuple(_field(row, name) for name in listed.key)


def _sorted_by(listed: List, row: Any, *, url: str) -> tuple[Any, ...]:
    orders = httpx.QueryParams(url.partition("?")[2]).get_list("order_by")
    orders = orders[-1:] if listed.takes_one_order else orders
    return tuple(_field(row, listed.orders[order.lstrip("-")]) for order in orders)


def _field(row: Any, name: str) -> Any:
    for part in filter(None, name.split(".")):
        row = row.get(part) if isinstance(row, dict) else None
    return json.dumps(row) if isinstance(row, dict | list) else row


def differing_rows(listed: List, theirs: Any, mine: Any) -> Iterator[str]:
    """Field by field, of the list without any filter."""
    by_key = {_key(listed, row): row for row in _rows(listed, mine)}
    for row in _rows(listed, theirs):
        key = _key(listed, row)
        if key in by_key:
            yield from (f"{key}: {found}" for found in different(row, by_key[key], ""))


# --- the command ------------------------------------------------------------------------------------------------------


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.oracle.lists", description=__doc__)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--queries", type=int, default=40, help="of each list")
    arguments.add_argument("--keep", type=Path, help="write scene and answers there, and not to the recordings")
    options = arguments.parse_args()
    folder = options.keep or RECORDED
    with tempfile.TemporaryDirectory(prefix="gust-scene-") as place:
        dags = Path(place)
        dags.chmod(0o755)
        prepare(dags)
        with real_airflow(dags) as url:
            client = ApiClient(url)
            scene = act(client) | {"about": {"seed": options.seed, "queries": options.queries}}
            (folder / "scene.json").write_text(placeless(json.dumps(scene, indent=1, sort_keys=True), dags) + "\n")
            airflow = Airflow(url, client.call("GET", "/auth/token")["access_token"])
            answers = [
                {"asked": where, "status": status, "body": body}
                for _, where in asked(scene, options.seed, options.queries)
                for status, body in [airflow.get(where)]
            ]
            client.close()
    text = "".join(json.dumps(answer) + "\n" for answer in answers)
    (folder / "scene_answers.jsonl").write_text(placeless(text, dags))
    print("\n".join(differences(scene, answers)) or "nothing differs")


def placeless(text: str, dags: Path) -> str:
    """Without where it happened to be recorded."""
    return re.sub(r"(?:/[\w.-]+)+/(?=site-packages/|bin/)", "", text.replace(f"{dags}/", ""))


def differences(scene: Scene, answers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Between Airflow's answers and Gust's."""
    with tempfile.TemporaryDirectory(prefix="gust-scene-") as place:
        prepare(Path(place))
        _, api = staged(scene, Path(place))
    lists = {listed.path: listed for listed in LISTS}
    fixed, plain = set(pages(scene)), Plain(scene)
    for answer in answers:
        url, theirs = answer["asked"], (answer["status"], answer["body"])
        mine = ours(api, plain.for_gust(url))
        if theirs[0] >= 500 > mine[0]:
            continue  # where Airflow fails, Gust says something
        theirs, mine = (theirs[0], plain(theirs[1])), (mine[0], plain(mine[1]))
        if url in fixed:
            if url.endswith("/upstreamAssetEvents") and theirs[0] == mine[0] == 200:  # in no order
                for _, body in (theirs, mine):
                    body["asset_events"].sort(key=lambda event: event["timestamp"])
            yield from (f"{url}: {found}" for found in compare_page(theirs, mine))
            continue
        listed = lists[url.partition("?")[0]]
        yield from (f"{url}: {found}" for found in compare(listed, url, theirs, mine))
        if url == listed.path and theirs[0] == mine[0] == 200:
            yield from (f"{url}: {found}" for found in differing_rows(listed, theirs[1], mine[1]))


if __name__ == "__main__":
    main()
