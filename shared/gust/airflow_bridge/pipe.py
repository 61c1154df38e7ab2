"""What a child says at its end, when it is no task that reports by Airflow's messages: one JSON object through a pipe."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any


class Pipe:
    """The reading end, to select on."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._received = bytearray()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """The descriptor is closed by who made it."""

    def receive(self, _: object = None) -> bool:
        """Read what is there. Whether more may come."""
        with suppress(BlockingIOError):
            while part := os.read(self._fd, 65536):
                self._received += part
            return False
        return True

    def rest(self) -> dict[str, Any] | None:
        """What was said, or `None` where it was cut off."""
        self.receive()
        try:
            said: dict[str, Any] = json.loads(self._received)
        except ValueError:
            return None
        return said
