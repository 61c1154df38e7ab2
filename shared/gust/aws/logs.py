"""Task logs in CloudWatch Logs: JSON lines, one stream per execution environment of the worker, read back by try.

A line names its try in `ti_id`. After the last line of a dispatch comes a mark, which tells a reader that nothing
follows; without one (the environment died) a reader gives up a while after the try has ended.
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

from botocore.exceptions import BotoCoreError, ClientError

from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance

MAX_BATCH_EVENTS: Final = 10_000
MAX_BATCH_BYTES: Final = 1_048_576
EVENT_OVERHEAD: Final = 26
"""Bytes that CloudWatch Logs counts for every event beside its text."""
MAX_EVENT_BYTES: Final = 256 * 1024 - EVENT_OVERHEAD
"""Newer regions take 1 MB; 256 KB is taken everywhere."""

LINGER: Final = 0.5
"""Seconds that a line may wait for company before it is sent."""

MAX_WAITING_BYTES: Final = 16 * MAX_BATCH_BYTES
"""A task that prints faster than this can be sent is slowed down to it."""

END_MARK: Final = "end_of_dispatch"


class LogShipper:
    """Sends lines to one log stream from a thread of its own, in order. Made once per execution environment.

    The thread sleeps while nothing is to be sent, so that the process can be forked then."""

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

    def put(self, line: bytes) -> None:
        """Take a line, to be sent within half a second. Waits only where far too much is waiting already."""
        text = _fitting(line)
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_bytes < MAX_WAITING_BYTES, timeout=5)
            # The time of arrival, never backwards: CloudWatch Logs wants batches in order, and so does a reader.
            self._last_timestamp = max(self._last_timestamp, int(self._now() * 1000))
            event = _Event(self._last_timestamp, text.decode("utf-8", errors="replace"), len(text) + EVENT_OVERHEAD)
            self._waiting.append(event)
            self._waiting_bytes += event.size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        """Tell readers that this was all."""
        self.put(json.dumps({"ti_id": ti_id, END_MARK: dispatch_count}).encode())

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Send what waits. Whether all of it was sent within `timeout` seconds."""
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
        batch: list[_Event] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_EVENTS and size + self._waiting[0].size <= MAX_BATCH_BYTES:
            event = self._waiting.popleft()
            batch.append(event)
            size += event.size
        self._waiting_bytes -= size
        self._hurried = self._hurried and bool(self._waiting)
        return batch

    def _send(self, batch: list[_Event], *, attempts: int = 4) -> None:
        """A log that cannot be written fails no task: what cannot be sent is noted on stderr, where Lambda keeps it."""
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
        events = [{"timestamp": event.timestamp, "message": event.message} for event in batch]
        try:
            self._client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)
        except self._client.exceptions.ResourceNotFoundException:
            self._create_stream()
            self._client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)

    def _create_stream(self) -> None:
        try:
            self._client.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
        except self._client.exceptions.ResourceAlreadyExistsException:
            return


@dataclass(frozen=True, slots=True)
class _Event:
    timestamp: int
    """Milliseconds since 1970."""
    message: str
    size: int
    """As CloudWatch Logs counts it."""


def _fitting(line: bytes) -> bytes:
    """The line, shortened to what an event may hold. Long values are cut, and it says so."""
    if len(line) <= MAX_EVENT_BYTES:
        return line
    notice = f"… [shortened: the line had {len(line)} bytes]"
    room = MAX_EVENT_BYTES // 8
    try:
        fields = json.loads(line)
        kept = {name: _shortened(value, room) for name, value in fields.items()}
        kept["event"] = f"{kept.get('event', '')}{notice}"
        text = json.dumps(kept, ensure_ascii=False).encode()
        if len(text) > MAX_EVENT_BYTES:
            kept = {name: kept[name] for name in ("timestamp", "level", "event", "ti_id", "logger") if name in kept}
            text = json.dumps(kept, ensure_ascii=False).encode()
    except (ValueError, AttributeError):
        text = line[:room] + notice.encode()
    return text[:MAX_EVENT_BYTES]


def _shortened(value: Any, room: int) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text.encode()) <= room:
        return value
    return text.encode()[:room].decode("utf-8", errors="ignore")


@dataclass(frozen=True, slots=True)
class _Position:
    """Where reading goes on: after `seen` lines of the try at that millisecond. Also what a token encodes."""

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
"""States in which the instance's newest try writes no more."""

CLOCK_SKEW: Final = timedelta(seconds=10)
"""Between the worker's clock and the control plane's."""

LATE: Final = timedelta(seconds=30)
"""How long after a try's end its last lines (callbacks, listeners) may come, where no mark ends it."""


@dataclass(frozen=True, slots=True)
class CloudWatchLogReader:
    """Implements `ports.LogReader`."""

    group: str
    client: Any
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC)

    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Structured log lines of one try in order, and a token for what follows. The token is `None` only when the try
        has ended and all of it was read; an instance that no worker has taken yet has no log."""
        if instance.hostname is None or instance.start_date is None:
            return [], None
        begin = min(instance.start_date, instance.first_start_date or instance.start_date)
        position = _Position.from_token(token) if token else _Position(_milliseconds(begin - CLOCK_SKEW))
        end = instance.end_date if instance.state in ENDED else None
        lines: list[dict[str, Any]] = []
        skip = position.seen
        in_parts = _ran_in_parts(instance)
        is_marked = False
        for timestamp, fields in self._events(instance, position.timestamp, end):
            if timestamp == position.timestamp and skip:
                skip -= 1
                continue
            if len(lines) >= limit:
                return lines, position.to_token()
            position = position.after(timestamp)
            is_marked = fields.get(END_MARK) == instance.dispatch_count
            if END_MARK not in fields:
                lines.append(fields)
            elif is_marked and end is not None and not in_parts:
                return lines, None
        if end is not None and (is_marked or self.now() > end + LATE):
            return lines, None
        return lines, position.to_token()

    def _events(self, instance: TaskInstance, begin: int, end: datetime | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Time and fields of the try's events, from `begin` on."""
        ti_id = str(instance.key.uuid(instance.try_number))
        span: dict[str, Any] = {"logGroupName": self.group, "startTime": begin}
        if end is not None:
            span["endTime"] = _milliseconds(end + LATE) + 1
        pages = self._pages_of_group(ti_id, span) if _ran_in_parts(instance) else self._pages_of_stream(instance, span)
        for page in pages:
            for event in page:
                fields = _fields(event)
                if fields.get("ti_id") == ti_id:
                    yield event["timestamp"], fields

    def _pages_of_stream(self, instance: TaskInstance, span: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        more: dict[str, Any] = {}
        while True:
            try:
                answer = self.client.get_log_events(logStreamName=instance.hostname, startFromHead=True, **span, **more)
            except self.client.exceptions.ResourceNotFoundException:
                return
            yield answer["events"]
            if answer["nextForwardToken"] == more.get("nextToken"):
                return
            more = {"nextToken": answer["nextForwardToken"]}

    def _pages_of_group(self, ti_id: str, span: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        more: dict[str, Any] = {}
        while True:
            try:
                answer = self.client.filter_log_events(filterPattern=f'{{ $.ti_id = "{ti_id}" }}', **span, **more)
            except self.client.exceptions.ResourceNotFoundException:
                return
            yield answer["events"]
            if "nextToken" not in answer:
                return
            more = {"nextToken": answer["nextToken"]}


def _ran_in_parts(instance: TaskInstance) -> bool:
    """Whether a try may have given its worker back and gone on in another (reschedule, deferral): then its lines lie in
    several streams, and the whole group is searched. Every try takes one dispatch; more of them than tries tells."""
    return instance.dispatch_count > instance.try_number


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
