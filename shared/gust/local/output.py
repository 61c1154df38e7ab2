"""What a function prints, complete with each of its answers.

A function prints before it answers, so when its answer is read, all of it lies in the pipe: taking it needs no waiting.
A thread takes what comes meanwhile, because a full pipe stops the function.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import IO, Final

PAUSE: Final = 0.02
"""Seconds between two looks of the thread: to take each line at once would interrupt the emulator at each."""

_CHUNK: Final = 2**16
"""Bytes that a pipe holds."""


class Output:
    """Of one process. Several threads may take it; each byte is given once."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._taken = bytearray()
        self._taking = threading.Lock()

    def keep_taking(self) -> None:
        """Until the process has ended, and each process that it has given the pipe to."""
        while self._await():
            size = self._take_some()
            if size is None:
                return
            if size < _CHUNK:  # else the function may be waiting for room
                time.sleep(PAUSE)

    def take(self) -> str:
        """All that was printed since the last call, as far as it was there when this one began."""
        self._take_some()
        with self._taking:
            taken = bytes(self._taken)
            self._taken.clear()
        return taken.decode(errors="replace").rstrip("\n")

    def _take_some(self) -> int | None:
        """Take what is in the pipe; returns how many bytes. `None`: no more can come."""
        with self._taking:
            if not self._await(0):
                return 0
            chunk = os.read(self._pipe.fileno(), _CHUNK)
            self._taken += chunk
        return len(chunk) or None

    def _await(self, milliseconds: int | None = None) -> bool:
        """Whether something can be read: bytes, or the end."""
        poll = select.poll()
        poll.register(self._pipe.fileno(), select.POLLIN)
        return bool(poll.poll(milliseconds))
