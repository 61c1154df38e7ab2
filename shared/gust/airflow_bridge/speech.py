"""Deliver a task's prints and log lines to its supervisor in the order in which the task wrote them.

Airflow's child writes to three sockets: stdout, stderr, and one for structured lines. A supervisor that finds several
readable cannot tell which was written first; on a processor that it shares with the child this is common, and a printed
line then appears inside the folded group that the task opened after it. So before the child writes to one socket, it
waits until the supervisor has read what it wrote to another. Only switching between sockets costs time.
"""

from __future__ import annotations

import array
import codecs
import fcntl
import io
import logging
import os
import sys
import termios
import time
from typing import Any, Final

import structlog

PATIENCE: Final = 0.05
"""Seconds that a writer waits at most; then it writes, and the order may be wrong."""

_PAUSE: Final = 0.0001


def in_the_order_said() -> None:
    """In a child of Airflow's supervisor, before it logs: let stdout, stderr and the log take turns. Elsewhere it
    changes nothing."""
    factory = structlog.get_config()["logger_factory"]
    if not isinstance(log := getattr(factory, "io", None), io.FileIO):
        return
    turns = Turns()
    factory.io = InTurn(log, turns)
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(codecs.getwriter("utf-8")(factory.io))
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(InTurn(stream, turns)), line_buffering=True)
        for stream in (sys.stdout, sys.stderr)
    )


class Turns:
    """Which of several sockets this process has written to last."""

    def __init__(self) -> None:
        self._last = -1

    def take(self, fd: int) -> None:
        """`fd` is about to be written to. Returns when what was written to another one has been read, or after
        `PATIENCE`."""
        before, self._last = self._last, fd
        if before in (fd, -1):
            return
        deadline = time.monotonic() + PATIENCE
        while _unread(before) and time.monotonic() < deadline:
            time.sleep(_PAUSE)


def _unread(fd: int) -> int:
    """Bytes (as the kernel accounts for them) that were written to a socket and not read by its peer; 0 where the
    kernel does not tell."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.TIOCOUTQ, count)
    except OSError:
        return 0
    return count[0]


class InTurn(io.RawIOBase):
    """Writes where `owner` writes, when it is its turn. `owner` stays open as long as this."""

    mode = "wb"

    def __init__(self, owner: Any, turns: Turns) -> None:
        self._owner = owner
        self._fd: int = owner.fileno()
        self._turns = turns
        self.name = self._fd

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._turns.take(self._fd)
        return os.write(self._fd, data)
