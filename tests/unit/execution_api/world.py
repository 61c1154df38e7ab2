"""A control plane in memory, and workers that talk to it through Airflow's own client."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.logging import Logger

from gust.airflow_bridge.transport import LambdaTransport
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.execution_api.app import ExecutionApi
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.ports.clock import ManualClock
from gust.scheduling import transition
from gust.services.context import Services
from gust.services.settings.options import current_options
from gust.store.memory import MemoryStore

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUN = DagRunKey("etl", "manual__2026-03-01T12:00:00+00:00")


class WatchedStore:
    """Passes everything on, counts it by name, and lets something else happen once just before or after a call."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._before: dict[str, Callable[[], object]] = {}
        self._after: dict[str, Callable[[], object]] = {}
        self.calls: Counter[str] = Counter()

    def before(self, name: str, action: Callable[[], object]) -> None:
        self._before[name] = action

    def after(self, name: str, action: Callable[[], object]) -> None:
        self._after[name] = action

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            self._before.pop(name, lambda: None)()
            answer = method(*args, **kwargs)
            self._after.pop(name, lambda: None)()
            return answer

        return watched


class World:
    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.store = WatchedStore(MemoryStore(clock=self.clock))
        self.objects = MemoryObjects()
        self.tokens = JwtTokens(lambda: "a signing key that is long enough for HS256")
        self.services = Services(
            store=self.store,
            objects=self.objects,
            queues=MemoryQueues(),
            tokens=self.tokens,
            clock=self.clock,
            logs=None,
            cipher=FernetCipher(lambda: "a key of the stack"),
        )
        current_options(self.services)  # read once a minute
        self.store.calls.clear()
        self.log = io.StringIO()
        # A name of its own: powertools keeps one logger, with its first stream, per service name.
        self.api = ExecutionApi(self.services, log=Logger(service=f"test-{id(self.log)}", stream=self.log))

    # --- what there is ------------------------------------------------------------------------------------------------

    def given_dag(self, *tasks: TaskSpec, dag_id: str = RUN.dag_id, **fields: Any) -> DagSpec:
        spec = DagSpec(
            dag_id=dag_id,
            tasks={t.task_id: t for t in tasks},
            **{"timetable": TimetableSpec(type="airflow.timetables.simple.NullTimetable"), **fields},
        )
        # Named by its content, as in the bucket: specs are cached by key for as long as the process lives.
        text = spec.model_dump_json()
        key = f"specs/{hash(text)}.json"
        self.objects.put(key, text.encode())
        self.store.put_dag(None, Dag(dag_id=dag_id, version_number=1, spec_key=key))
        return spec

    def given_run(self, key: DagRunKey = RUN, *, logical_date: datetime | None = NOW, **fields: Any) -> DagRun:
        dag = self.store.get_dag(key.dag_id)
        run = DagRun(
            **{
                "dag_id": key.dag_id,
                "run_id": key.run_id,
                "run_type": DagRunType.MANUAL,
                "state": DagRunState.RUNNING,
                "run_after": logical_date or NOW,
                "queued_at": NOW,
                "start_date": NOW,
                "logical_date": logical_date,
                "data_interval_start": logical_date,
                "data_interval_end": logical_date,
                "version_number": 1,
                "spec_key": dag.spec_key if dag else "",
                **fields,
            }
        )
        self.store.create_run(run)
        return run

    def given_queued(
        self, task_id: str = "extract", *, map_index: int = -1, retries: int = 0, run: DagRunKey = RUN
    ) -> TaskInstance:
        new = TaskInstance(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=map_index)
        scheduled = transition.schedule(self.now(new), at=self.clock.now(), retries=retries)
        self.store.move(scheduled)
        queued = transition.queue(scheduled.after, at=self.clock.now())
        self.store.move(queued)
        return queued.after

    def given_running(self, task_id: str = "extract", **where: Any) -> TaskInstance:
        queued = self.given_queued(task_id, **where)
        started = transition.start(queued, at=self.clock.now(), hostname=hostname(), pid=42)
        self.store.move(started)
        return started.after

    def now(self, instance: TaskInstance) -> TaskInstance:
        """The instance as it is stored."""
        return self.store.get_instance(instance.key) or instance

    def state(self, instance: TaskInstance) -> S | None:
        return self.now(instance).state

    # --- who asks -----------------------------------------------------------------------------------------------------

    def token(self, instance: TaskInstance) -> str:
        """What who runs the dispatch has by then: the message's token, or what it was exchanged for."""
        if instance.state in (S.SCHEDULED, S.QUEUED):
            return self.tokens.for_dispatch(instance, now=self.clock.now())
        scope = Scope.TRIGGER if instance.state is S.DEFERRED else Scope.EXECUTION
        return self.tokens.renewed(Dispatch.of(instance, scope), now=self.clock.now())

    def started_by_message(self, instance: TaskInstance) -> Any:
        """The answer to the start of a queued instance, with the token that the scheduler would send now."""
        run = self.store.get_run(instance.key.run)
        self.store.calls["get_run"] -= 1
        token = self.tokens.for_dispatch(instance, now=self.clock.now(), run=run)
        body = {"state": "running", "hostname": hostname(), "unixname": "me", "pid": 42, "start_date": NOW.isoformat()}
        status, answer = self.request("PATCH", f"/task-instances/{instance.key.uuid(1)}/run", token=token, body=body)
        assert status == 200, answer
        return answer

    def worker(self, instance: TaskInstance) -> Any:
        """Airflow's client, as the supervisor uses it, for the instance's present dispatch."""
        from airflow.sdk.api.client import Client

        transport = LambdaTransport(self.invoke, self.objects)
        return Client(base_url="http://gust/execution/", token=self.token(instance), transport=transport)

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """As Lambda does: what does not survive being JSON does not arrive."""
        answer = self.api(json.loads(json.dumps(event)), None)
        return dict(json.loads(json.dumps(answer)))

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        text: str | None = None,
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and JSON of the answer to a bare request with a JSON `body`, or with `text` as it is."""
        headers = {**(headers or {}), **({"authorization": f"Bearer {token}"} if token else {})}
        text = json.dumps(body) if body is not None else text
        answer = self.api(http_event(method, f"/execution{path}", query, headers, text), None)
        return answer["statusCode"], json.loads(answer["body"]) if answer["body"] else None


def http_event(method: str, path: str, query: str, headers: dict[str, str], body: str | None) -> dict[str, Any]:
    """What API Gateway's HTTP API sends, payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {"stage": "$default", "http": {"method": method, "path": path}},
        "body": body,
        "isBase64Encoded": False,
    }


def failing(problem: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise problem

    return fail


def hostname() -> str:
    from airflow.sdk.api.client import get_hostname

    return get_hostname()


logging.getLogger("httpx").setLevel(logging.WARNING)
