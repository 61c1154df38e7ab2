"""All that Gust knows of MiniStack's insides: what it replaces there, and what it reads.

MiniStack documents none of these names, and to replace a function that it does not have would silently change nothing. So
`NAMES` lists each of them, and the emulator calls `check` before it starts. MiniStack reads its settings on import:
import it only inside functions.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import itertools
import json
import logging
import operator
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from gust.airflow_bridge import leftovers
from gust.aws.queues import HIDDEN_FOR
from gust.errors import GustError
from gust.local import alarms, aws_metrics
from gust.local.asgi import Application, Receive, Scope, Send
from gust.local.containers import Processes, in_pascal_case, refused_size
from gust.local.function_pool import IDLE, FunctionPool, Process, is_over
from gust.local.log_files import FileEvents, LogFiles, LogFolder, saved
from gust.local.metrics import Totals, Value, values_in
from gust.local.output import Output
from gust.local.shortcuts import comparing_keys, projecting_names, service_of, sorting_text
from gust.local.storage import Storage
from gust.local.zygote import Subprocess, Zygote

PINNED: Final = "1.5.33"
"""The version that this module was written against; requirements/local.in pins it."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "ministack.app": ("PERSIST_STATE", "_build_persistence_save_dict", "_get_module", "app"),
    "ministack.core.lambda_runtime": (
        "Worker._drain_stderr",
        "Worker._drain_stderr_bounded",
        "Worker._read_stderr",
        "Worker._spawn",
        "_LOCAL_WORKER_TTL",
        "_lock",
        "_workers",
        "kill_workers",
        "acquire_worker",
        "reset",
        "subprocess",
    ),
    "ministack.core.persistence": ("STATE_DIR", "_json_default", "_state_format_version", "save_all", "save_state"),
    "ministack.core.responses": ("set_request_account_id", "set_request_region"),
    "ministack.core.router": ("extract_access_key_id", "extract_region"),
    "ministack.services.cloudwatch": (
        "_alarms._data",
        "_dims_key",
        "_dispatch_alarm_actions",
        "_evaluate_all_alarms",
        "_metric_bucket",
        "_metrics._data",
        "_record_history",
        "record_metric",
    ),
    "ministack.services.cloudwatch_logs": (
        "_fanout_to_live_tail_sessions",
        "_fanout_to_subscription_filters",
        "_log_groups._data",
        "_log_records._data",
        "_put_log_events",
        "handle_request",
        "json_response",
    ),
    "ministack.services.dynamodb": (
        "_condition_syntax_error",
        "_evaluate_condition",
        "_project_item",
        "_sort_key_value",
        "_stream_records._data",
        "_tokenize",
        "esm_wake",
        "handle_request",
        "stream_records_since",
    ),
    "ministack.services.eventbridge": ("_rule_last_fired", "_rules._data"),
    "ministack.services.ecs": (
        "_ACTION_MAP",
        "_describe_tasks",
        "_docker",
        "_resolve_cluster_name",
        "_resolve_task",
        "_run_task",
        "_sanitize",
        "_stop_task",
        "_task_defs",
        "_tasks",
        "json_response",
    ),
    "ministack.services.kinesis": ("_streams._data",),
    "ministack.services.lambda_svc": (
        "CODE_BLOB_DIR",
        "_ESM_IDLE_WAKE_GAP_SECONDS",
        "_dynamodb_stream_positions._data",
        "_emit_lambda_logs",
        "_emit_lambda_metrics",
        "_esm_wake",
        "_esms._data",
        "_kinesis_positions._data",
        "_poll_dynamodb_streams",
        "_poll_loop",
        "_poll_sqs",
        "_run_sqs_batch",
        "acquire_worker",
        "handle_request",
        "reap_idle_workers",
        "release_worker",
    ),
    "ministack.services.s3": ("_buckets", "_persist_object"),
    "ministack.services.sqs": ("_queues._data",),
    "ministack.services.stepfunctions": (
        "_ExecutionError",
        "_SERVICE_DISPATCH",
        "_executions._data",
        "_pascal_to_camel",
        "_run_execution",
    ),
}
"""Module → names of it, or of an object in it, that this module uses."""

LARGEST_LOG: Final = 20_000_000
"""Bytes after which a function's log file starts anew; the previous one is kept."""

LOOK_EVERY: Final = 0.25
"""Seconds between two reads of streams and queues where nothing reports a change: a delayed message comes by time alone, and
so does another attempt at a failed one."""

STOP_TIMEOUT: Final = 120
"""Seconds from a container's SIGTERM to SIGKILL, as in the template."""

log = logging.getLogger("gust.emulator")


class MiniStackChangedError(GustError):
    """The installed MiniStack lacks a name that Gust uses; the message names it and both versions."""


def check(names: Mapping[str, Sequence[str]] = NAMES) -> None:
    """Raises MiniStackChangedError where one of `names` is gone."""
    gone = list(_gone(names))
    if gone:
        raise MiniStackChangedError(
            f"MiniStack {version('ministack')} has no {', '.join(gone)}. Gust was written against MiniStack {PINNED}: "
            "install that version (requirements/local.txt), or adapt gust/local/ministack.py."
        )


def _gone(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for module_name, attributes in names.items():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError:
            yield module_name
            continue
        for attribute in attributes:
            try:
                operator.attrgetter(attribute)(module)
            except AttributeError:
                yield f"{module_name}.{attribute}"


def application() -> Application:
    """MiniStack itself."""
    from ministack import app

    served: Application = app.app
    return served


# --- requests ---------------------------------------------------------------------------------------------------------


def straight_to_the_service(application: Application) -> Application:
    """Answer the most frequent calls without MiniStack's router; `application` gets the others. The router tries a hundred
    services before it reads the header that names the service: a quarter of what a task's calls cost."""
    from ministack import app
    from ministack.core import responses, router

    # Asked for by name, so that they are among those whose state is saved.
    services = {name: app._get_module(name) for name in ("dynamodb", "cloudwatch_logs", "lambda_svc")}

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        name = service_of(scope)
        if name is None:
            await application(scope, receive, send)
            return
        body = bytearray()
        while (part := await receive())["type"] == "http.request":
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        else:
            return  # the client has hung up
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        responses.set_request_account_id(router.extract_access_key_id(headers))
        responses.set_request_region(router.extract_region(headers))
        try:
            status, named, answer = await services[name].handle_request("POST", scope["path"], headers, bytes(body), {})
        except Exception:
            log.exception("MiniStack failed: %s %s", scope["path"], headers.get("x-amz-target", ""))
            status, named, answer = 500, {"content-type": "application/json"}, b'{"__type": "InternalError"}'
        content = answer if isinstance(answer, bytes) else answer.encode()
        sent = [(key.lower().encode(), str(value).encode()) for key, value in named.items()]
        if b"content-length" not in dict(sent):
            sent.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": content})

    return handle


def parse_expressions_once() -> None:
    """MiniStack parses and checks the condition of a Query anew for every item of the partition."""
    from ministack.services import dynamodb

    once = functools.lru_cache(maxsize=1024)
    dynamodb._tokenize = once(dynamodb._tokenize)
    dynamodb._condition_syntax_error = once(dynamodb._condition_syntax_error)
    dynamodb._evaluate_condition = comparing_keys(dynamodb._evaluate_condition)
    dynamodb._project_item = projecting_names(dynamodb._project_item)
    dynamodb._sort_key_value = sorting_text(dynamodb._sort_key_value)


# --- logs -------------------------------------------------------------------------------------------------------------


def write_function_logs(folder: Path, totals: Totals) -> None:
    """Write a function's output to `folder`/<function>.log. MiniStack keeps it in a new log stream per invocation, and all
    streams in memory and in every checkpoint. Output of tasks does not come this way: the worker sends it itself.

    Metrics in the output go to the emulator's CloudWatch, as on AWS, and to `totals`."""
    from ministack.services import lambda_svc

    def write(function: dict[str, Any], request_id: str, text: str, error: bool, milliseconds: int, **_: Any) -> None:
        name = function.get("config", function).get("FunctionName", "unknown")
        record([*values_in(text), *aws_metrics.of_invocation(name, failed=error, milliseconds=milliseconds)], totals)
        report = f"{time.strftime('%H:%M:%S')} {request_id} {'FAILED' if error else 'done'} in {milliseconds} ms\n"
        with contextlib.suppress(OSError):
            files.append(name, (text.rstrip() + "\n" if text.strip() else "") + report)

    files = LogFolder(folder, largest=LARGEST_LOG)
    lambda_svc._emit_lambda_logs = write


def take_output_with_answers() -> None:
    """Have an invocation end with its answer. MiniStack then waits until the function has printed nothing for 5 ms, or 50 if
    it prints nothing at all, and its caller and its process wait too."""
    from ministack.core.lambda_runtime import Worker

    outputs: weakref.WeakKeyDictionary[Any, Output] = weakref.WeakKeyDictionary()

    def read(worker: Any) -> None:
        outputs[worker] = output = Output(worker._proc.stderr)
        output.keep_taking()

    def drain(worker: Any, **_: float) -> str:
        output = outputs.get(worker)
        return "" if output is None else output.take()

    Worker._read_stderr = read
    Worker._drain_stderr = Worker._drain_stderr_bounded = drain


# --- metrics and alarms -----------------------------------------------------------------------------------------------


def record(values: Iterable[Value], totals: Totals) -> None:
    """Put values into CloudWatch and into `totals`."""
    from ministack.services import cloudwatch

    for value in values:
        totals.add(value)
        cloudwatch.record_metric(value.namespace, value.name, value.value, value.unit, dict(value.dimensions))


LOOKS_A_MINUTE: Final = 6

COMPARED: Final = 64
"""The latest points of a metric with which a new value is compared."""


def keep_metrics(totals: Totals, waiting: Callable[[str], int], *, minute: float = 60.0) -> None:
    """Keep the metrics that AWS keeps of functions, queues, streams and schedules, and evaluate alarms as CloudWatch does,
    several times a minute. `waiting`: function → invocations that have no process yet. `minute`: how many seconds one takes,
    for tests."""
    from ministack.services import cloudwatch, lambda_svc

    def throttled(name: str, *, throttle: bool, **_: Any) -> None:
        # MiniStack counts only some invocations here; `write_function_logs` counts all.
        if throttle:
            record([aws_metrics.of_throttle(name)], totals)

    watch = aws_metrics.Watch(pace=60 / minute)

    def keep_looking() -> None:
        while True:
            time.sleep(minute / LOOKS_A_MINUTE)
            try:
                record(watch.look(queues_now(waiting), streams_now(), rules_fired()), totals)
                evaluate_alarms(minute=minute)
            except Exception:
                log.exception("The metrics could not be kept")

    lambda_svc._emit_lambda_metrics = throttled
    cloudwatch._evaluate_all_alarms = lambda: None
    cloudwatch.record_metric = functools.partial(record_once, slot=minute / LOOKS_A_MINUTE)
    threading.Thread(target=keep_looking, name="gust-metrics", daemon=True).start()


def record_once(
    namespace: str,
    name: str,
    value: float,
    unit: str = "None",
    dimensions: dict[str, str] | None = None,
    *,
    slot: float,
) -> None:
    """As MiniStack's `record_metric`, but equal values of the same `slot` seconds are one point: MiniStack holds all points
    of two weeks in memory, and in each checkpoint. Numbers keep three digits."""
    from ministack.services import cloudwatch

    points = cloudwatch._metric_bucket((namespace, name, cloudwatch._dims_key(dimensions or {})))
    now, rounded = time.time(), float(f"{value:.3g}")
    for point in itertools.islice(reversed(points), COMPARED):
        if point["Timestamp"] // slot != now // slot:
            break
        if point["Value"] == rounded and "_stat" not in point:
            point["Count"] = point.get("Count", 1.0) + 1
            return
    points.append({"Timestamp": now, "Value": rounded, "Unit": unit, "Dimensions": dict(dimensions or {})})


def evaluate_alarms(*, minute: float = 60.0) -> None:
    from ministack.core import responses
    from ministack.services import cloudwatch

    now = time.time()
    for (account, region, _), alarm in list(cloudwatch._alarms._data.items()):
        if not alarms.can_evaluate(alarm):
            continue
        named = cloudwatch._dims_key({each["Name"]: each["Value"] for each in alarm["Dimensions"]})
        key = (account, region, (alarm["Namespace"], alarm["MetricName"], named))
        since = now - alarm["Period"] * alarm["EvaluationPeriods"] / 60 * minute
        points = []
        for each in reversed(cloudwatch._metrics._data.get(key, [])):
            if each["Timestamp"] < since:
                break
            points.append(alarms.Point(each["Timestamp"], each["Value"], each.get("Count", 1.0)))
        verdict, before = alarms.evaluate(alarm, points, now=now, minute=minute), alarm["StateValue"]
        if verdict.state != before:
            alarm.update(StateValue=verdict.state, StateReason=verdict.reason, StateUpdatedTimestamp=int(now))
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            cloudwatch._record_history(alarm["AlarmName"], before, verdict.state, verdict.reason)
            cloudwatch._dispatch_alarm_actions(alarm, before, verdict.state, verdict.reason)


def queues_now(waiting: Callable[[str], int]) -> Iterator[aws_metrics.Queue]:
    from ministack.services import lambda_svc, sqs

    now = time.time()
    readers = {each["EventSourceArn"]: each["FunctionName"] for each in list(lambda_svc._esms._data.values())}
    for url, held in list(sqs._queues._data.items()):
        messages = list(held["messages"])
        # A message whose function has no free process yet would still be on AWS's queue.
        begun = [each for each in messages if each["visible_at"] > now and each.get("receive_count")]
        early = min(len(begun), waiting(readers.get(held["attributes"]["QueueArn"], "")))
        sent = [each["sent_at"] for each in messages if each["visible_at"] <= now or each.get("receive_count")]
        visible = sum(each["visible_at"] <= now for each in messages)
        name = str(url[-1]).rpartition("/")[2]
        yield aws_metrics.Queue(name, visible + early, len(begun) - early, now - min(sent, default=now))


def streams_now() -> Iterator[aws_metrics.Stream]:
    yield from tables_streams_now()
    yield from kinesis_streams_now()


def kinesis_streams_now() -> Iterator[aws_metrics.Stream]:
    from ministack.services import kinesis, lambda_svc

    now = time.time()
    streams = {stream["StreamARN"]: stream for stream in list(kinesis._streams._data.values())}
    for key, positions in list(lambda_svc._kinesis_positions._data.items()):
        mapping = lambda_svc._esms._data.get(key)
        if mapping is None or (stream := streams.get(mapping["EventSourceArn"])) is None:
            continue
        for shard_id, position in list(positions.items()):
            unread = stream["shards"][shard_id]["records"][position : position + 1]
            age = max((now - record["ApproximateArrivalTimestamp"] for record in unread), default=0.0)
            yield aws_metrics.Stream(mapping["FunctionName"], position, max(0.0, age), f"{key[-1]}/{shard_id}")


def tables_streams_now() -> Iterator[aws_metrics.Stream]:
    from ministack.services import dynamodb, lambda_svc

    now = time.time()
    for (account, region, mapping_id), position in list(lambda_svc._dynamodb_stream_positions._data.items()):
        mapping = lambda_svc._esms._data.get((account, region, mapping_id))
        if mapping is not None:
            table = mapping["EventSourceArn"].split("/stream/")[0].split("/")[-1]
            oldest = dynamodb.stream_records_since(table, position, 1, account_id=account, region=region)
            # In whole seconds, rounded down: it came before the next one.
            came = [each["dynamodb"]["ApproximateCreationDateTime"] + 1.0 for each in oldest]
            yield aws_metrics.Stream(mapping["FunctionName"], position, max(0.0, now - min(came, default=now)))


def rules_fired() -> dict[str, float]:
    """Rule with a schedule → when it last fired."""
    from ministack.services import eventbridge

    return {
        str(rule["Name"]): eventbridge._rule_last_fired[key]
        for key, rule in list(eventbridge._rules._data.items())
        if eventbridge._rule_last_fired.get(key, rule.get("CreationTime")) != rule.get("CreationTime")
    }


def keep_logs_in_files(folder: Path) -> LogFiles:
    """Have CloudWatch Logs keep its streams in `folder`."""
    from ministack.services import cloudwatch_logs as logs

    files = LogFiles(folder)
    put = logs._put_log_events

    def put_log_events(data: dict[str, Any]) -> Any:
        group, name = data.get("logGroupName", ""), data.get("logStreamName", "")
        stream = logs._log_groups[group]["streams"].get(name) if group in logs._log_groups else None
        if stream is None:
            return put(data)  # refuses it
        stored = files.put(group, name, stream, data.get("logEvents", []))
        stream["uploadSequenceToken"] = token = str(int(stream["uploadSequenceToken"]) + 1)
        logs._fanout_to_subscription_filters(group, name, data.get("logEvents", []))
        logs._fanout_to_live_tail_sessions(group, name, stored)
        return logs.json_response({"nextSequenceToken": token})

    logs._put_log_events = put_log_events
    return files


def adopt_streams(files: LogFiles) -> None:
    """Put files in the place of the streams that MiniStack has read from a checkpoint; drop its second copy of lines."""
    from ministack.services import cloudwatch_logs as logs

    logs._log_records._data.clear()
    files.adopt({key[-1]: about for key, about in logs._log_groups._data.items()})


# --- functions, queues and streams --------------------------------------------------------------------------------------


def limit_processes(limits: Mapping[str, int]) -> FunctionPool:
    """Have functions live in a pool of at most so many processes each. After `IDLE` seconds without work one stays, and none
    of a rare function. What a process that ends has unpacked ends with it."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    def processes(name: str) -> list[Process]:
        with lambda_runtime._lock:
            return [each for pool in lambda_runtime._workers.values() for each in pool if each.func_name == name]

    lambda_runtime._LOCAL_WORKER_TTL = IDLE
    pool = FunctionPool(lambda_runtime.acquire_worker, processes, limits)
    release, spawn, kill = lambda_svc.release_worker, lambda_runtime.Worker._spawn, lambda_runtime.kill_workers
    reap = lambda_svc.reap_idle_workers

    def released(process: Any) -> None:
        if process is not None:
            process.last_used = time.time()  # MiniStack counts from the beginning of the invocation
        release(process)
        if process is not None:
            pool.started(process)
        pool.released()

    def spawned(process: Any) -> None:
        try:
            spawn(process)
        finally:
            pool.started(process)

    def killed(ended: Iterable[Any]) -> None:
        ended = [each for each in ended if each is not None]
        numbers = [each._proc.pid for each in ended if each._proc is not None]
        kill(ended)
        tmp = Path(tempfile.gettempdir())
        for number in numbers:
            for folder in (tmp / f"gust-bundles-{number}", *tmp.glob(f"gust-bundles-{number}-*")):
                leftovers.remove(folder)

    def reaped() -> int:
        number, now = int(reap()), time.time()
        with lambda_runtime._lock:
            over = [each for pool in lambda_runtime._workers.values() for each in pool if is_over(each, now)]
            for key, kept in list(lambda_runtime._workers.items()):
                lambda_runtime._workers[key] = [each for each in kept if each not in over]
        killed(over)
        return number + len(over)

    lambda_svc.acquire_worker = pool.acquire
    lambda_svc.reap_idle_workers = reaped
    lambda_svc.release_worker = released
    lambda_runtime.Worker._spawn = spawned
    lambda_runtime.kill_workers = killed
    return pool


def fork_functions(zygote: Zygote, is_ours: Callable[[str], bool]) -> None:
    """Have the processes of functions that `is_ours` says yes to, by name, be forks of the zygote."""
    from ministack.core import lambda_runtime

    lambda_runtime.subprocess = Subprocess(zygote, is_ours)


def end_functions() -> None:
    """End the processes of all functions: they are children of the emulator."""
    from ministack.core import lambda_runtime

    lambda_runtime.reset()


# --- containers -------------------------------------------------------------------------------------------------------


def run_containers_as_processes(logs: Path, port: int, *, limit: int) -> None:
    """MiniStack runs containers where it finds a Docker client: it gets one that starts processes, `most` at a time. What
    they print goes to a file in `logs`."""
    from ministack.services import ecs, stepfunctions

    def definition_of(name: str) -> Mapping[str, Any]:
        (container,) = ecs._task_defs[name]["containerDefinitions"]
        return dict(container)

    ecs._docker = Processes(logs / "containers.log", f"http://127.0.0.1:{port}", definition_of, limit=limit)
    ecs._ACTION_MAP["StopTask"] = stop_task
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::ecs:runTask"] = run_task
    run_execution = stepfunctions._run_execution

    def run_known_execution(arn: str) -> None:
        _of_thread.execution = stepfunctions._executions.get(arn)
        run_execution(arn)

    stepfunctions._run_execution = run_known_execution


_of_thread = threading.local()
"""`execution` is the one that this thread runs. MiniStack does not tell an integration which execution it serves."""


def end_containers() -> None:
    from ministack.services import ecs

    ecs._docker.end_all()


def run_task(resource: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`ecs:runTask` and `ecs:runTask.sync` of a state machine, with the errors of Step Functions, also for exit codes. When
    the execution is stopped, so is the container. MiniStack's own leaves it running, waits for ten minutes at most and
    ignores the exit code."""
    from ministack.services import ecs, stepfunctions

    failed = stepfunctions._ExecutionError
    request = stepfunctions._pascal_to_camel(parameters)
    if (refusal := refused_size(request.get("overrides", {}))) is not None:
        raise failed("ECS.ClientException", refusal)
    status, _, body = ecs._run_task(request)
    answer = json.loads(body)
    if status >= 400:
        raise failed("ECS.AmazonECSException", answer.get("message", str(answer)))
    if answer.get("failures"):
        raise failed("AmazonECS.Unknown", json.dumps(answer["failures"]))
    if not resource.endswith(".sync"):
        return dict(in_pascal_case(answer))
    task = _await_end(request["cluster"], answer["tasks"][0]["taskArn"])
    codes = [container.get("ExitCode") for container in task["Containers"]]
    if task.get("StopCode") == "TaskFailedToStart" or any(code != 0 for code in codes):
        raise failed("States.TaskFailed", json.dumps(task))
    return task


def stop_task(request: Mapping[str, Any]) -> Any:
    """ECS's StopTask: answers at once, gives the container its time to end, and tells of the task as stopped after that.
    MiniStack's own tells so first, and kills the container five seconds later."""
    from ministack.services import ecs

    cluster = ecs._resolve_cluster_name(request.get("cluster", "default"))
    task = cluster and ecs._resolve_task(request.get("task", ""), cluster)
    if not task or task["lastStatus"] != "RUNNING" or not task.get("_docker_ids"):
        return ecs._stop_task(request)
    task["lastStatus"] = "STOPPING"  # DescribeTasks does not look whether the container has ended
    threading.Thread(target=_stop_and_tell, args=(request, task), daemon=True).start()
    return ecs.json_response({"task": ecs._sanitize(task)})


def _stop_and_tell(request: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    from ministack.services import ecs

    for number, name in enumerate(task["_docker_ids"]):
        process = ecs._docker.get(name)
        process.stop(timeout=STOP_TIMEOUT)
        task["containers"][number]["exitCode"] = process.wait()["StatusCode"]
    ecs._stop_task(request)


def _await_end(cluster: str, arn: str) -> dict[str, Any]:
    from ministack.services import ecs

    while True:
        if _of_thread.execution["status"] == "ABORTED":
            for container in ecs._tasks[arn].get("_docker_ids") or ():
                ecs._docker.get(container).stop(timeout=STOP_TIMEOUT)
        _, _, body = ecs._describe_tasks({"cluster": cluster, "tasks": [arn]})
        (task,) = json.loads(body)["tasks"]
        if task["lastStatus"] == "STOPPED":
            return dict(in_pascal_case(task))
        time.sleep(LOOK_EVERY)


def read_streams_apart(storage: Storage) -> None:
    """Read streams in a thread of their own. MiniStack's one thread reads all queues and streams in turn and waits for the
    function that a stream feeds: while the scheduler runs, no worker would be given a task, and none in the 50 ms after a
    read that found nothing. While the disk is full, nothing is read: no task begins whose end could not be stored."""
    from ministack.services import dynamodb, lambda_svc

    something_came = threading.Event()
    read, keep_looking = lambda_svc._poll_dynamodb_streams, lambda_svc._poll_loop
    read_queues = lambda_svc._poll_sqs

    def keep_reading() -> None:
        while True:
            something_came.clear()
            try:
                has_read = not storage.is_full and read()
            except Exception:
                log.exception("The streams could not be read")
                has_read = False
            if not has_read and not something_came.wait(LOOK_EVERY):
                lambda_svc._esm_wake.set()  # else the queues are read once a second

    def keep_looking_at_both() -> None:
        threading.Thread(target=keep_reading, name="gust-streams", daemon=True).start()
        keep_looking()

    dynamodb.esm_wake = something_came
    lambda_svc._poll_dynamodb_streams = lambda: False
    lambda_svc._poll_sqs = lambda: not storage.is_full and read_queues()
    lambda_svc._poll_loop = keep_looking_at_both  # not before MiniStack has its state back
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0


def return_messages_of_ended_functions() -> None:
    """Make messages of a function that has ended visible soon.

    A function hides its message for a minute at a time (`gust.aws.queues.Receipt`), so that a message whose function dies
    comes again before the queue's own timeout. A function that dies before it does so (`kill -9` while it imports Airflow,
    or requests a start) has hidden nothing. The emulator knows when a function has ended; Lambda does, too, and waits all
    the same."""
    from ministack.services import lambda_svc

    run = lambda_svc._run_sqs_batch

    def run_and_return(esm: Any, function: Any, event: Any, batch: Sequence[dict[str, Any]], *queue: Any) -> None:
        handles = [message["receipt_handle"] for message in batch]
        try:
            run(esm, function, event, batch, *queue)
        finally:
            make_visible_soon(batch, handles, now=time.time())

    lambda_svc._run_sqs_batch = run_and_return


def make_visible_soon(batch: Sequence[dict[str, Any]], handles: Sequence[str], *, now: float) -> None:
    """Shorten the visibility timeout of messages that still have the receipt handle of this delivery."""
    for message, handle in zip(batch, handles, strict=True):
        if message["receipt_handle"] == handle:
            message["visible_at"] = min(message["visible_at"], now + HIDDEN_FOR)


def visible_messages(queue: str) -> tuple[int, float]:
    """How many messages of the queue a function could take now, and how long the oldest has been visible (seconds)."""
    from ministack.services import sqs

    now = time.time()
    messages = [each for url, held in sqs._queues._data.items() if queue in str(url) for each in held["messages"]]
    visible = [each for each in messages if each["visible_at"] <= now]
    return len(visible), now - min((each["visible_at"] for each in visible), default=now)


# --- saved state ------------------------------------------------------------------------------------------------------


def refuse_what_cannot_be_stored(storage: Storage) -> None:
    """Raise where an object's file cannot be written. MiniStack answers that the object is stored, keeps it in memory, and
    has lost it after a restart."""
    from ministack.services import s3

    persist = s3._persist_object

    def persisted(bucket: str, key: str, record: object) -> None:
        persist(bucket, key, record)
        if isinstance(record, dict) and record.get("body") is not None:
            s3._buckets[bucket]["objects"].pop(key, None)
            storage.fill()
            raise OSError(errno.ENOSPC, "the object could not be written", key)

    s3._persist_object = persisted


def leave_saving_to_gust() -> None:
    """Call it after MiniStack has read its state: it would write into the checkpoint it came from, file by file."""
    from ministack import app

    app.PERSIST_STATE = False


def save_services(folder: Path) -> None:
    """Write the state of every service into `folder`. Only in a fork: it changes where this process saves. Raises OSError
    where there is no room."""
    from ministack import app
    from ministack.core import persistence
    from ministack.services import lambda_svc

    def default(value: Any) -> Any:
        return saved(value) if isinstance(value, FileEvents) else persistence._json_default(value)

    def save(service: str, state: Any) -> None:
        """As MiniStack does, but it raises where there is no room, which MiniStack only logs: half a state is none."""
        content = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
        # A service that Gust does not use may have unserializable state; the services that it uses are checked below.
        with contextlib.suppress(TypeError, ValueError):
            text = json.dumps(content, default=default)
            (folder / f"{service}.json").write_text(text)

    persistence.save_state = save
    persistence.STATE_DIR = str(folder)
    lambda_svc.CODE_BLOB_DIR = str(folder / "lambda-blobs")
    persistence.save_all(app._build_persistence_save_dict())
    missing = [
        name for name in ("dynamodb", "sqs", "lambda", "cloudformation") if not (folder / f"{name}.json").exists()
    ]
    if missing:
        raise RuntimeError(f"MiniStack did not save {', '.join(missing)}")


def unread_stream_records() -> list[dict[str, Any]]:
    """Of each event source mapping, the records that it has yet to deliver. MiniStack saves positions, but no records."""
    from ministack.services import dynamodb, lambda_svc

    unread = []
    for (account, region, mapping_id), position in lambda_svc._dynamodb_stream_positions._data.items():
        mapping = lambda_svc._esms._data.get((account, region, mapping_id))
        if mapping is None:
            continue
        table = mapping["EventSourceArn"].split("/stream/")[0].split("/")[-1]
        records = dynamodb.stream_records_since(table, position, 1_000_000, account_id=account, region=region)
        unread.append({"mapping": [account, region, mapping_id], "table": table, "records": records})
    return unread


def restore_streams(unread: list[dict[str, Any]]) -> None:
    """Positions count records since the emulator's start, so a saved position points far beyond the end of the new, empty
    stream, and the mapping would sleep until as many records have come again: give the records back, start at zero.
    One table has one mapping here; with several, each record would go to all of them once more, which is allowed."""
    from ministack.services import dynamodb, lambda_svc

    lambda_svc._dynamodb_stream_positions._data.clear()
    for entry in unread:
        account, region, mapping_id = entry["mapping"]
        dynamodb._stream_records._data[(account, region, entry["table"])] = list(entry["records"])
        lambda_svc._dynamodb_stream_positions._data[(account, region, mapping_id)] = 0


def release_messages() -> None:
    """Make messages visible that were with a function: those functions are gone, and waiting out the visibility timeout (16
    minutes for tasks) serves nothing. The interrupted delivery does not count."""
    from ministack.services import sqs

    now = time.time()
    for queue in sqs._queues._data.values():
        for message in queue["messages"]:
            if message.get("receive_count", 0) > 0 and message["visible_at"] > now:
                message["visible_at"] = now
                message["receive_count"] -= 1


def forget_dead_executions() -> None:
    """Drop executions that the end of the emulator cut off: MiniStack does not resume them. Their names are free again, so
    that a deployment can be started anew under its own."""
    from ministack.services import stepfunctions

    executions = stepfunctions._executions._data
    for key in [key for key, each in executions.items() if each.get("error") == "States.ServiceRestart"]:
        del executions[key]
