"""The API over the store in memory, driven through the events that API Gateway sends."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlencode

from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, Expansion, TaskSpec, TimetableSpec
from gust.model.keys import TaskInstanceKey
from gust.model.state import FINISHED_RUN, DagRunState, DagRunType, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.ports.clock import ManualClock
from gust.rest_api.app import LambdaHandler
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.store.memory import MemoryStore
from tests.unit.rest_api import contract

NOW = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class FakeLogs:
    """Tries' lines by (task_id, map_index, try_number); a running try's log has a next position, an ended one none."""

    lines: dict[tuple[str, int, int], list[dict[str, Any]]] = field(default_factory=dict)
    page: int = 10_000

    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        lines = self.lines.get((instance.task_id, instance.map_index, instance.try_number), [])
        start = int(token or 0)
        stop = min(start + min(limit, self.page), len(lines))
        ended = instance.state is not TaskInstanceState.RUNNING and stop == len(lines)
        return lines[start:stop], None if ended else str(stop)

    def where(self, instance: TaskInstance) -> list[str]:
        return [f"CloudWatch Logs stream {instance.hostname}"] if instance.hostname else []


@dataclass
class FakeInventory:
    installed_plugins: list[dict[str, Any]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=lambda: {"plugins/broken.py": "ValueError: no"})
    installed_providers: list[dict[str, Any]] = field(default_factory=list)
    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    """Bundles that were asked about."""
    fails_with: Exception | None = None

    def _ask(self, bundle_version: str | None) -> None:
        self.asked.append(bundle_version)
        if self.fails_with is not None:
            raise self.fails_with

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:
        self._ask(bundle_version)
        return self.installed_plugins

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:
        self._ask(bundle_version)
        return self.errors

    def providers(self) -> list[dict[str, Any]]:
        if self.fails_with is not None:
            raise self.fails_with
        return self.installed_providers

    def configuration(self, bundle_version: str | None) -> dict[str, dict[str, str]]:
        self._ask(bundle_version)
        return self.sections


@dataclass
class FakeDeployments:
    started: list[str] = field(default_factory=list)

    def start(self, name: str) -> None:
        self.started.append(name)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def detail(self) -> Any:
        return self.json["detail"]


@dataclass
class Api:
    handler: LambdaHandler
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        cookies: list[str] | None = None,
        **query: Any,
    ) -> Reply:
        path, _, given = url.partition("?")
        event = {
            "version": "2.0",
            "routeKey": "$default",
            # As API Gateway does it: all escapes decoded but that of the percent sign.
            "rawPath": re.sub(r"(?:%(?!25)[0-9A-Fa-f]{2})+", lambda m: unquote(m[0]), path),
            "rawQueryString": "&".join(part for part in (given, urlencode(query, doseq=True)) if part),
            "headers": {"accept": "*/*", "host": "localhost", **self.headers, **(headers or {})},
            "cookies": cookies or [],
            "requestContext": {
                "stage": "$default",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            },
            "isBase64Encoded": False,
        }
        if body is not None:
            event["headers"].setdefault("content-type", "application/json")
            event["body"] = body if isinstance(body, str) else json.dumps(body)
        answer = self.handler(event, None)
        text = answer.get("body") or ""
        answered = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        if answer.get("isBase64Encoded"):
            text = gzip.decompress(base64.b64decode(text)).decode()
        return Reply(answer["statusCode"], answered, text)

    def ok(self, operation_id: str, method: str, url: str, body: Any = None, status: int = 200, **query: Any) -> Any:
        """The JSON of an answer that keeps the contract."""
        reply = self(method, url, body, **query)
        assert reply.status == status, reply.text
        contract.check(operation_id, status, reply.json)
        return reply.json

    def refused(self, operation_id: str, status: int, method: str, url: str, body: Any = None, **query: Any) -> Any:
        """The detail of a refusal that keeps the contract."""
        reply = self(method, url, body, **query)
        assert reply.status == status, reply.text
        contract.check(operation_id, status, reply.json)
        return reply.detail


@dataclass
class World:
    """What exists, and short ways to make more of it exist."""

    services: Services
    store: MemoryStore
    objects: MemoryObjects
    queues: MemoryQueues
    clock: ManualClock
    logs: FakeLogs
    inventory: FakeInventory
    deployments: FakeDeployments

    def dag(
        self,
        dag_id: str = "etl",
        *,
        spec: DagSpec | None = None,
        serialized: str = '{"dag": {"tasks": []}}',
        source: str = "# dag\n",
        **fields: Any,
    ) -> Dag:
        """A DAG of one version, with tasks `extract` → `transform` (mapped) → `load` unless `spec` says otherwise."""
        spec = (spec or etl_spec()).model_copy(update={"dag_id": dag_id})
        text = spec.model_dump_json().encode()
        spec_key = f"specs/{sha256(text).hexdigest()}.json"
        source_key = f"sources/{sha256(source.encode()).hexdigest()}.txt"
        self.objects.put(spec_key, text)
        serialized_key = f"serialized/{sha256(serialized.encode()).hexdigest()}.json"
        self.objects.put(source_key, source.encode())
        self.objects.put(serialized_key, serialized.encode())
        dag = Dag(
            dag_id=dag_id,
            dag_display_name=fields.pop("dag_display_name", dag_id),
            fileloc=fields.pop("fileloc", f"/opt/dags/{dag_id}.py"),
            relative_fileloc=f"{dag_id}.py",
            bundle_version="b1",
            version_number=1,
            spec_key=spec_key,
            serialized_key=serialized_key,
            last_parsed_time=NOW,
            last_parse_duration=0.05,
            owners=fields.pop("owners", ("airflow",)),
            **fields,
        )
        self.store.put_version(
            DagVersion(
                dag_id=dag_id,
                version_number=1,
                created_at=NOW,
                bundle_name="dags-folder",
                bundle_version="b1",
                spec_key=spec_key,
                serialized_key=serialized_key,
                source_key=source_key,
                dag_display_name=dag.dag_display_name,
            )
        )
        self.store.put_dag(None, dag)
        return dag

    def run(self, dag: Dag, run_id: str = "manual__1", **fields: Any) -> DagRun:
        state = fields.pop("state", DagRunState.RUNNING)
        run = DagRun(
            dag_id=dag.dag_id,
            run_id=run_id,
            run_type=fields.pop("run_type", DagRunType.MANUAL),
            state=state,
            due_at=fields.pop("due_at", None if state in FINISHED_RUN else NOW + timedelta(minutes=10)),
            run_after=fields.pop("run_after", NOW),
            queued_at=fields.pop("queued_at", NOW),
            version_number=1,
            spec_key=dag.spec_key,
            bundle_version="b1",
            **fields,
        )
        self.store.create_run(run)
        return run

    def instance(self, run: DagRun, task_id: str, map_index: int = -1, **fields: Any) -> TaskInstance:
        """Have the instance be as said, whatever the way there."""
        before = self.store.get_instance(run.key.task_instance(task_id, map_index)) or TaskInstance(
            dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=map_index
        )
        after = replace(before, **fields)
        self.store.move(Transition("test", before, after, keeps_try=after.try_number > max(before.try_number, 1)))
        return after

    def xcom(self, run: DagRun, task_id: str, value: Any, *, name: str = "return_value", map_index: int = -1) -> None:
        key = TaskInstanceKey(run.dag_id, run.run_id, task_id, map_index)
        self.store.put_xcom(XCom(key=key, name=name, value=value, timestamp=NOW))


def etl_spec(**fields: Any) -> DagSpec:
    tasks = {
        "extract": TaskSpec(
            task_id="extract",
            operator="_PythonDecoratedOperator",
            operator_name="@task",
            downstream_task_ids=("transform",),
            retries=2,
            pool="slow",
            priority_weight=3,
        ),
        "transform": TaskSpec(
            task_id="transform",
            operator="PythonOperator",
            upstream_task_ids=("extract",),
            downstream_task_ids=("load",),
            expansion=Expansion.model_validate(
                {"kwargs": [{"kwarg": "x", "length": {"kind": "xcom", "task_id": "extract"}}]}
            ),
        ),
        "load": TaskSpec(task_id="load", operator="BashOperator", upstream_task_ids=("transform",)),
    }
    defaults: dict[str, Any] = {
        "dag_id": "etl",
        "timetable": TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        "tasks": tasks,
        "root_children": ("extract", "transform", "load"),
    }
    return DagSpec(**(defaults | fields))


def make_world() -> World:
    """One with nothing in it."""
    clock = ManualClock(NOW)
    store, objects, queues, logs = MemoryStore(clock=clock), MemoryObjects(), MemoryQueues(), FakeLogs()
    tokens = JwtTokens(lambda: "a signing key that is long enough for HS256")
    inventory, deployments = FakeInventory(), FakeDeployments()
    services = Services(
        store=store,
        objects=objects,
        queues=queues,
        tokens=tokens,
        clock=clock,
        logs=logs,
        cipher=FernetCipher(lambda: "a key of the stack"),
        inventory=inventory,
        deployments=deployments,
    )
    return World(services, store, objects, queues, clock, logs, inventory, deployments)
