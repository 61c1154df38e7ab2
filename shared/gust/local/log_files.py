"""Log streams in files: what tasks print stays out of the emulator's memory and out of its checkpoints.

MiniStack keeps each line of a log twice in memory. Here a stream's events are a file of JSON lines, in the order in
which they came; in memory is where each begins, how long it is and its time, twenty bytes a line.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, overload

_BLOCK: Final = 64
"""Lines to read at once: after one line, the next ones are read as well."""

Event = dict[str, Any]
"""`timestamp` and `ingestionTime` in milliseconds since 1970, `message`, `eventId`."""


class LogFolder:
    """Files that texts are appended to, `<name>.log`. One with more than `largest` bytes becomes `<name>.log.1`, and a new
    one begins, as where a person has moved or deleted it. The last `most_open` stay open."""

    def __init__(self, folder: Path, *, largest: int, most_open: int = 32) -> None:
        self._folder = folder
        self._largest = largest
        self._most_open = most_open
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def append(self, name: str, text: str) -> None:
        """Raises OSError."""
        path = self._folder / f"{name}.log"
        with self._lock:
            if name in self._open and not self._is_fit(path, self._open[name]):
                os.close(self._open.pop(name))
            file = self._open.pop(name, None)
            if file is None:
                file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open[name] = file
            if len(self._open) > self._most_open:
                os.close(self._open.pop(next(iter(self._open))))
            os.write(file, text.encode(errors="replace"))

    def _is_fit(self, path: Path, file: int) -> bool:
        """Whether the open file is the one at the path, and not too large. One that is gets its second name."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        if not os.path.samestat(found, os.fstat(file)):
            return False
        if found.st_size > self._largest:
            path.replace(path.with_name(f"{path.name}.1"))
            return False
        return True


class FileEvents(Sequence[Event]):
    """The events of one stream by time; equal times in the order of arrival. The file is read at the first access."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._times = array("q")
        self._offsets = array("Q")
        self._lengths = array("L")
        self._end = 0
        self._is_loaded = False
        self._block: tuple[int, list[Event]] = (0, [])
        """The place of the first, and the lines."""

    def __len__(self) -> int:
        with self._lock:
            self._load()
            return len(self._times)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        with self._lock:
            self._load()
            wanted = range(len(self._times))[index]
            if not isinstance(wanted, int):
                return list(self._read(wanted))
            first, block = self._block
            if not first <= wanted < first + len(block):
                first, block = wanted, list(self._read(range(wanted, min(wanted + _BLOCK, len(self._times)))))
                self._block = (first, block)
            return block[wanted - first]

    def extend(self, events: Iterable[Event]) -> None:
        """Append events. Raises OSError, and then appends none."""
        lines = [(int(event["timestamp"]), json.dumps(event).encode() + b"\n") for event in events]
        with self._lock:
            self._load()
            descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                _write(descriptor, b"".join(line for _, line in lines), self._end)
            finally:
                os.close(descriptor)
            for at, line in lines:
                self._note(at, len(line))

    def _load(self) -> None:
        if self._is_loaded:
            return
        self._is_loaded = True
        if self.file.exists():
            with self.file.open("rb") as lines:
                for line in lines:
                    if not line.endswith(b"\n"):
                        return  # the emulator was killed while it wrote
                    self._note(int(json.loads(line)["timestamp"]), len(line))

    def _note(self, at: int, length: int) -> None:
        place = len(self._times)
        if self._times and self._times[-1] > at:
            place = bisect_right(self._times, at)
            self._block = (0, [])
        self._times.insert(place, at)
        self._offsets.insert(place, self._end)
        self._lengths.insert(place, length)
        self._end += length

    def _read(self, places: Iterable[int]) -> Iterator[Event]:
        descriptor = os.open(self.file, os.O_RDONLY)
        try:
            for place in places:
                yield json.loads(os.pread(descriptor, self._lengths[place], self._offsets[place]))
        finally:
            os.close(descriptor)


def _write(descriptor: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, at)
        content, at = content[written:], at + written


class LogFiles:
    """The files of all streams, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, group: str, stream: str) -> FileEvents:
        name = hashlib.sha256(f"{group}\0{stream}".encode()).hexdigest()[:32]
        return FileEvents(self._folder / f"{name}.jsonl")

    def adopt(self, groups: Mapping[str, Any]) -> None:
        """Replace the events of restored streams by files. A checkpoint of an older Gust still holds events: they are
        moved."""
        for group, about in groups.items():
            for name, stream in about.get("streams", {}).items():
                events = self.of(group, name)
                if stream["events"] and not events:
                    events.extend(stream["events"])
                stream["events"] = events

    def put(self, group: str, name: str, stream: dict[str, Any], events: Sequence[Mapping[str, Any]]) -> list[Event]:
        """Store lines of a stream and update its times. Raises OSError."""
        now = int(time.time() * 1000)
        stored = [
            {
                "timestamp": event.get("timestamp", now),
                "message": event.get("message", ""),
                "ingestionTime": now,
                "eventId": str(uuid.uuid4()),
            }
            for event in events
        ]
        if not isinstance(stream["events"], FileEvents):
            stream["events"] = self.of(group, name)
        stream["events"].extend(sorted(stored, key=lambda event: int(event["timestamp"])))
        times = [event["timestamp"] for event in stored]
        if times:
            times += [
                each for each in (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) if each is not None
            ]
            stream["firstEventTimestamp"], stream["lastEventTimestamp"] = min(times), max(times)
            stream["lastIngestionTime"] = now
        return stored


def saved(value: Any) -> Any:
    """For `json.dumps(default=…)`: a checkpoint holds no lines, because files do. Raises TypeError for any other
    value."""
    if isinstance(value, FileEvents):
        return []
    raise TypeError(type(value).__name__)
