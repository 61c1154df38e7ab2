"""Task logs in CloudWatch Logs: JSON lines, one stream per execution environment of the worker, read back by try.

A line names its try in `TRY`. After the last line of a dispatch comes a mark, which tells a reader that nothing follows;
without one (the environment died) a reader gives up a while after the try has ended. The supervisor sets both fields and
overwrites a task's own values under these names (`owned`), so that no task writes into another's log or ends its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance

MAX_BATCH_EVENTS: Final = 10_000
MAX_BATCH_BYTES: Final = 1_048_576
EVENT_OVERHEAD: Final = 26
"""Bytes that CloudWatch Logs counts for every event in addition to its text."""
MAX_EVENT_BYTES: Final = MAX_BATCH_BYTES - EVENT_OVERHEAD
"""Of one event: 1 MB since April 2025, the same as of a batch."""

LINGER: Final = 0.5
"""Seconds that a line may wait for others before it is sent."""

MAX_WAITING_BYTES: Final = 16 * MAX_BATCH_BYTES
"""A task that prints faster than the shipper sends is slowed down once so much waits."""

TRY: Final = "gust_try"
END_MARK: Final = "gust_end"


def owned(fields: dict[str, Any], ti_id: str) -> dict[str, Any]:
    """The fields of a line with that try's id, whatever the task has put there."""
    return {name: value for name, value in fields.items() if name != END_MARK} | {TRY: ti_id}


class LogShipper:
    """Sends lines to its log stream and to other streams (`of_stream`), from a thread of its own, in order. Made once per
    execution environment.

    The thread sleeps while no line waits, so that the process can be forked then."""

    def __init__(
        self,
        client: Any,
        group: str,
        stream: str,
        *,
        linger: float = LINGER,
        now: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._group = group
        self._stream = stream
        self._linger = linger
        self._now = now
        self._pause = pause
        self._changed = threading.Condition()
        self._waiting: deque[_Event] = deque()
        self._waiting_bytes = 0
        self._sending = False
        self._hurried = False
        self._last_timestamp = 0
        self._thread: threading.Thread | None = None

    def of_stream(self, name: str | None) -> LogShipper | OtherStream:
        """A sender for the stream of that name; this shipper if `name` is `None`."""
        return self if name in (None, self._stream) else OtherStream(self, str(name))

    def put(self, line: bytes, *, stream: str | None = None) -> None:
        """Take a line, to be sent within half a second. Blocks for up to 5 s while more than `MAX_WAITING_BYTES` wait."""
        text = _fitting(line)
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_bytes < MAX_WAITING_BYTES, timeout=5)
            # The time of arrival, never decreasing: CloudWatch Logs requires batches in order, and so does a reader.
            self._last_timestamp = max(self._last_timestamp, int(self._now() * 1000))
            message, size = text.decode("utf-8", errors="replace"), len(text) + EVENT_OVERHEAD
            event = _Event(self._last_timestamp, message, size, stream or self._stream)
            self._waiting.append(event)
            self._waiting_bytes += event.size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def mark_end(self, ti_id: str, dispatch_count: int, *, stream: str | None = None) -> None:
        """Tell readers that the dispatch writes no further lines."""
        self.put(json.dumps({TRY: ti_id, END_MARK: dispatch_count}).encode(), stream=stream)

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Send all waiting lines. Returns whether all were sent within `timeout` seconds."""
        with self._changed:
            self._hurried = bool(self._waiting)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting and not self._sending, timeout=timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                self._changed.wait_for(self._is_time_to_send, timeout=self._linger)
                batch = self._next_batch()
                self._sending = True
            try:
                self._send(batch)
            finally:
                with self._changed:
                    self._sending = False
                    self._changed.notify_all()

    def _is_time_to_send(self) -> bool:
        return self._hurried or self._waiting_bytes >= MAX_BATCH_BYTES or len(self._waiting) >= MAX_BATCH_EVENTS

    def _next_batch(self) -> list[_Event]:
        """The next lines of one stream, as many as one call may carry."""
        batch: list[_Event] = []
        size, stream = 0, self._waiting[0].stream
        while self._waiting and len(batch) < MAX_BATCH_EVENTS and size + self._waiting[0].size <= MAX_BATCH_BYTES:
            if self._waiting[0].stream != stream:
                break
            event = self._waiting.popleft()
            batch.append(event)
            size += event.size
        self._waiting_bytes -= size
        self._hurried = self._hurried and bool(self._waiting)
        return batch

    def _send(self, batch: list[_Event], *, attempts: int = 4) -> None:
        """Send the batch. A log that cannot be written fails no task: lost lines are noted on stderr, which Lambda keeps."""
        for attempt in range(attempts):
            try:
                self._put_events(batch)
            except (ClientError, BotoCoreError) as error:
                if attempt == attempts - 1:
                    note = {"level": "warning", "message": "Task log lines were lost", "lines": len(batch)}
                    sys.stderr.write(json.dumps({**note, "error": str(error)}) + "\n")
                else:
                    self._pause(0.2 * 2**attempt)
            else:
                return

    def _put_events(self, batch: list[_Event]) -> None:
        stream = batch[0].stream
        events = [{"timestamp": event.timestamp, "message": event.message} for event in batch]
        try:
            self._client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=events)
        except self._client.exceptions.ResourceNotFoundException:
            self._create_stream(stream)
            self._client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=events)

    def _create_stream(self, name: str) -> None:
        try:
            self._client.create_log_stream(logGroupName=self._group, logStreamName=name)
        except self._client.exceptions.ResourceAlreadyExistsException:
            return


@dataclass(frozen=True, slots=True)
class OtherStream:
    """Sends lines through a shipper to another stream."""

    shipper: LogShipper
    name: str

    def of_stream(self, name: str | None) -> LogShipper | OtherStream:
        return self if name is None else self.shipper.of_stream(name)

    def put(self, line: bytes) -> None:
        self.shipper.put(line, stream=self.name)

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        self.shipper.mark_end(ti_id, dispatch_count, stream=self.name)

    def flush(self, timeout: float | None = 10.0) -> bool:
        return self.shipper.flush(timeout)


@dataclass(frozen=True, slots=True)
class _Event:
    timestamp: int
    """Milliseconds since 1970."""
    message: str
    size: int
    """As CloudWatch Logs counts it."""
    stream: str


def _fitting(line: bytes) -> bytes:
    """The line, shortened to an event's size: its longest values are cut, and say how much was left out."""
    if len(line) <= MAX_EVENT_BYTES:
        return line
    try:
        fields: dict[str, Any] = dict(json.loads(line))
    except (TypeError, ValueError):
        room = MAX_EVENT_BYTES - _ROOM_FOR_NOTICE
        return line[:room] + _notice(len(line) - room).encode()
    if len(fields) > _MANY_FIELDS:
        left_out = {"event": f"{fields.get('event', '')} [{len(fields)} fields of this line are left out]"}
        fields = {name: fields[name] for name in ("timestamp", "level", "logger", TRY) if name in fields} | left_out
    while (excess := len(_as_json(fields)) - MAX_EVENT_BYTES) > 0:
        longest = max(fields, key=lambda name: len(_as_json(fields[name])))
        fields[longest] = _shortened(fields[longest], excess)
    return _as_json(fields)


_ROOM_FOR_NOTICE: Final = 64
_MANY_FIELDS: Final = 1000
"""Above this number, shortening each field would not be enough."""


def _shortened(value: Any, excess: int) -> str:
    """The beginning of a value, as text that is `excess` bytes shorter in JSON, or almost empty."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    in_json = _as_json(text)[1:-1]
    kept = in_json[: max(0, len(in_json) - excess - _ROOM_FOR_NOTICE)]
    while (beginning := _text_of(kept)) is None:  # it ends in the middle of a character
        kept = kept[:-1]
    return beginning + _notice(len(in_json) - len(kept))


def _text_of(in_json: bytes) -> str | None:
    try:
        return str(json.loads(b'"%b"' % in_json))
    except ValueError:
        return None


def _notice(left_out: int) -> str:
    return f"… [{left_out} bytes are left out]"


def _as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class _Position:
    """Where reading continues: after `seen` lines of the try at that millisecond. A continuation token encodes it."""

    timestamp: int
    seen: int = 0

    @classmethod
    def from_token(cls, token: str) -> _Position:
        timestamp, _, seen = token.partition(".")
        return cls(int(timestamp), int(seen or 0))

    def to_token(self) -> str:
        return f"{self.timestamp}.{self.seen}"

    def after(self, timestamp: int) -> _Position:
        return _Position(timestamp, self.seen + 1 if timestamp == self.timestamp else 1)


ENDED: Final = frozenset({S.SUCCESS, S.FAILED, S.SKIPPED, S.UP_FOR_RETRY, S.UPSTREAM_FAILED, S.REMOVED})
"""States in which the instance's newest try writes no further line."""

CLOCK_SKEW: Final = timedelta(seconds=10)
"""Between the worker's clock and the control plane's."""

LATE: Final = timedelta(seconds=30)
"""How long after a try's end its last lines (callbacks, listeners) may arrive, if no mark ends it."""


@dataclass(frozen=True, slots=True)
class CloudWatchLogReader:
    """Implements `ports.LogReader`."""

    group: str
    client: Any
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC)

    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Structured log lines of one try in order, and a token for the next lines. The token is `None` only when the try
        has ended and its log was read to the end; an instance that no worker has started has no log."""
        stream = _stream_of(instance)
        if stream is None or instance.start_date is None:
            return [], None
        begin = min(instance.start_date, instance.first_start_date or instance.start_date)
        position = _Position.from_token(token) if token else _Position(_milliseconds(begin - CLOCK_SKEW))
        end = instance.end_date if instance.state in ENDED else None
        lines: list[dict[str, Any]] = []
        skip = position.seen
        is_marked = False
        for timestamp, fields in self._events(instance, stream, position.timestamp, end):
            if timestamp == position.timestamp and skip:
                skip -= 1
                continue
            if len(lines) >= limit:
                return lines, position.to_token()
            position = position.after(timestamp)
            is_marked = fields.get(END_MARK) == instance.dispatch_count
            if END_MARK not in fields:
                lines.append(fields)
            elif is_marked and end is not None and instance.log_stream is None:
                return lines, None  # else its trigger may have written behind it
        if end is not None and (is_marked or self.now() > end + LATE):
            return lines, None
        return lines, position.to_token()

    def where(self, instance: TaskInstance) -> list[str]:
        """How to find the try's lines without Gust: the stream's name, and a link into AWS's console (with an emulator, a
        command that shows the lines). Empty if the try has no log."""
        if (stream := _stream_of(instance)) is None:
            return []
        return [f"CloudWatch Logs group {self.group}, stream {stream}", self._way_to(stream)]

    def _way_to(self, stream: str) -> str:
        region, endpoint = self.client.meta.region_name, self.client.meta.endpoint_url
        if ".amazonaws.com" in endpoint:
            page = f"#logsV2:log-groups/log-group/{_in_console(self.group)}/log-events/{_in_console(stream)}"
            return f"https://{_console(region)}/cloudwatch/home?region={region}{page}"
        command = (
            f"aws logs get-log-events --start-from-head --output text --query 'events[].message' --region {region}"
        )
        return f"{command} --endpoint-url {endpoint} --log-group-name '{self.group}' --log-stream-name '{stream}'"

    def _events(
        self, instance: TaskInstance, stream: str, begin: int, end: datetime | None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Time and fields of the try's events, from `begin` on."""
        ti_id = str(instance.key.uuid(instance.try_number))
        span: dict[str, Any] = {"startTime": begin}
        if end is not None:
            span["endTime"] = _milliseconds(end + LATE) + 1
        for page in self._pages(stream, span):
            for event in page:
                fields = _fields(event)
                if fields.pop(TRY, None) == ti_id:
                    yield event["timestamp"], fields

    def _pages(self, stream: str, span: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        more: dict[str, Any] = {}
        while True:
            try:
                answer = self.client.get_log_events(
                    logGroupName=self.group, logStreamName=stream, startFromHead=True, **span, **more
                )
            except self.client.exceptions.ResourceNotFoundException:
                return
            yield answer["events"]
            if answer["nextForwardToken"] == more.get("nextToken"):
                return
            more = {"nextToken": answer["nextForwardToken"]}


def _stream_of(instance: TaskInstance) -> str | None:
    """The one stream with all lines of the instance's newest try."""
    return instance.log_stream or instance.hostname


def _in_console(name: str) -> str:
    """The name in the console's form: percent-encoded twice, with dollar signs for percent signs."""
    return quote(quote(name, safe=""), safe="").replace("%", "$")


def _console(region: str) -> str:
    """The host of AWS's console for a region, each partition of AWS having its own."""
    if region.startswith("cn-"):
        return f"{region}.console.amazonaws.cn"
    if region.startswith("us-gov-"):
        return "console.amazonaws-us-gov.com"
    return f"{region}.console.aws.amazon.com"


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    try:
        fields = json.loads(event["message"])
    except ValueError:
        fields = None
    if isinstance(fields, dict):
        return fields
    return {
        "timestamp": datetime.fromtimestamp(event["timestamp"] / 1000, tz=UTC).isoformat(),
        "event": event["message"],
    }


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
