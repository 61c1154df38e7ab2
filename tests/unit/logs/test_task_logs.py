"""Task logs on their way to CloudWatch Logs and back. The stand-in refuses the same requests as the service."""

# ruff: noqa: N803 - the double has the argument names of the service
import itertools
import json
import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from gust.aws.logs import LATE, TRY, CloudWatchLogReader, LogShipper
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance

GROUP, STREAM = "/gust/tasks", "2026/03/01/[$LATEST]abc"
HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class NotThere(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ResourceNotFoundException"}}, "PutLogEvents")


class ThereAlready(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ResourceAlreadyExistsException"}}, "CreateLogStream")


class Exceptions:
    ResourceNotFoundException = NotThere
    ResourceAlreadyExistsException = ThereAlready


@dataclass
class StrictLogs:
    """The part of CloudWatch Logs that we use, with its documented limits."""

    exceptions = Exceptions
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    failures: list[ClientError] = field(default_factory=list)
    """What to answer first."""
    page_size: int = 10_000
    region: str = "eu-central-1"
    endpoint: str = "https://logs.eu-central-1.amazonaws.com"
    gate: threading.Event = field(default_factory=threading.Event)
    """Calls wait for it."""

    def __post_init__(self) -> None:
        self.gate.set()

    def create_log_stream(self, *, logGroupName: str, logStreamName: str) -> None:
        assert logGroupName == GROUP
        if logStreamName in self.streams:
            raise ThereAlready
        self.streams[logStreamName] = []

    def put_log_events(self, *, logGroupName: str, logStreamName: str, logEvents: list[dict[str, Any]]) -> None:
        self.gate.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        if logStreamName not in self.streams:
            raise NotThere
        assert 1 <= len(logEvents) <= 10_000
        sizes = [len(event["message"].encode()) + 26 for event in logEvents]
        assert max(sizes) <= 1_048_576
        assert sum(sizes) <= 1_048_576
        times = [event["timestamp"] for event in logEvents]
        assert times == sorted(times)
        assert all(event["message"] for event in logEvents)
        self.batches.append(len(logEvents))
        self.streams[logStreamName] += logEvents

    def get_log_events(
        self, *, logGroupName: str, logStreamName: str, startFromHead: bool, **span: Any
    ) -> dict[str, Any]:
        assert startFromHead
        if logStreamName not in self.streams:
            raise NotThere
        found = [event for event in self.streams[logStreamName] if _within(event, span)]
        begin = int(span.get("nextToken", "f/0")[2:])
        page = found[begin : begin + self.page_size]
        return {"events": page, "nextForwardToken": f"f/{begin + len(page)}"}

    @property
    def meta(self) -> SimpleNamespace:
        return SimpleNamespace(region_name=self.region, endpoint_url=self.endpoint)

    @property
    def messages(self) -> list[str]:
        return [event["message"] for event in self.streams.get(STREAM, [])]


def _within(event: dict[str, Any], span: dict[str, Any]) -> bool:
    return bool(span["startTime"] <= event["timestamp"] < span.get("endTime", 1 << 62))


@pytest.fixture
def logs() -> StrictLogs:
    return StrictLogs()


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shipper(logs: Any, clock: Clock, **options: Any) -> LogShipper:
    return LogShipper(logs, GROUP, STREAM, now=clock, pause=lambda _: None, **options)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_lines_arrive_in_order_and_the_stream_is_made_once(logs: StrictLogs, clock: Clock) -> None:
    ship = shipper(logs, clock)
    for number in range(25_000):
        ship.put(f'{{"event": "{number}"}}'.encode())

    assert ship.flush()

    assert [json.loads(message)["event"] for message in logs.messages] == [str(number) for number in range(25_000)]


def test_a_clock_that_goes_backwards_breaks_no_batch(logs: StrictLogs, clock: Clock) -> None:
    ship = shipper(logs, clock)
    ship.put(b'{"event": "later"}')
    clock.at -= timedelta(minutes=5)
    ship.put(b'{"event": "earlier"}')

    assert ship.flush()
    assert len(logs.messages) == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 1_400_000), min_size=1, max_size=12))
def test_batches_keep_within_the_limits_whatever_the_lines(sizes: list[int]) -> None:
    logs = StrictLogs()
    ship = shipper(logs, Clock())
    for size in sizes:
        ship.put(json.dumps({"event": "é" * (size // 2), TRY: "x"}, ensure_ascii=False).encode())

    assert ship.flush()
    assert len(logs.messages) == len(sizes)


def test_a_line_up_to_what_the_service_takes_is_kept_whole(logs: StrictLogs, clock: Clock) -> None:
    ship = shipper(logs, clock)
    line = json.dumps({"event": "x" * 1_048_000, TRY: "7"}).encode()
    ship.put(line)

    assert ship.flush()
    assert logs.messages == [line.decode()]


def test_of_a_line_too_long_as_much_as_fits_is_kept_and_it_says_so(logs: StrictLogs, clock: Clock) -> None:
    ship = shipper(logs, clock)
    line = {"timestamp": "t", "level": "error", "event": "the beginning", TRY: "7", "rows": ["y" * 3_000_000]}
    ship.put(json.dumps(line).encode())
    ship.put(json.dumps({"event": 'é"' * 1_000_000, TRY: "7"}).encode())
    ship.put(
        json.dumps({f"field {number}": "z" * 20 for number in range(100_000)} | {"event": "many", TRY: "7"}).encode()
    )
    ship.put(b"z" * 2_000_000)

    assert ship.flush()
    cut, escaped, many, raw = logs.messages
    assert 1_048_000 < len(cut) <= 1_048_576
    fields = json.loads(cut)
    assert (fields["level"], fields["event"], fields[TRY]) == ("error", "the beginning", "7")
    assert re.search(r"^\[\"yyy.*yyy… \[\d+ bytes are left out\]$", fields["rows"])
    assert 1_048_000 < len(escaped.encode()) <= 1_048_576
    assert re.search(r"é\"… \[\d+ bytes are left out\]$", json.loads(escaped)["event"])
    assert json.loads(many) == {"event": "many [100002 fields of this line are left out]", TRY: "7"}
    assert raw.endswith("bytes are left out]")


def test_what_is_put_goes_out_by_itself(logs: StrictLogs, clock: Clock) -> None:
    """Readable while the task runs."""
    sent = threading.Event()

    class Noticing(StrictLogs):
        def put_log_events(self, **call: Any) -> None:
            super().put_log_events(**call)
            sent.set()

    shipper(Noticing(), clock, linger=0.01).put(b'{"event": "still running"}')

    assert sent.wait(10)


def test_flush_says_when_time_was_too_short(logs: StrictLogs, clock: Clock) -> None:
    logs.gate.clear()
    ship = shipper(logs, clock)
    ship.put(b"{}")

    assert not ship.flush(timeout=0.05)
    logs.gate.set()
    assert ship.flush()


def test_a_passing_failure_loses_nothing(logs: StrictLogs, clock: Clock) -> None:
    throttled = ClientError({"Error": {"Code": "ThrottlingException"}}, "PutLogEvents")
    logs.failures = [throttled, throttled]
    ship = shipper(logs, clock)
    ship.put(b'{"event": "kept"}')

    assert ship.flush()
    assert logs.messages == ['{"event": "kept"}']


def test_what_cannot_be_sent_is_noted_and_holds_nobody_up(
    logs: StrictLogs, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutLogEvents")
    logs.failures = [denied] * 4
    ship = shipper(logs, clock)
    ship.put(b'{"event": "lost"}')
    assert ship.flush()
    ship.put(b'{"event": "kept"}')
    assert ship.flush()

    assert logs.messages == ['{"event": "kept"}']
    assert json.loads(capsys.readouterr().err)["lines"] == 1


# --- reading ----------------------------------------------------------------------------------------------------------

INSTANCE = TaskInstance(
    dag_id="d",
    run_id="r",
    task_id="t",
    state=S.SUCCESS,
    try_number=1,
    dispatch_count=1,
    start_date=NOON,
    end_date=NOON + timedelta(seconds=10),
    hostname=STREAM,
)
ID = str(INSTANCE.key.uuid(1))


@dataclass
class Written:
    logs: StrictLogs
    clock: Clock = field(default_factory=Clock)

    def write(
        self,
        *lines: str,
        ti_id: str = ID,
        stream: str = STREAM,
        to: str | None = None,
        at: float = 0,
        end: int | None = None,
    ) -> None:
        """By the worker whose own stream is `stream`."""
        self.clock.at = NOON + timedelta(seconds=at)
        ship = LogShipper(self.logs, GROUP, stream, now=self.clock).of_stream(to)
        for line in lines:
            ship.put(json.dumps({"event": line, TRY: ti_id}).encode())
        if end is not None:
            ship.mark_end(ti_id, end)
        assert ship.flush()

    def reader(self, *, after: timedelta = timedelta(seconds=11)) -> CloudWatchLogReader:
        return CloudWatchLogReader(GROUP, self.logs, now=lambda: NOON + after)


@pytest.fixture
def written(logs: StrictLogs) -> Written:
    return Written(logs)


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


def test_a_try_is_picked_out_of_its_environments_stream(written: Written) -> None:
    written.write("before", ti_id="another", at=-100, end=1)
    written.write("one", "two", end=1)
    written.write("after", ti_id="another", at=10.5, end=1)

    lines, token = written.reader().read_try(INSTANCE)

    assert (events(lines), token) == (["one", "two"], None)


def test_a_running_try_is_read_on_from_where_one_was(written: Written) -> None:
    running = replace(INSTANCE, state=S.RUNNING, end_date=None)
    written.write("one")
    first, token = written.reader().read_try(running)
    nothing, token = written.reader().read_try(running, token=token)
    written.write("two", "three")  # in the same millisecond as the first
    second, token = written.reader().read_try(running, token=token)
    written.write("four", at=5, end=1)
    third, token = written.reader().read_try(INSTANCE, token=token)

    assert [events(lines) for lines in (first, nothing, second, third)] == [["one"], [], ["two", "three"], ["four"]]
    assert token is None


def test_an_ended_try_without_its_last_lines_is_not_called_complete_too_soon(written: Written) -> None:
    written.write("one")

    assert written.reader(after=timedelta(seconds=11)).read_try(INSTANCE)[1] is not None
    assert written.reader(after=timedelta(seconds=11) + LATE).read_try(INSTANCE)[1] is None


def test_a_long_log_is_read_in_pieces(written: Written) -> None:
    written.logs.page_size = 7
    for second in range(9):
        written.write(*(f"{second}.{number}" for number in range(5)), at=second)
    written.write(at=9, end=1)
    pieces, token = [], None
    while True:
        lines, token = written.reader().read_try(INSTANCE, limit=4, token=token)
        pieces.append(events(lines))
        if token is None:
            break

    assert all(len(piece) <= 4 for piece in pieces)
    assert list(itertools.chain(*pieces)) == [f"{second}.{number}" for second in range(9) for number in range(5)]


def test_a_try_that_goes_on_in_another_environment_goes_on_in_its_stream(written: Written) -> None:
    """So one stream is read, and not a whole group of them."""
    sensor = replace(INSTANCE, hostname="two", log_stream="one", dispatch_count=2, first_start_date=NOON - HOUR)
    written.write("first poke", stream="one", at=-3600, end=1)
    written.write("noise", stream="one", ti_id="another", at=-3000, end=1)
    written.write("second poke", stream="two", to="one", at=1, end=2)

    assert written.reader().read_try(sensor) == ([{"event": "first poke"}, {"event": "second poke"}], None)
    assert "two" not in written.logs.streams


def test_what_a_trigger_says_stands_behind_the_mark_of_the_worker_that_deferred(written: Written) -> None:
    deferred = replace(INSTANCE, log_stream=STREAM)
    written.write("defers", end=1)
    written.write("the trigger ends the task", stream="a triggerer", to=STREAM, at=5)

    lines, _ = written.reader().read_try(deferred)
    assert events(lines) == ["defers", "the trigger ends the task"]


def test_lines_of_several_streams_are_sent_to_each_in_order(logs: StrictLogs, clock: Clock) -> None:
    ship = shipper(logs, clock)
    other = ship.of_stream("other")
    for number in range(6):
        (other if number % 3 else ship).put(json.dumps({"event": number}).encode())

    assert other.flush()
    assert {name: [json.loads(each["message"])["event"] for each in found] for name, found in logs.streams.items()} == {
        STREAM: [0, 3],
        "other": [1, 2, 4, 5],
    }
    assert ship.of_stream(None) is ship
    assert ship.of_stream(STREAM) is ship


# --- where it lies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "eu-central-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_a_person_is_given_a_link_into_awss_console(written: Written, region: str, host: str) -> None:
    written.logs.region, written.logs.endpoint = region, f"https://logs.{region}.amazonaws.com"
    named, link = written.reader().where(INSTANCE)

    assert named == f"CloudWatch Logs group {GROUP}, stream {STREAM}"
    url = urlsplit(link)
    assert (url.netloc, url.query) == (host, f"region={region}")
    # The console's own encoding: percent signs are dollars, and all is encoded twice.
    *_, group, _, stream = [unquote(unquote(part.replace("$", "%"))) for part in url.fragment.split("/")]
    assert (group, stream) == (GROUP, STREAM)


def test_where_the_logs_lie_in_an_emulator_a_person_is_given_a_command(written: Written) -> None:
    written.logs.endpoint = "http://127.0.0.1:4566"
    _, command = written.reader().where(replace(INSTANCE, log_stream="began here"))
    words = shlex.split(command)

    assert words[:3] == ["aws", "logs", "get-log-events"]
    options = dict(itertools.pairwise(words))
    assert options["--endpoint-url"] == "http://127.0.0.1:4566"
    assert (options["--log-group-name"], options["--log-stream-name"]) == (GROUP, "began here")


def test_what_has_no_log_lies_nowhere(written: Written) -> None:
    assert written.reader().where(replace(INSTANCE, hostname=None)) == []


@pytest.mark.parametrize("changes", [{"hostname": None}, {"start_date": None}])
def test_what_no_worker_took_has_no_log(written: Written, changes: dict[str, Any]) -> None:
    assert written.reader().read_try(replace(INSTANCE, **changes)) == ([], None)


def test_a_stream_that_is_not_there_yet_is_an_empty_log(written: Written) -> None:
    lines, token = written.reader().read_try(replace(INSTANCE, state=S.RUNNING, end_date=None))

    assert lines == []
    assert token is not None


def test_lines_that_others_wrote_into_the_stream_are_passed_over(written: Written) -> None:
    written.write("one", end=1)
    written.logs.streams[STREAM].insert(0, {"timestamp": int(NOON.timestamp() * 1000), "message": "plain text"})

    lines, token = written.reader().read_try(INSTANCE)

    assert (events(lines), token) == (["one"], None)


# --- the wire ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def wire() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("logs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_log_group(logGroupName=GROUP)
        yield client


def test_writer_and_reader_speak_the_services_language(wire: Any) -> None:
    began = datetime.now(tz=UTC)
    ship = LogShipper(wire, GROUP, "plain-stream")
    ship.put(json.dumps({"event": "hello", TRY: ID}).encode())
    ship.mark_end(ID, 1)
    assert ship.flush()
    ran = replace(INSTANCE, hostname="plain-stream", start_date=began, end_date=began + timedelta(seconds=1))

    assert CloudWatchLogReader(GROUP, wire).read_try(ran) == ([{"event": "hello"}], None)
