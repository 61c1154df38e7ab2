"""A try's log: Airflow's own structured lines, on their way to the log group.

The child writes JSON lines to its supervisor, the supervisor hands them to the logger made here, and that writes them
to a sink (the shipper to CloudWatch Logs). Every line carries `ti_id`: a log stream belongs to an execution
environment, which runs one try after another, and the reader picks one try out of it.
"""

from __future__ import annotations

import functools
import os
import socket
from typing import Any, Protocol

import structlog
from airflow.sdk.log import logging_processors


class Sink(Protocol):
    """Where lines go."""

    def put(self, line: bytes) -> None:
        """Take a line; returns at once."""

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        """Note that the try's dispatch writes no more."""

    def flush(self, timeout: float | None = None) -> bool:
        """Have what was put sent before returning; whether all of it was, within `timeout` seconds."""


@functools.cache
def stream_name() -> str:
    """The log stream of this execution environment. Airflow reports it as the try's hostname."""
    return os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME") or f"{socket.gethostname()}/{os.getpid()}"


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
    """A logger through Airflow's own processors (timestamps, masked secrets, JSON), every line of which names the
    try."""
    return structlog.wrap_logger(
        structlog.BytesLogger(_SinkFile(sink)),  # type: ignore[arg-type]
        processors=logging_processors(json_output=True),
        logger_name="task",
    ).bind(ti_id=ti_id)
