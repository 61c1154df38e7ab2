"""Each alarm of the template, set off once by what it watches for, and what a person sees meanwhile (docs/runbooks.md).

A minute of ticks, metrics and alarms takes a second here (`tests.aws_like.emulator_in_miniature`): metrics, dimensions,
thresholds and numbers of periods are the template's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from gust.cli import watch_stream
from gust.local import deployment
from tests.system.local_gust import ROOT, LocalGust
from tests.system.test_events import Listener

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PATIENCE: Final = 90
"""Seconds until a wait fails."""

Cause = Callable[[LocalGust], AbstractContextManager[None]]
"""Causes it on entry. Then the alarm is awaited. On exit it asserts what a person sees, and undoes the cause."""

CAUSES: Final[dict[Cause, tuple[str, ...]]] = {}
"""Cause → the alarms that it sets off."""

DAGS: Final = """
    from datetime import timedelta

    from airflow.sdk import DAG, task

    with DAG("works"):

        @task
        def first(): ...

        @task
        def second(): ...

        first() >> second()

    with DAG("late", max_active_runs=16, dagrun_timeout=timedelta(seconds=1)):

        @task(pool="closed")
        def waits(): ...

        waits()
"""


def sets_off(*alarms: str) -> Callable[[Callable[[LocalGust], Iterator[None]]], Cause]:
    def register(cause: Callable[[LocalGust], Iterator[None]]) -> Cause:
        CAUSES[made := contextmanager(cause)] = alarms
        return made

    return register


class Watched:
    """A stack with alarms, and a program that listens to them."""

    def __init__(self, gust: LocalGust) -> None:
        self.gust = gust
        topics = gust.stack.client("sns")
        (topic,) = [each["TopicArn"] for each in topics.list_topics()["Topics"] if "AlertTopic" in each["TopicArn"]]
        self._listener = Listener(gust, "alarms")
        topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self._listener.arn)

    def heard(self, alarm: str) -> list[str]:
        """The states that the topic has told of, oldest first."""
        messages = [json.loads(each["Message"]) for each in self._listener.heard() if "AlarmName" in each["Message"]]
        return [each["NewStateValue"] for each in messages if f"-{alarm}-" in each["AlarmName"]]

    def await_alarm(self, alarm: str, state: str, *, after: int) -> None:
        """Until the alarm tells of the state, other than in its first `after` messages."""
        self.gust._await(
            lambda: state in self.heard(alarm)[after:] or None, PATIENCE, lambda: f"{alarm}: {self.heard(alarm)}"
        )


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    home = tmp_path_factory.mktemp("alarms")
    parameters = {"AlertEmail": "team@example.com", "Tracing": "Enabled"}
    gust = LocalGust(
        home / "data", home / "dags", parameters=parameters, emulator="tests.aws_like.emulator_in_miniature"
    )
    gust.start()
    try:
        watched = Watched(gust)
        gust.upload("dags.py", DAGS)
        gust.await_dag("works", within=PATIENCE)
        gust.await_dag("late", within=PATIENCE)
        gust.await_state("works", gust.trigger("works"), "success")
        yield watched
    finally:
        gust.stop()


@sets_off("ImportErrorsAlarm")
def a_broken_file(gust: LocalGust) -> Iterator[None]:
    gust.upload("broken_file.py", "from airflow.sdk import dag\nimport nothing_of_this_name\n")
    yield
    assert "nothing_of_this_name" in gust.import_errors()["broken_file.py"]
    gust.delete("broken_file.py")


@sets_off("ManyFailedRunsAlarm")
def runs_that_time_out(gust: LocalGust) -> Iterator[None]:
    """No worker takes part: on a busy machine, too, they fail at about the same time."""
    gust.api.call("POST", "/api/v2/pools", body={"name": "closed", "slots": 0})
    gust.pause("late")
    runs = [gust.trigger("late") for _ in range(16)]  # five more than it takes; all begin at once
    gust.pause("late", paused=False)
    yield
    gust.await_state("late", runs[0], "failed")
    assert gust.states("late", runs[0]) == {"waits": "skipped"}


@sets_off("TickMissedAlarm")
def no_tick(gust: LocalGust) -> Iterator[None]:
    events = gust.stack.client("events")
    (rule,) = [each["Name"] for each in events.list_rules()["Rules"] if "SchedulerFunctionTick" in each["Name"]]
    events.disable_rule(Name=rule)
    yield
    last = gust.api.call("GET", "/api/v2/monitor/health")["scheduler"]["latest_scheduler_heartbeat"]
    assert datetime.now(UTC) - datetime.fromisoformat(last) > timedelta(seconds=4), "a tick in miniature is a second"
    events.enable_rule(Name=rule)


@sets_off("WakesDeadLettersAlarm", "TasksDeadLettersAlarm", "TriggersDeadLettersAlarm", "EventsDeadLettersAlarm")
def messages_that_no_function_can_read(gust: LocalGust) -> Iterator[None]:
    with ExitStack() as undo:
        for name in ("WakesQueue", "TasksQueue", "TriggersQueue", "EventsQueue"):
            undo.enter_context(given_up_after_one_failure(gust, name))
            gust.stack.client("sqs").send_message(QueueUrl=gust.queue_url(name), MessageBody="no message")
        yield
    purge(gust, "WakesDeadLetters", "TasksDeadLetters", "TriggersDeadLetters", "EventsDeadLetters")


@sets_off("ExecutionApiErrorsAlarm")
def an_execution_api_that_fails(gust: LocalGust) -> Iterator[None]:
    with broken(gust, "execution-api"):
        run = started_run(gust)
        yield
        assert "FAILED" in (gust.stack.logs / "gust-execution-api.log").read_text()
        assert gust.task_instance("works", run, "first")["state"] == "queued"


@sets_off("ExecutionApiThrottlesAlarm")
def an_execution_api_without_concurrency(gust: LocalGust) -> Iterator[None]:
    with throttled(gust, "execution-api"):
        run = started_run(gust)
        yield
        assert "TooManyRequestsException" in (gust.stack.logs / "gust-worker.log").read_text()
        assert gust.task_instance("works", run, "first")["state"] == "queued"


@sets_off("TasksWaitAlarm")
def workers_that_take_no_task(gust: LocalGust) -> Iterator[None]:
    functions = gust.stack.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName="gust-worker")["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    run = started_run(gust)
    yield
    assert gust.task_instance("works", run, "first")["state"] == "queued"
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@sets_off("SchedulerErrorsAlarm", "ChangesDeadLettersAlarm")
def a_scheduler_that_fails(gust: LocalGust) -> Iterator[None]:
    with broken(gust, "scheduler"):
        run = gust.trigger("works")
        # As EventBridge does on AWS; the emulator's calls the function once and forgets about it.
        gust.stack.client("lambda").invoke(FunctionName="gust-scheduler", InvocationType="Event", Payload=b"{}")
        yield
        assert "FAILED" in (gust.stack.logs / "gust-scheduler.log").read_text()
        assert gust.run("works", run)["state"] == "queued"
    purge(gust, "ChangesDeadLetters")


@sets_off("AnnouncerLateAlarm")
def an_announcer_without_concurrency(gust: LocalGust) -> Iterator[None]:
    """It reads of failed runs."""
    with throttled(gust, "announcer"):
        yield


@sets_off("EventsLateAlarm")
def a_watched_stream_that_is_not_read(gust: LocalGust) -> Iterator[None]:
    clients = gust.stack.client
    clients("kinesis").create_stream(StreamName="clicks", ShardCount=1)
    watch_stream.make(clients, watch_stream.plan(clients, "clicks", "gust"))
    with throttled(gust, "events"):
        clients("kinesis").put_record(StreamName="clicks", Data=b"waits", PartitionKey="k")
        yield


@sets_off("SchedulerThrottlesAlarm", "StreamLateAlarm")
def a_scheduler_without_concurrency(gust: LocalGust) -> Iterator[None]:
    with throttled(gust, "scheduler"):
        run = gust.trigger("works")
        yield
        assert gust.run("works", run)["state"] == "queued"


AT_ONCE: Final[tuple[tuple[Cause, ...], ...]] = (
    (an_announcer_without_concurrency, a_broken_file, runs_that_time_out, no_tick, messages_that_no_function_can_read),
    (an_execution_api_that_fails,),
    (an_execution_api_without_concurrency, a_scheduler_without_concurrency, a_watched_stream_that_is_not_read),
    (workers_that_take_no_task, a_scheduler_that_fails),
)
"""Causes that do not disturb each other happen at the same time, in this order."""


def test_every_alarm_of_the_template_has_a_cause() -> None:
    alarms = {
        name
        for name, each in deployment.transform(ROOT, {})["Resources"].items()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert {alarm for together in AT_ONCE for cause in together for alarm in CAUSES[cause]} == alarms


@pytest.mark.parametrize("causes", AT_ONCE, ids=lambda causes: "+".join(each.__name__ for each in causes))
def test_what_it_watches_for_sets_it_off(watched: Watched, causes: tuple[Cause, ...]) -> None:
    alarms = [alarm for cause in causes for alarm in CAUSES[cause]]
    before = {alarm: len(watched.heard(alarm)) for alarm in alarms}
    with ExitStack() as caused:
        for cause in causes:
            caused.enter_context(cause(watched.gust))
        for alarm in alarms:
            watched.await_alarm(alarm, "ALARM", after=before[alarm])


def test_alarms_end_with_their_causes(watched: Watched) -> None:
    for alarms in CAUSES.values():
        for alarm in alarms:
            watched.await_alarm(alarm, "OK", after=watched.heard(alarm).index("ALARM"))


def test_prometheus_finds_what_the_alarms_watch_where_aws_keeps_it(watched: Watched) -> None:
    metrics = httpx.get(f"{watched.gust.url}/metrics").text
    for name in (
        "aws_sqs_approximate_age_of_oldest_message_seconds_last",
        "aws_sqs_approximate_number_of_messages_visible_last",
        "aws_lambda_iterator_age_milliseconds_last",
        "aws_lambda_throttles_count",
        "aws_events_triggered_rules_count",
        "gust_import_errors_last",
    ):
        assert f"\n{name}{{" in metrics, name


def test_a_traced_functions_lines_name_their_trace(watched: Watched) -> None:
    """Lambda gives a function with active tracing the trace's id, and so does the emulator."""
    lines = [line for line in (watched.gust.stack.logs / "gust-worker.log").read_text().splitlines() if '"ran"' in line]
    assert lines
    assert all(json.loads(line)["xray_trace_id"].startswith("1-") for line in lines)


def test_no_task_was_lost(watched: Watched) -> None:
    runs = watched.gust.await_runs("works", 6, run_type="manual")
    for run in runs:
        watched.gust.await_state("works", run["dag_run_id"], "success", within=PATIENCE)


def started_run(gust: LocalGust) -> str:
    """A run whose first task is on its way to a worker."""
    run = gust.trigger("works")
    gust.await_state("works", run, "queued", task="first")
    return run


# --- how ----------------------------------------------------------------------------------------------------------------


@contextmanager
def broken(gust: LocalGust, function: str) -> Iterator[None]:
    """The function cannot even be imported, as after a deployment that went wrong."""
    functions = gust.stack.client("lambda")
    functions.update_function_configuration(FunctionName=f"gust-{function}", Handler="gone.lambda_handler")
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=f"gust-{function}", Handler="app.lambda_handler")


@contextmanager
def throttled(gust: LocalGust, function: str) -> Iterator[None]:
    functions = gust.stack.client("lambda")
    functions.put_function_concurrency(FunctionName=f"gust-{function}", ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        functions.delete_function_concurrency(FunctionName=f"gust-{function}")


@contextmanager
def given_up_after_one_failure(gust: LocalGust, queue: str) -> Iterator[None]:
    """The queue gives a message up when it comes for the second time, and that comes after a second."""
    queues, url = gust.stack.client("sqs"), gust.queue_url(queue)
    names = ["RedrivePolicy", "VisibilityTimeout"]
    own: dict[str, Any] = queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    policy = json.dumps(json.loads(own["RedrivePolicy"]) | {"maxReceiveCount": 1})
    queues.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "1"})
    try:
        yield
    finally:
        queues.set_queue_attributes(QueueUrl=url, Attributes=own)


def purge(gust: LocalGust, *queues: str) -> None:
    for queue in queues:
        gust.stack.client("sqs").purge_queue(QueueUrl=gust.queue_url(queue))
