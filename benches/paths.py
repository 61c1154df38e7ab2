"""What a task costs on each path through the control plane, counted: `python -m benches.paths [--check]`, without a stack.

The scheduler's door and the execution API run in this process over DynamoDB as MiniStack plays it, and the table's stream
wakes the scheduler through the template's own filter. Workers and triggerer are scripts that make the requests of real ones
(`tests/unit/worker/test_scripted_requests.py` compares them). So every unit, request and byte of a log is the same on a
busy machine. Every record and message comes alone: on AWS several come together, and cost less.

A function's time is the one thing assumed (`SECONDS`): its processor's share and its waits for AWS. `--check` holds each
path to its ceiling, as `tests/contract/test_task_price.py` does.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol
from uuid import uuid4

from aws_lambda_powertools.logging.formatter import BasePowertoolsFormatter
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

from benches.cost import Bill, bill_for, load_prices
from benches.meter import OWN_LINES, FunctionUse, consumed, log_bytes
from benches.shapes import fan_out, mesh
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.metrics import EmfMetrics
from gust.aws.tokens import JwtTokens
from gust.execution_api.app import ExecutionApi
from gust.function_log import function_log
from gust.model.asset import Asset
from gust.model.correlation import OF_WORKERS, new_correlation_id
from gust.model.dag import Dag
from gust.model.dag_spec import AssetRef, DagSpec, ExpandedKwarg, Expansion, TaskSpec, TimetableSpec, XComLength
from gust.model.execution_paths import BASE_PATH, CLAIM_CALLBACK, END_CALLBACK, PARK_TRIGGER, TRIGGER, TRIGGER_EVENT
from gust.model.state import DagRunTriggeredByType
from gust.model.workload import CallbackWorkload, ForTriggerer, TaskWorkload, TriggerWorkload, Wake
from gust.ports.clock import ManualClock
from gust.scheduling.pure_wait import encoded_moment
from gust.services.assets.asset_references import change_references
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.runs.next_run import with_next_run
from gust.store.dynamodb import DynamoDBStore
from gust.store.keyspace import TABLE_DEFINITION

ROOT: Final = Path(__file__).parents[1]
START: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
THIRTY_SECONDS: Final = timedelta(seconds=30)
PER_BATCH: Final = 10
PROCESSOR: Final = {"scheduler": 0.0046, "execution-api": 0.0026}
"""Seconds of a whole processor that an invocation takes (`benches.processor`)."""
A_CALL: Final = 0.005
"""Seconds that a function waits for an answer of DynamoDB or SQS."""
WHOLE_PROCESSOR: Final = 1769
"""MB of memory from which a function has a whole processor; with less it has that share of one (AWS Lambda's developer
guide, "Configure Lambda function memory")."""


class Meter:
    """Counts as `benches.meter` does, for the function at work."""

    def __init__(self) -> None:
        self.payer = ""
        self.counts: Counter[tuple[str, str, str, str]] = Counter()
        self.invocations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        """Calls of AWS, for whose answers a function waits."""

    def add(self, service: str, operation: str, unit: str, number: float = 1) -> None:
        if self.payer and number:
            self.counts[f"gust-{self.payer}", service, operation, unit] += number  # type: ignore[assignment]
            self.waits[self.payer] += unit == "calls"


@dataclass
class Paying:
    """A client of DynamoDB whose calls are counted."""

    client: Any
    meter: Meter

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        operation = "".join(word.capitalize() for word in name.split("_"))
        if operation not in {
            *("GetItem", "BatchGetItem", "Query", "BatchWriteItem", "PutItem", "UpdateItem", "DeleteItem"),
            "TransactWriteItems",
        }:
            return call

        def counted(**request: Any) -> Any:
            status, answer = 200, {}
            try:
                answer = call(**{**request, "ReturnConsumedCapacity": "TOTAL"})
            except ClientError as error:
                status, answer = 400, {"__type": error.response["Error"]["Code"]}
                raise
            finally:
                reads, writes = consumed(operation, request, status, answer)
                for unit, number in (("calls", 1), ("reads", reads), ("writes", writes)):
                    self.meter.add("dynamodb", operation, unit, number)
            return answer

        return counted


class PayingQueues(MemoryQueues):
    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def _sends(self, messages: int) -> None:
        self._meter.add("sqs", "SendMessageBatch", "calls", -(-messages // PER_BATCH))
        self._meter.add("sqs", "SendMessageBatch", "messages", messages)

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        self._sends(len(workloads))
        return super().send_tasks(workloads)

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        self._sends(len(workloads))
        return super().send_callbacks(workloads)

    def send_triggers(self, workloads: Sequence[ForTriggerer], *, delay: float = 0) -> None:
        self._sends(len(workloads))
        super().send_triggers(workloads, delay=delay)

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        self._sends(1)
        super().wake(wake, delay=delay)

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        self._sends(len(wakes))
        self.wakes += wakes


class ControlPlane:
    """Scheduler and execution API over a table of their own. `work` plays runs to their ends."""

    def __init__(self, dynamodb: Any, streams: Any) -> None:
        self.table = f"gust-{uuid4().hex}"
        dynamodb.create_table(TableName=self.table, **TABLE_DEFINITION)
        self._dynamodb, self._streams = dynamodb, streams
        self.meter, self.clock = Meter(), ManualClock(START)
        self.queues, self.objects = PayingQueues(self.meter), MemoryObjects()
        self.printed = io.StringIO()
        self.metrics = EmfMetrics("gust", "Stack", write=lambda line: self.printed.write(f"{line}\n") and None)
        client = Paying(dynamodb, self.meter)
        self.services = Services(
            store=DynamoDBStore(self.table, client, self.objects, clock=self.clock, metrics=self.metrics),
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=self.clock,
            logs=None,  # type: ignore[arg-type]  # no call reads logs here
            metrics=self.metrics,
            cipher=FernetCipher(lambda: "a key of the stack"),
        )
        self._door = scheduler_door()
        self._door.services = self.services  # type: ignore[attr-defined]
        self.api = ExecutionApi(self.services, log=function_log("execution_api"))
        self._work_log = {name: function_log(name) for name in ("worker", "triggerer")}
        self._filter = stream_filter()
        arn = dynamodb.describe_table(TableName=self.table)["Table"]["LatestStreamArn"]
        (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        self.at_work = ""
        self.processor = 0.0
        """Seconds of the scheduler, in this process."""
        self._at = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def close(self) -> None:
        self._dynamodb.delete_table(TableName=self.table)

    # --- what a person does -------------------------------------------------------------------------------------------

    def upload(self, spec: DagSpec) -> None:
        body = spec.model_dump_json().encode()
        key = f"specs/{sha256(body).hexdigest()}.json"
        self.objects.put(key, body)
        is_on_assets = spec.timetable.asset_expression is not None
        dag = Dag(
            dag_id=spec.dag_id,
            version_number=1,
            spec_key=key,
            bundle_version="b" * 64,
            relative_fileloc=spec.relative_fileloc,
            max_active_tasks=spec.max_active_tasks,
            max_active_runs=spec.max_active_runs,
            is_asset_triggered=is_on_assets,
        )
        self.services.store.put_dag(None, with_next_run(self.services, dag, spec, last=None, now=self.clock.now()))
        change_references(self.services, None, spec, at=self.clock.now())

    def trigger(self, dag_id: str) -> None:
        asked = replace(self.services, correlation_id=new_correlation_id())
        create_dag_run(asked, dag_id, run_id=f"manual__{uuid4().hex}", triggered_by=DagRunTriggeredByType.REST_API)

    # --- what the functions do ----------------------------------------------------------------------------------------

    @contextmanager
    def invocation(self, payer: str) -> Iterator[None]:
        """While it lasts, the function `payer` pays."""
        before, self.meter.payer = self.meter.payer, payer
        self.printed.seek(0)
        self.printed.truncate()
        self.meter.invocations[payer] += 1
        with printing_to(self.printed):
            yield
            self.metrics.flush()
        self.meter.add(OWN_LINES, "", "bytes", log_bytes(self.printed.getvalue().splitlines()))
        self.printed.seek(0)
        self.printed.truncate()
        self.meter.payer = before

    def tick(self) -> None:
        self._door.lambda_handler({"time": self.clock.now().isoformat()}, None)

    def schedule(self, record: Mapping[str, Any]) -> None:
        with self.invocation("scheduler"):
            began = time.process_time()
            answer = self._door.lambda_handler({"Records": [record]}, None)
            self.processor += time.process_time() - began
        assert answer == {"batchItemFailures": []}, answer

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str,
        body: Any = None,
        carried: Any = None,
        query: str = "",
        **names: str,
    ) -> Any:
        """The execution API's answer."""
        event = event_of(method, path, token, body, names) | {"rawQueryString": query}
        if carried is not None:
            event["carried"] = event_of("PUT", "/task-instances/{id}/rtif", token, carried, {"id": self.at_work})
        with self.invocation("execution-api"):
            answer = self.api(json.loads(json.dumps(event)), None)
        assert answer["statusCode"] < 300, answer
        self.settle()
        return answer

    def settle(self) -> None:
        """The scheduler follows what was written, and its messages to itself that are due."""
        while records := self._records():
            for record in records:
                self.schedule({**record, "eventSource": "aws:dynamodb"})
        while due := [each for each in self.queues.wakes if each[1] <= 0]:
            for each in due:
                self.queues.wakes.remove(each)
                self.schedule(message(each[0]))
                self.settle()

    def _records(self) -> list[dict[str, Any]]:
        answer = self._streams.get_records(ShardIterator=self._at)
        self._at = answer["NextShardIterator"]
        return [record for record in answer["Records"] if self._filter(record)]

    # --- what workers and time do -------------------------------------------------------------------------------------

    def work(self, script: Script) -> None:
        """Until no message and no timer is left."""
        self.settle()
        while True:
            if self.queues.tasks:
                workloads, self.queues.tasks = self.queues.tasks, []
                for workload in workloads:
                    self._dispatch("worker", "ran", workload.names, lambda w=workload: script.run(self, w))
            elif self.queues.callbacks:
                callback = self.queues.callbacks.pop(0)
                names = callback.model_dump(include={"dag_id", "run_id", "callback_id", "correlation_id"})
                self._dispatch("worker", "called", names, lambda w=callback: script.call(self, w))
            elif self.queues.triggers:
                trigger, delay = self.queues.triggers.pop(0)
                self.clock.advance(delay)
                assert isinstance(trigger, TriggerWorkload)
                self._dispatch("triggerer", "fired", trigger.names, lambda w=trigger: script.wait(self, w))
            elif self.queues.wakes:
                wake, delay = self.queues.wakes.pop(0)
                self.clock.advance(delay)
                self.schedule(message(wake))
                self.settle()
            else:
                return

    def _dispatch(self, payer: str, what: str, names: Mapping[str, Any], do: Callable[[], None]) -> None:
        """One message: the function works. All but those of short tasks it hides first, and writes a line about."""
        with self.invocation(payer):
            if what != "ran":
                self.meter.add("sqs", "ChangeMessageVisibility", "calls")
                self._work_log[payer].info(what, exit_code=0, **names)
        do()

    def uses(self, functions: Mapping[str, FunctionUse]) -> dict[str, FunctionUse]:
        return {
            name: replace(functions[name], invocations=number, seconds=seconds(self.meter, name, functions[name]))
            for name, number in self.meter.invocations.items()
        }


def seconds(meter: Meter, payer: str, function: FunctionUse) -> float:
    share = min(1.0, function.memory_mb / WHOLE_PROCESSOR)
    return meter.invocations[payer] * PROCESSOR.get(payer, 0.0) / share + meter.waits[payer] * A_CALL


def message(wake: Wake) -> dict[str, Any]:
    return {"eventSource": "aws:sqs", "messageId": "1", "body": wake.model_dump_json()}


def event_of(method: str, path: str, token: str, body: Any, names: Mapping[str, str]) -> dict[str, Any]:
    path = f"{BASE_PATH}{path.format(**names)}"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"authorization": f"Bearer {token}", "content-type": "application/json", OF_WORKERS: "0" * 16},
        "requestContext": {"stage": "$default", "http": {"method": method, "path": path}},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


# --- workers ----------------------------------------------------------------------------------------------------------

RENDERED: Final = {"op_args": [], "op_kwargs": {}, "templates_dict": None}


class Plane(Protocol):
    """What a script talks to."""

    clock: Any
    at_work: str
    """The id of the task instance whose worker asks."""

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str,
        body: Any = None,
        carried: Any = None,
        query: str = "",
        **names: str,
    ) -> Any: ...


@dataclass
class Script:
    """A worker and a triggerer that make the requests of real ones, for tasks that do nothing.

    `defers`, `pokes`: a task waits once, by a trigger that sleeps or by a reschedule of 30 seconds. `gives`: the length of
    the list that a task returns. `takes`: the task whose value it pulls. `outlets`: the assets of a DAG's tasks."""

    defers: frozenset[str] = frozenset()
    trigger: str = "triggers.of_the_folder.Mine"
    """Its class. The scheduler itself waits in the place of some of Airflow's."""
    pokes: frozenset[str] = frozenset()
    gives: Mapping[str, int] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)
    outlets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.1

    def run(self, plane: Plane, workload: TaskWorkload) -> None:
        plane.at_work = str(workload.id)
        names = {"id": plane.at_work}
        started = plane.request(
            "PATCH",
            "/task-instances/{id}/run",
            token=workload.token,
            body={"state": "running", "hostname": "2026/03/02/[$LATEST]" + "0" * 32, "unixname": "sbx_user1051",
                  "pid": 4711, "start_date": now_of(plane)},
            **names,
        )  # fmt: skip
        token, context = token_in(started), json.loads(started["body"])

        def ask(method: str, path: str, *, body: Any = None, query: str = "", **names: str) -> Any:
            return plane.request(method, path, token=token, body=body, query=query, **names)

        plane.clock.advance(self.seconds)
        of_run = {"dag_id": workload.dag_id, "run_id": workload.run_id}
        if source := self.takes.get(workload.task_id):
            ask("GET", "/xcoms/{dag_id}/{run_id}/{task_id}/return_value", **of_run, task_id=source)
        outlets = self.outlets.get(workload.dag_id, ())
        if outlets:
            ask("GET", "/task-instances/{id}/validate-inlets-and-outlets", **names)
        if workload.task_id in self.pokes and (context.get("task_reschedule_count") or 0) > 0:
            ask("GET", "/task-reschedules/{id}/start_date", query=f"try_number={workload.try_number}", **names)
        if workload.task_id in self.defers and not context.get("next_method"):
            body: dict[str, Any] = {
                "state": "deferred",
                "classpath": self.trigger,
                "trigger_kwargs": {"moment": encoded_moment(plane.clock.now() + THIRTY_SECONDS)},
                "next_method": "resume",
            }
        elif workload.task_id in self.pokes and not context.get("task_reschedule_count"):
            at = now_of(plane)
            later = (plane.clock.now() + THIRTY_SECONDS).isoformat()
            body = {"state": "up_for_reschedule", "end_date": at, "reschedule_date": later}
        else:
            if length := self.gives.get(workload.task_id):
                value, query = list(range(length)), f"mapped_length={length}"
                path = "/xcoms/{dag_id}/{run_id}/{task_id}/return_value"
                ask("POST", path, body=value, query=query, **of_run, task_id=workload.task_id)
            profiles = [{"name": name, "uri": f"s3://lake/{name}", "type": "Asset"} for name in outlets]
            body = {"state": "success", "end_date": now_of(plane), "task_outlets": profiles, "outlet_events": []}
        plane.request("PATCH", "/task-instances/{id}/state", token=token, body=body, carried=RENDERED, **names)

    def wait(self, plane: Plane, workload: TriggerWorkload) -> None:
        """The first life parks the trigger at its sleep, the second fires."""
        names = {"task_instance_id": str(workload.id)}
        token = token_in(plane.request("GET", TRIGGER, token=workload.token, **names))
        if workload.sleeps_passed == 0:
            later = (plane.clock.now() + THIRTY_SECONDS).isoformat()
            plane.request(
                "POST",
                PARK_TRIGGER,
                token=token,
                body={"wake_at": later, "sleeps_passed": 1, "is_poller": False},
                **names,
            )
        else:
            plane.request("POST", TRIGGER_EVENT, token=token, body={"event": 1}, **names)

    def call(self, plane: Plane, workload: CallbackWorkload) -> None:
        names = {"callback_uuid": str(workload.id)}
        claimed = plane.request("PATCH", CLAIM_CALLBACK, token=workload.token, body={"hostname": "worker"}, **names)
        plane.request("PATCH", END_CALLBACK, token=token_in(claimed), body={"output": None}, **names)


def token_in(answer: Mapping[str, Any]) -> str:
    return next(value for name, value in answer["headers"].items() if name.lower() == "refreshed-api-token")


def now_of(plane: Plane) -> str:
    return plane.clock.now().isoformat()


# --- paths ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PricedPath:
    """Runs that are priced together, and by how many tasks (or other things) the price is divided."""

    title: str
    ceiling: float
    """Dollars a million."""
    specs: tuple[DagSpec, ...]
    count: int
    script: Script = field(default_factory=Script)
    assets: tuple[str, ...] = ()
    without: tuple[DagSpec, ...] = ()
    """Runs whose price is no part of it."""


def dag(dag_id: str, upstream: Mapping[str, Sequence[str]], **fields: Any) -> DagSpec:
    """`upstream`: task → the tasks that it waits for. Fields of a task are under its id in `of`."""
    of: Mapping[str, Any] = fields.pop("of", {})
    tasks = {
        task_id: TaskSpec(
            task_id=task_id,
            upstream_task_ids=tuple(above),
            downstream_task_ids=tuple(other for other, its in upstream.items() if task_id in its),
            **of.get(task_id, {}),
        )
        for task_id, above in upstream.items()
    }
    timetable = TimetableSpec(type="airflow.timetables.simple.NullTimetable")
    return DagSpec(
        **{"dag_id": dag_id, "relative_fileloc": f"{dag_id}.py", "timetable": timetable, "max_active_tasks": 1_000,
           "tasks": tasks, **fields}
    )  # fmt: skip


def chained(dag_id: str, length: int, **fields: Any) -> DagSpec:
    names = [f"task_{number:02}" for number in range(length)]
    return dag(dag_id, {name: names[max(0, n - 1) : n] for n, name in enumerate(names)}, **fields)


PURE_WAIT: Final = "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
ASSET: Final = "orders"
ON_ASSET: Final = TimetableSpec(
    type="airflow.timetables.simple.AssetTriggeredTimetable",
    asset_expression={"all": [{"asset": {"name": ASSET, "uri": f"s3://lake/{ASSET}", "group": "asset"}}]},
    periodic=False,
)
OUTLET: Final = AssetRef(name=ASSET, uri=f"s3://lake/{ASSET}")
OVER_XCOM: Final = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=XComLength(task_id="many")),))

ALONE: Final = (chained("alone", 1),)
TWO: Final = frozenset({"task_00", "task_01"})

CHAINED: Final = PricedPath("one more task of a chain", 5.00, (chained("chain", 4),), 3, without=ALONE)
LONG: Final = PricedPath(
    "one more task of a chain that is longer than may be active",
    5.00,
    (chained("long_chain", 20, max_active_tasks=16),),
    19,
    without=ALONE,
)
BESIDE: Final = PricedPath("one more task side by side", 4.70, (dag("fan_out", fan_out(10)),), 10, without=ALONE)
WIDE: Final = PricedPath(
    "one more task side by side, of more than may be active",
    6.90,
    (dag("wide", fan_out(40), max_active_tasks=16),),
    40,
    without=ALONE,
)
MESHED: Final = PricedPath(
    "one more task that waits for eight", 5.00, (dag("mesh", mesh(2, 8)),), 8, without=(dag("layer", mesh(1, 8)),)
)
RUN: Final = PricedPath("a run with its only task", 14.00, ALONE, 1)

PATHS: Final = (
    CHAINED,
    LONG,
    BESIDE,
    WIDE,
    MESHED,
    RUN,
    PricedPath(
        "one more instance of a mapped task over an XCom",
        5.50,
        (dag("mapped", {"many": (), "each": ("many",)}, of={"each": {"expansion": OVER_XCOM}}),),
        10,
        Script(gives={"many": 10}, takes={"each": "many"}),
        without=ALONE,
    ),
    PricedPath(
        "one more task that defers, and whose trigger sleeps once",
        20.40,
        (chained("polls", 2),),
        1,
        Script(defers=TWO),
        without=ALONE,
    ),
    PricedPath(
        "one more task that defers to a moment",
        17.50,
        (chained("waits", 2),),
        1,
        Script(defers=TWO, trigger=PURE_WAIT),
        without=ALONE,
    ),
    PricedPath(
        "one more task that is rescheduled once", 17.50, (chained("pokes", 2),), 1, Script(pokes=TWO), without=ALONE
    ),
    PricedPath(
        "an asset event that makes a run, the rest of both runs not counted",
        18.40,
        (
            chained("makes", 1, of={"task_00": {"outlets": (OUTLET,)}}),
            chained("takes", 1, timetable=ON_ASSET),
        ),
        1,
        Script(outlets={"makes": (ASSET,)}),
        assets=(ASSET,),
        without=(chained("alone", 1), chained("alone_too", 1)),
    ),
    PricedPath(
        "a callback of a DAG",
        7.10,
        (chained("calls", 1, has_on_success_callback=True),),
        1,
        without=ALONE,
    ),
)


def bill(way: PricedPath, dynamodb: Any, streams: Any) -> Bill:
    random.seed(way.title)  # the scheduler's quick look takes one of several equal ways at random
    counts: Counter[Any] = Counter()
    functions: dict[str, FunctionUse] = {}
    for specs, sign in ((way.specs, 1), (way.without, -1)):
        if not specs:
            continue
        plane = ControlPlane(dynamodb, streams)
        for spec in specs:
            plane.upload(spec)
        for name in way.assets if sign > 0 else ():
            plane.services.store.put_asset(Asset(name=name, uri=f"s3://lake/{name}"))
        plane.settle()
        plane.meter.counts.clear()
        plane.meter.invocations.clear()
        plane.meter.waits.clear()
        for spec in specs:
            if spec.timetable.asset_expression is None:
                plane.trigger(spec.dag_id)
                plane.work(way.script)
        for spec in specs:
            states = {str(run.state) for run in plane.services.store.list_runs(spec.dag_id)}
            assert states == {"success"}, (spec.dag_id, states)
        for key, number in plane.meter.counts.items():
            counts[key] += sign * number
        for name, use in plane.uses(function_sizes()).items():
            before = functions.get(name, replace(use, invocations=0, seconds=0.0))
            functions[name] = replace(
                use,
                invocations=before.invocations + sign * use.invocations,
                seconds=before.seconds + sign * use.seconds,
            )
        plane.close()
    return bill_for(way.count, counts, functions, load_prices())


# --- the functions, as the template has them --------------------------------------------------------------------------


@cache
def template() -> dict[str, Any]:
    found: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return found


def function_sizes() -> dict[str, FunctionUse]:
    resources = template()["Resources"]
    names = {
        "scheduler": "SchedulerFunction",
        "execution-api": "ExecutionApiFunction",
        "worker": "WorkerFunction",
        "triggerer": "TriggererFunction",
    }
    sizes = {name: resources[logical]["Properties"]["MemorySize"] for name, logical in names.items()}
    given = int(template()["Parameters"]["WorkerMemory"]["Default"])
    return {
        name: FunctionUse(0, 0.0, size if isinstance(size, int) else given, "arm64") for name, size in sizes.items()
    }


def stream_filter() -> Callable[[Mapping[str, Any]], bool]:
    """Whether a record of the table's stream wakes the scheduler."""
    properties = template()["Resources"]["SchedulerFunction"]["Properties"]["Events"]["Changes"]["Properties"]
    patterns = [json.loads(each["Pattern"]) for each in properties["FilterCriteria"]["Filters"]]
    return lambda record: any(matches(record, pattern) for pattern in patterns)


def matches(value: Any, pattern: Any) -> bool:
    """By as much of Lambda's rules as the template uses: values and their beginnings."""
    if isinstance(pattern, dict):
        return isinstance(value, Mapping) and all(matches(value.get(name), its) for name, its in pattern.items())
    return any(
        isinstance(value, str) and (value.startswith(one["prefix"]) if isinstance(one, dict) else value == one)
        for one in pattern
    )


@cache
def scheduler_door() -> ModuleType:
    """The function's module. It makes its services from the environment; callers put others in their place."""
    needed = {
        "GUST_TABLE": "table", "GUST_BUCKET": "bucket", "AWS_DEFAULT_REGION": "us-east-1", "GUST_SIGNING_KEYS": "keys",
    }  # fmt: skip
    missing = {name: value for name, value in needed.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        spec = importlib.util.spec_from_file_location("priced_scheduler", ROOT / "functions/scheduler/app.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        for name in missing:
            del os.environ[name]
    return module


@contextmanager
def printing_to(buffer: io.StringIO) -> Iterator[None]:
    """The functions' loggers print there meanwhile."""
    handlers = [
        handler
        for name in ("scheduler", "execution_api", "worker", "triggerer")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.formatter, BasePowertoolsFormatter)
    ]
    before = [(handler, handler.setStream(buffer)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in before:
            if stream is not None:
                handler.setStream(stream)


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    from tests.contract.stores import emulated

    parser = argparse.ArgumentParser(prog="python -m benches.paths", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a path costs more than its ceiling")
    parser.add_argument("--only", default="", help="paths whose titles have this text")
    parser.add_argument("--lines", action="store_true", help="what each path is billed for")
    options = parser.parse_args(arguments)
    dear = []
    with tempfile.TemporaryDirectory() as home, emulated(Path(home), "dynamodb,dynamodbstreams") as aws:
        for way in PATHS:
            if options.only not in way.title:
                continue
            its = bill(way, aws.dynamodb, aws.streams)
            dollars = its.control_plane_per_million
            print(f"{way.title:60} ${dollars:6.2f} a million (at most ${way.ceiling:.2f})", flush=True)
            if options.lines:
                print("\n".join(f"    {line}" for line in its.told()))
            dear += [way.title] * (dollars > way.ceiling)
    for title in dear:
        print(f"MISSED  {title}", file=sys.stderr)
    return 1 if options.check and dear else 0


if __name__ == "__main__":
    sys.exit(main())
