"""One life of a trigger in a forked child: it fires, breaks, or is parked with the state for its next life."""

import itertools
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.serde import serialize
from airflow.triggers.base import BaseTrigger, TriggerEvent

from gust.airflow_bridge.pace import FEW_SLEEPS, Arguments
from gust.airflow_bridge.trigger import STILL_WANTED_EVERY, End, run_trigger
from gust.aws.logs import TRY
from gust.errors import StaleTaskInstance
from gust.model.workload import TriggerWorkload
from tests.unit.worker.control_plane import Lines, Request, Site

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

NOW = datetime(2026, 3, 1, tzinfo=UTC)

HEAD = """
import asyncio, json, os, time
from datetime import datetime, timedelta, timezone
from airflow.triggers.base import BaseTrigger, TriggerEvent, TaskSuccessEvent

class T(BaseTrigger):
    def __init__(self, **kwargs):
        super().__init__()
        self.kwargs = kwargs
        vars(self).update(kwargs)
    def serialize(self):
        return "mine.T", self.kwargs
    async def run(self):
"""


@dataclass
class Waiting:
    """A control plane in which one try waits for the trigger `mine.T` of the DAG folder."""

    site: Site
    kwargs: dict[str, Any] = field(default_factory=dict)
    template: dict[str, Any] | None = None
    looks_seldom: bool = False
    answers: list[int] = field(default_factory=list)
    """Statuses with which to refuse, one per request."""
    requests: list[Request] = field(default_factory=list)
    classpath: str = ""
    version: str = ""

    def trigger(self, body: str, **kwargs: Any) -> TriggerWorkload:
        # A module of its own for every test: this process keeps nothing, but it parses nothing twice either.
        self.version = uuid.uuid4().hex
        self.classpath = f"mine_{self.version}.T"
        self.kwargs = kwargs
        lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
        self.site.upload(self.version, {f"mine_{self.version}.py": HEAD + lines})
        return TriggerWorkload(
            dag_id="d",
            run_id="r",
            task_id="t",
            map_index=-1,
            try_number=1,
            dispatch_count=1,
            token="first-token",
            bundle_version=self.version,
        )

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        method, path = event["requestContext"]["http"]["method"], event["rawPath"]
        body = json.loads(event["body"]) if event["body"] else None
        self.requests.append(Request(method, path.removeprefix("/execution/"), body))
        headers = {"content-type": "application/json"}
        if self.answers:
            return {"statusCode": self.answers.pop(0), "headers": headers, "body": '{"detail": "gone"}'}
        if method == "GET" and "/connections/" in path:
            nothing = dict.fromkeys(("schema", "login", "password", "port", "extra"))
            connection = {"conn_id": "shop", "conn_type": "http", "host": "shop.example", **nothing}
            return {"statusCode": 200, "headers": headers, "body": json.dumps(connection)}
        if method == "GET":
            trigger = {"classpath": self.classpath, "kwargs": self.kwargs, "timeout_at": None}
            trigger |= {"template": self.template, "looks_seldom": self.looks_seldom}
            return {"statusCode": 200, "headers": headers, "body": json.dumps(trigger)}
        return {"statusCode": 204, "headers": headers, "body": ""}

    def run(self, workload: TriggerWorkload, *, remaining: float = 900) -> TriggerWorkload | None:
        """One life; the message for the next one, where it was parked."""
        end = run_trigger(workload, replace(self.site.ports(remaining), invoke=self), now=lambda: NOW)
        if end is End.REPORTED:
            return None
        parked = self.requests[-1]
        assert parked.path.endswith("/park")
        return TriggerWorkload.model_validate(workload.model_dump() | parked.body)

    def live(self, workload: TriggerWorkload | None, *, lives: int = 50) -> list[float]:
        """Run life after life until the trigger ends; the delays between them."""
        delays = []
        for _ in range(lives):
            assert workload is not None
            parked = self.run(workload.model_copy(update={"wake_at": None}))
            if parked is None:
                return delays
            assert parked.wake_at is not None
            delays.append((parked.wake_at - NOW).total_seconds())
            workload = parked
        raise AssertionError(f"It lives for ever: {delays}")

    @property
    def log(self) -> Lines:
        return self.site.log

    @property
    def reported(self) -> dict[str, Any]:
        (report,) = [request.body for request in self.requests if request.path.endswith("/event")]
        return report


@pytest.fixture
def waiting(site: Site) -> Waiting:
    return Waiting(site)


def test_a_trigger_that_fires_resumes_its_task_with_the_event(waiting: Waiting) -> None:
    parked = waiting.run(waiting.trigger("yield TriggerEvent({'answer': self.kwargs['x']})", x=42))

    assert parked is None
    assert waiting.reported == {"event": {"answer": 42}}
    ti_id = waiting.requests[0].path.split("/")[-1]
    assert all(line[TRY] == ti_id for line in waiting.log.lines)


def test_arguments_and_payload_travel_in_airflows_encoding(waiting: Waiting) -> None:
    from airflow.sdk.serde import deserialize, serialize

    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    workload = waiting.trigger("yield TriggerEvent({'at': self.kwargs['at'] + timedelta(hours=1)})")
    waiting.kwargs = serialize({"at": moment})

    waiting.run(workload)

    assert deserialize(waiting.reported["event"]) == {"at": moment + timedelta(hours=1)}


def test_what_the_scheduler_took_from_the_dag_file_is_rendered(waiting: Waiting) -> None:
    from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
    from airflow.sdk import DAG

    from gust.airflow_bridge import compat

    with DAG("d", schedule=None) as dag:
        DateTimeSensorAsync(task_id="t", target_time="{{ logical_date }}", start_from_trigger=True)
    run = dict.fromkeys(("logical_date", "run_after", "start_date"), "2026-03-01T00:00:00Z") | {
        **dict.fromkeys(("data_interval_start", "data_interval_end", "end_date", "partition_key")),
        "dag_id": "d",
        "run_id": "r",
        "run_type": "manual",
        "state": "running",
        "consumed_asset_events": [],
    }
    waiting.template = {"serialized_dag": compat.serialized(dag), "dag_run": run, "max_tries": 0}
    body = "yield TriggerEvent([str(self.target_time), self.other])"

    waiting.run(waiting.trigger(body, target_time="{{ logical_date }}", other="{{ no template field }}"))

    assert waiting.reported == {"event": ["2026-03-01 00:00:00+00:00", "{{ no template field }}"]}


def test_only_the_first_event_counts(waiting: Waiting) -> None:
    waiting.run(waiting.trigger("yield TriggerEvent(1)\nyield TriggerEvent(2)"))

    assert waiting.reported == {"event": 1}


def test_a_trigger_may_end_the_task_itself(waiting: Waiting) -> None:
    waiting.run(waiting.trigger("yield TaskSuccessEvent(xcoms={'rows': 3})"))

    assert waiting.reported == {"state": "success", "xcoms": {"rows": 3}}


def test_a_trigger_that_breaks_is_reported_with_its_trace(waiting: Waiting) -> None:
    waiting.run(waiting.trigger("raise ConnectionError('no route')\nyield"))

    assert waiting.reported["error"] == "ConnectionError: no route"
    assert "no route" in "".join(waiting.reported["traceback"])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("if False:\n    yield", "ended without an event"),
        ("os._exit(9)\nyield", "exit code 9"),
        ("os.kill(os.getpid(), 9)\nyield", "without a word"),
        ("yield TriggerEvent(object())", "TypeError"),
    ],
)
def test_however_a_trigger_ends_without_an_event_its_task_learns_of_it(waiting: Waiting, body: str, error: str) -> None:
    waiting.run(waiting.trigger(body))

    assert error in waiting.reported["error"]


def test_a_trigger_that_cannot_be_imported_is_reported(waiting: Waiting) -> None:
    workload = waiting.trigger("yield")
    waiting.classpath = "no.such.Trigger"

    waiting.run(workload)

    assert "No module named 'no'" in waiting.reported["error"]


def test_a_missing_bundle_is_reported(waiting: Waiting) -> None:
    waiting.run(waiting.trigger("yield").model_copy(update={"bundle_version": "gone"}))

    assert "gone" in waiting.reported["error"]


@pytest.mark.parametrize("status", [404, 409])
def test_a_trigger_that_nobody_waits_for_is_dropped(waiting: Waiting, status: int) -> None:
    workload = waiting.trigger("yield TriggerEvent(1)")
    waiting.answers = [status]

    with pytest.raises(StaleTaskInstance):
        waiting.run(workload)

    assert len(waiting.requests) == 1


@pytest.mark.parametrize("waits", ["await asyncio.sleep(1)", "time.sleep(1)"], ids=["sleeps", "blocks"])
def test_a_trigger_whose_task_is_taken_away_while_it_runs_is_ended_within_seconds(waiting: Waiting, waits: str) -> None:
    workload = waiting.trigger(f"for _ in range(60):\n    {waits}\nyield TriggerEvent(1)")

    def taken_away(event: dict[str, Any]) -> dict[str, Any]:
        if waiting.requests:
            waiting.answers = [409]
        return waiting(event)

    began = time.monotonic()
    with pytest.raises(StaleTaskInstance):
        run_trigger(workload, replace(waiting.site.ports(900), invoke=taken_away), confirm_every=0.2)
    assert time.monotonic() - began < 30
    assert STILL_WANTED_EVERY < 10


def test_an_event_that_comes_second_is_dropped(waiting: Waiting) -> None:
    workload = waiting.trigger("yield TriggerEvent(1)")

    def refuse_events(event: dict[str, Any]) -> dict[str, Any]:
        if event["rawPath"].endswith("/event"):
            waiting.answers = [409]
        return waiting(event)

    with pytest.raises(StaleTaskInstance):
        run_trigger(workload, replace(waiting.site.ports(900), invoke=refuse_events))


def test_a_sleeping_trigger_is_parked(waiting: Waiting) -> None:
    parked = waiting.run(waiting.trigger("await asyncio.sleep(600)\nyield TriggerEvent(1)"))

    assert parked is not None
    assert parked.wake_at == NOW + timedelta(seconds=600)
    assert [request.method for request in waiting.requests] == ["GET", "POST"]


def test_a_message_that_comes_early_stays_on_the_queue_hidden_until_its_time(waiting: Waiting) -> None:
    workload = waiting.trigger("yield TriggerEvent(1)").model_copy(update={"wake_at": NOW + timedelta(minutes=40)})
    hidden: list[float] = []
    ports = replace(waiting.site.ports(900), invoke=waiting, hide=lambda seconds: hidden.append(seconds) or True)

    assert run_trigger(workload, ports, now=lambda: NOW) is End.EARLY
    assert hidden == [40 * 60]
    assert waiting.requests == []


def test_a_message_that_comes_early_and_cannot_be_hidden_is_sent_again_without_running(waiting: Waiting) -> None:
    workload = waiting.trigger("yield TriggerEvent(1)").model_copy(update={"wake_at": NOW + timedelta(hours=2)})

    parked = waiting.run(workload)

    assert parked is not None
    assert parked == workload
    assert [request.method for request in waiting.requests] == ["POST"]


def test_a_trigger_gets_past_its_sleeps(waiting: Waiting) -> None:
    body = "for pause in (60, 7200, 30):\n    await asyncio.sleep(pause)\nyield TriggerEvent('after all')"

    delays = waiting.live(waiting.trigger(body))

    assert delays == [60, 7200, 30]
    assert waiting.reported == {"event": "after all"}


def test_sleeps_in_what_the_trigger_calls_count_too(waiting: Waiting) -> None:
    body = """
async def pauses():
    for pause in (60, 61):
        await asyncio.sleep(pause)
        yield pause
async for pause in pauses():
    pass
yield TriggerEvent(pause)
"""
    assert waiting.live(waiting.trigger(body)) == [60, 61]
    assert waiting.reported == {"event": 61}


def test_a_trigger_that_looks_once_and_then_sleeps_fires(waiting: Waiting) -> None:
    body = "await asyncio.to_thread(time.time)\nawait asyncio.sleep(60)\nyield TriggerEvent('done')"

    assert waiting.live(waiting.trigger(body)) == [60]
    assert waiting.reported == {"event": "done"}


def test_a_poller_looks_once_per_sleep_however_long_it_waits(waiting: Waiting, tmp_path: Path) -> None:
    looks = tmp_path / "looks"
    body = f"""
def look():
    with open({str(looks)!r}, "a") as f:
        f.write("x")
    return os.path.getsize({str(looks)!r})
while await asyncio.to_thread(look) < 60:
    await asyncio.sleep(60)
yield TriggerEvent("found")
"""
    delays = waiting.live(waiting.trigger(body), lives=60)

    assert waiting.reported == {"event": "found"}
    # In its first lives it passes through its sleeps and looks several times; afterwards once per life.
    assert len(delays) >= 60 - (FEW_SLEEPS + 1) * (FEW_SLEEPS + 2) // 2


def test_a_poller_that_sleeps_first_looks_once_per_sleep(waiting: Waiting, tmp_path: Path) -> None:
    looks = tmp_path / "looks"
    body = f"""
def look():
    with open({str(looks)!r}, "a") as f:
        f.write("x")
    return os.path.getsize({str(looks)!r})
await asyncio.sleep(10)
while await asyncio.to_thread(look) < 40:
    await asyncio.sleep(60)
yield TriggerEvent("found")
"""
    delays = waiting.live(waiting.trigger(body), lives=60)

    assert delays[0] == 10
    assert waiting.reported == {"event": "found"}


def test_short_sleeps_are_slept_in_place(waiting: Waiting) -> None:
    body = "for _ in range(3):\n    await asyncio.sleep(0.01)\nyield TriggerEvent(1)"

    assert waiting.run(waiting.trigger(body)) is None


def test_a_task_that_the_trigger_started_may_sleep_without_parking_it(waiting: Waiting) -> None:
    body = "task = asyncio.create_task(asyncio.sleep(600))\nawait asyncio.sleep(0.01)\nyield TriggerEvent(task.done())"

    assert waiting.run(waiting.trigger(body)) is None
    assert waiting.reported == {"event": False}


def test_parking_does_not_cancel_the_trigger(waiting: Waiting, tmp_path: Path) -> None:
    """Some triggers answer a cancellation by killing the job they wait for."""
    mark = tmp_path / "cancelled"
    body = f"""
try:
    await asyncio.sleep(600)
except BaseException:
    open({str(mark)!r}, "w").close()
    raise
yield TriggerEvent(1)
"""
    waiting.run(waiting.trigger(body))

    assert not mark.exists()


@pytest.mark.parametrize("body", ["await asyncio.Event().wait()\nyield", "time.sleep(600)\nyield"])
def test_near_the_functions_end_a_trigger_is_parked_and_goes_on_at_once(waiting: Waiting, body: str) -> None:
    parked = waiting.run(waiting.trigger(body), remaining=16)

    assert parked is not None
    assert parked.wake_at == NOW


WRITES_INTO_THE_ANSWERS_PIPE = """
import threading
def write(fd):
    try:
        for _ in range({times}):
            os.write(fd, {what})
    except OSError:
        pass
files = {{fd: os.readlink(f"/proc/self/fd/{{fd}}") for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{{fd}}")}}
pipes = [fd for fd, file in files.items() if file.startswith("pipe:") and file not in {others}]
threads = [threading.Thread(target=write, args=(fd,), daemon=True) for fd in pipes]
[thread.start() for thread in threads]
[thread.join(20) for thread in threads]
os._exit(0)
yield
"""


@pytest.mark.parametrize(
    ("what", "times"),
    [("b'x' * 65536", 100_000), ("b'[' * 60_000", 1), ("b'[1]'", 1)],
    ids=["a flood", "too deep", "no object"],
)
def test_a_trigger_that_answers_past_the_supervisor_is_one_that_broke(waiting: Waiting, what: str, times: int) -> None:
    others = [os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]  # pytest's own
    waiting.run(waiting.trigger(WRITES_INTO_THE_ANSWERS_PIPE.format(what=what, times=times, others=others)))

    # A child that floods the pipe is killed, or ends by itself first, once nothing reads what it writes.
    assert waiting.reported in [
        {"error": f"The trigger's process ended without a word (exit code {exit_code})"} for exit_code in (0, -9)
    ]


def test_while_a_trigger_runs_its_message_stays_hidden_and_the_supervisor_rests(
    waiting: Waiting, tmp_path: Path
) -> None:
    hidden: list[tuple[float, float]] = []
    enough = tmp_path / "hidden often enough"

    def hide(seconds: float) -> bool:
        hidden.append((time.monotonic(), time.thread_time()))
        if len(hidden) == 4:
            enough.touch()
        return True

    waits = f"def wait():\n    while not os.path.exists({str(enough)!r}):\n        time.sleep(0.05)\n"
    workload = waiting.trigger(f"{waits}await asyncio.to_thread(wait)\nyield TriggerEvent(1)")
    began = time.monotonic()
    run_trigger(workload, replace(waiting.site.ports(900), invoke=waiting, hide=hide), hide_every=0.3)

    assert len(hidden) >= 4
    assert all(at - began >= 0.3 * number for number, (at, _) in enumerate(hidden, 1))
    passed = [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in itertools.pairwise(hidden)]
    assert min(processor / seconds for seconds, processor in passed) < 0.2, "one that does not rest takes all of it"


def test_connections_come_from_the_control_plane(waiting: Waiting) -> None:
    body = """
from airflow.sdk import BaseHook
yield TriggerEvent(BaseHook.get_connection("shop").host)
"""
    waiting.run(waiting.trigger(body))

    assert waiting.reported == {"event": "shop.example"}


def test_a_trigger_sees_no_wiring(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUST_BUCKET", "the-bucket")

    waiting.run(waiting.trigger("yield TriggerEvent([name for name in os.environ if name.startswith('GUST_')])"))

    assert os.environ["GUST_BUCKET"] == "the-bucket"
    assert waiting.reported == {"event": []}


# --- what a poller must not forget ------------------------------------------------------------------------------------

LOOKS = """
def look():
    with open({looks!r}, "a") as f:
        f.write("x")
    return os.path.getsize({looks!r})
"""


@pytest.fixture
def looks(tmp_path: Path) -> Path:
    return tmp_path / "looks"


@pytest.mark.parametrize("attempts", [1, 2, 7, 12])
def test_the_attempts_that_an_argument_allows_are_those_of_all_lives(
    waiting: Waiting, looks: Path, attempts: int
) -> None:
    body = f"""{LOOKS.format(looks=str(looks))}
for _ in range(self.waiter_max_attempts):
    await asyncio.to_thread(look)
    await asyncio.sleep(6)
yield TriggerEvent("gave up")
"""
    delays = waiting.live(waiting.trigger(body, waiter_max_attempts=attempts))

    assert waiting.reported == {"event": "gave up"}
    assert delays == [6] * attempts
    assert looks.stat().st_size == attempts


class WaitsForPod(BaseTrigger):
    """Like the Kubernetes provider's, which measures its two limits from the start of `run`, the second from the moment at
    which the pod has a node."""

    def __init__(self, trigger_start_time: datetime, schedule_timeout: int, startup_timeout: int) -> None:
        super().__init__()
        self.trigger_start_time = trigger_start_time
        self.schedule_timeout = schedule_timeout
        self.startup_timeout = startup_timeout

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("trigger_start_time", "schedule_timeout", "startup_timeout")
        return "mine.WaitsForPod", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent("not run here")


@pytest.mark.parametrize(("seconds", "left"), [(0, (120, 60)), (50, (70, 60)), (130, (0, 50)), (500, (0, 0))])
def test_a_pod_that_does_not_start_is_given_up_as_if_its_trigger_had_one_life(
    seconds: int, left: tuple[int, int]
) -> None:
    trigger = WaitsForPod(NOW, 120, 60)
    arguments = Arguments.of(trigger)
    assert arguments is not None

    arguments.use_up_time(trigger, NOW + timedelta(seconds=seconds))

    assert (trigger.schedule_timeout, trigger.startup_timeout) == left
    assert arguments.changed(trigger) is None, "the next life reduces the same limits"


def test_a_later_life_begins_with_the_seconds_that_are_left(waiting: Waiting) -> None:
    """The first life has them all."""
    body = """
await asyncio.to_thread(time.sleep, 0)
if self.schedule_timeout == 0:
    yield TriggerEvent("gave up")
await asyncio.sleep(6)
"""
    began = serialize(datetime.now(UTC) - timedelta(minutes=3))
    workload = waiting.trigger(body, trigger_start_time=began, schedule_timeout=120, startup_timeout=60)

    assert waiting.live(workload) == [6]
    assert waiting.reported == {"event": "gave up"}


def test_a_pod_that_has_started_is_not_given_up_for_its_start(waiting: Waiting, looks: Path) -> None:
    """Its node cannot be reached in the second life: the trigger waits for the start again. Airflow's has one life, and
    waits for it once."""
    body = f"""{LOOKS.format(looks=str(looks))}
async def _wait_for_container_completion():
    await asyncio.sleep(6)
life = await asyncio.to_thread(look)
if self.schedule_timeout == 0 or self.startup_timeout == 0:
    yield TriggerEvent("gave up")
elif life == 4:
    yield TriggerEvent("finished")
elif life == 2:
    await asyncio.sleep(6)
else:
    await _wait_for_container_completion()
"""
    began = serialize(datetime.now(UTC) - timedelta(hours=3))
    workload = waiting.trigger(body, trigger_start_time=began, schedule_timeout=120, startup_timeout=60)

    assert waiting.live(workload.model_copy(update={"is_poller": True})) == [6, 6, 6]
    assert waiting.reported == {"event": "finished"}


WAITS = """
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.providers.amazon.aws.utils.waiter_with_logging import async_wait
from botocore.exceptions import WaiterError
from airflow.triggers.base import TriggerEvent
import asyncio, os

class Waiter:
    def __init__(self, needs):
        self.needs = needs
    async def wait(self, what, WaiterConfig):
        path = {looks!r} + what
        def look():
            with open(path, "a") as f:
                f.write("x")
            return os.path.getsize(path)
        if await asyncio.to_thread(look) < self.needs:
            raise WaiterError("it", "not yet", {{"state": "waiting"}})

class Hook:
    async def get_async_conn(self):
        return self
    async def __aenter__(self):
        return self
    async def __aexit__(self, *error):
        pass
    def get_waiter(self, *args, **kwargs):
        return Waiter({needs})

class T(AwsBaseWaiterTrigger):
    def __init__(self, waiter_max_attempts, waiter_delay=30, aws_conn_id=None):
        super().__init__(serialized_fields={{}}, waiter_name="it", waiter_args={{"what": "a"}}, failure_message="failed",
                         status_message="waits", status_queries=[], return_value=None, waiter_delay=waiter_delay,
                         waiter_max_attempts=waiter_max_attempts, aws_conn_id=aws_conn_id)
    def hook(self):
        return Hook()
{run}
"""


def waiter_trigger(waiting: Waiting, looks: Path, *, needs: int, attempts: int, run: str = "") -> TriggerWorkload:
    workload = waiting.trigger("pass", waiter_max_attempts=attempts)
    source = WAITS.format(looks=str(looks), needs=needs, run=run)
    waiting.site.upload(waiting.version, {f"mine_{waiting.version}.py": source})
    return workload


def test_a_trigger_of_the_amazon_provider_gives_up_when_airflows_would(waiting: Waiting, looks: Path) -> None:
    delays = waiting.live(waiter_trigger(waiting, looks, needs=30, attempts=7))

    assert waiting.reported["event"]["status"] == "error"
    assert "max attempts reached" in waiting.reported["event"]["message"]
    assert delays == [30] * 6
    assert Path(f"{looks}a").stat().st_size == 7


def test_a_trigger_of_the_amazon_provider_succeeds_at_its_last_attempt(waiting: Waiting, looks: Path) -> None:
    delays = waiting.live(waiter_trigger(waiting, looks, needs=7, attempts=7))

    assert waiting.reported["event"]["status"] == "success"
    assert delays == [30] * 6


def at_polls(delays: list[float]) -> list[float]:
    """Seconds from the first poll to each of the others."""
    return [sum(delays[: number + 1]) for number in range(len(delays))]


def test_of_whose_resource_an_event_will_tell_polls_ever_more_seldom_and_gives_up_in_time(
    waiting: Waiting, looks: Path
) -> None:
    """Sixty attempts, thirty seconds apart: it gives up after 29.5 minutes, as in Airflow."""
    waiting.looks_seldom = True
    polls = at_polls(waiting.live(waiter_trigger(waiting, looks, needs=99, attempts=60)))

    assert "max attempts reached" in waiting.reported["event"]["message"]
    assert polls[-1] == 59 * 30
    assert Path(f"{looks}a").stat().st_size == len(polls) + 1
    assert all(later - earlier <= max(30, later / 2) for earlier, later in itertools.pairwise(polls))
    assert len(polls) == 10


def test_a_pause_between_polls_lasts_three_hours_at_most(waiting: Waiting) -> None:
    waiting.looks_seldom = True
    body = "while True:\n    await asyncio.to_thread(os.getcwd)\n    await asyncio.sleep(2)\nyield"
    first = waiting.run(waiting.trigger(body))
    assert first is not None
    assert first.is_poller
    assert first.wake_at == NOW + timedelta(seconds=4)
    day = first.model_copy(update={"wake_at": None, "looks": 12 * 3600})
    after_a_day = waiting.run(day)
    assert after_a_day is not None
    assert after_a_day.wake_at == NOW + timedelta(hours=3)
    assert after_a_day.looks == day.looks + 3 * 1800


def test_one_that_an_event_woke_polls_a_few_times_and_leaves_the_rest_to_its_other_message(
    waiting: Waiting, looks: Path
) -> None:
    """Its attempts are not its own: the last of them fails no task."""
    waiting.looks_seldom = True
    workload = waiter_trigger(waiting, looks, needs=99, attempts=1).model_copy(update={"woken": 3})
    second = waiting.run(workload)
    assert second is not None
    assert (second.woken, second.wake_at) == (2, NOW + timedelta(seconds=10))
    third = waiting.run(second.model_copy(update={"wake_at": None}))
    assert third is not None
    assert third.woken == 1
    asked = len(waiting.requests)
    ports = replace(waiting.site.ports(900), invoke=waiting)
    assert run_trigger(third.model_copy(update={"wake_at": None}), ports, now=lambda: NOW) is End.NOT_AWAITED
    assert [request.method for request in waiting.requests[asked:]] == ["GET"]
    assert Path(f"{looks}a").stat().st_size == 3


def test_one_that_an_event_woke_polls_before_it_sleeps(waiting: Waiting) -> None:
    body = "await asyncio.sleep(300)\nyield TriggerEvent(1)"

    assert waiting.run(waiting.trigger(body).model_copy(update={"woken": 3})) is None
    assert waiting.reported == {"event": 1}


def test_what_is_waited_for_next_has_all_the_attempts(waiting: Waiting, looks: Path) -> None:
    """As of DMS' tables and SSM's instances, each of which is waited for with as many."""
    run = """
    async def run(self):
        for what in ("a", "b"):
            await async_wait(Waiter(4), self.waiter_delay, self.attempts, {"what": what}, "failed", "waits", [])
        yield TriggerEvent("both")
"""
    delays = waiting.live(waiter_trigger(waiting, looks, needs=4, attempts=6, run=run))

    assert waiting.reported == {"event": "both"}
    assert delays == [30] * 6


def test_what_a_trigger_keeps_in_its_arguments_outlives_its_lives(waiting: Waiting, looks: Path) -> None:
    body = f"""{LOOKS.format(looks=str(looks))}
while self.kwargs["seen"] < 20:
    await asyncio.to_thread(look)
    self.kwargs["seen"] += 1
    await asyncio.sleep(30)
yield TriggerEvent("found")
"""
    workload: TriggerWorkload | None = waiting.trigger(body, seen=0)
    for _ in range(25):
        assert workload is not None
        workload = waiting.run(workload.model_copy(update={"wake_at": None}))
        if workload is None:
            break
        waiting.kwargs = waiting.requests[-1].body.get("kwargs", waiting.kwargs)

    assert waiting.reported == {"event": "found"}


def test_a_poller_that_sleeps_for_no_time_does_not_spin(waiting: Waiting, looks: Path) -> None:
    """S3KeysUnchangedTrigger does; what it has seen stands in its arguments, so that it can be parked."""
    body = f"""{LOOKS.format(looks=str(looks))}
while True:
    self.kwargs["seen"] = await asyncio.to_thread(look)
    await asyncio.sleep(0)
yield
"""
    parked = waiting.run(waiting.trigger(body, seen=0))

    assert parked is not None
    assert parked.is_poller
    assert looks.stat().st_size <= 2 * FEW_SLEEPS + 2
    assert waiting.requests[-1].body["kwargs"] == {"seen": looks.stat().st_size}
    seen = looks.stat().st_size
    parked = waiting.run(parked.model_copy(update={"wake_at": None}))
    assert parked is not None
    assert looks.stat().st_size - seen <= FEW_SLEEPS + 2
