"""A try's log: Airflow's own structured lines, on their way to the log group.

The child writes JSON lines to its supervisor, the supervisor passes them to the logger made here, and the logger writes
them to a sink (the shipper to CloudWatch Logs). The supervisor adds the try's id to every line, last, so that a task
cannot forge it: a log stream belongs to an execution environment, which runs one try after another, and readers select
one try's lines.
"""

from __future__ import annotations

import functools
import os
import socket
from typing import Any, Protocol

import structlog
from airflow.sdk.log import logging_processors

from gust.aws.logs import owned


class Sink(Protocol):
    """A log stream that takes lines."""

    def of_stream(self, name: str | None) -> Sink:
        """The sink that writes to the stream of that name; this one where there is none."""

    def put(self, line: bytes) -> None:
        """Take a line; returns at once."""

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        """Note that this dispatch of the try has written its last line."""

    def flush(self, timeout: float | None = None) -> bool:
        """Send all lines before returning. Returns whether that was done within `timeout` seconds."""


class Held:
    """A sink that keeps lines until `let_go`: a child writes its first lines before its supervisor knows whether the
    try may start, and a message's second delivery must not write into the log of the first."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._kept: list[bytes] | None = []

    def of_stream(self, name: str | None) -> Held:
        return Held(self._sink.of_stream(name))

    def put(self, line: bytes) -> None:
        if self._kept is None:
            self._sink.put(line)
        else:
            self._kept.append(line)

    def let_go(self) -> None:
        kept, self._kept = self._kept or [], None
        for line in kept:
            self._sink.put(line)

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        if self._kept is None:
            self._sink.mark_end(ti_id, dispatch_count)

    def flush(self, timeout: float | None = None) -> bool:
        return self._sink.flush(timeout)


@functools.cache
def stream_name() -> str:
    """The log stream of this execution environment. Airflow reports it as the try's hostname."""
    named = os.environ.get("GUST_LOG_STREAM") or os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
    return named or f"{socket.gethostname()}/{os.getpid()}"


class _SinkFile:
    """The part of a binary file that structlog's BytesLogger uses."""

    name = "task log"

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, line: bytes) -> int:
        self._sink.put(line.rstrip(b"\n"))
        return len(line)

    def flush(self) -> None:
        """Lines are sent in the background."""


def try_logger(sink: Sink, ti_id: str) -> Any:
    """A logger with Airflow's own processors (timestamps, masked secrets, JSON) that adds the try's id to every
    line."""
    *processors, as_json = logging_processors(json_output=True)
    return structlog.wrap_logger(
        structlog.BytesLogger(_SinkFile(sink)),  # type: ignore[arg-type]
        processors=[*processors, lambda _, __, fields: owned(dict(fields), ti_id), as_json],
        logger_name="task",
    ).bind()
