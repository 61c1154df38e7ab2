"""A child's questions to the process that forked it: one JSON line, answered by one JSON line.

The child runs a DAG author's code, which may write anything or never read: the parent rejects lines that are longer
than a question, and closes the connection of a child that does not read its answer.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

FD: Final = 3
"""The child's end."""

LONGEST_QUESTION: Final = 16_384
"""Bytes."""

PATIENCE: Final = 5.0
"""Seconds that a child has to read an answer."""

Answer = Callable[[Any], Any]
"""Question → answer, JSON values both. Raises nothing."""


class Questions:
    """Made before the fork. Both sides close the other's end: `in_parent`, `in_child`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parents, self._childs = socket.socketpair()
        self._unread = b""
        self._lock = threading.Lock()

    # --- the parent ---

    def in_parent(self) -> None:
        self._childs.close()
        self._parents.settimeout(PATIENCE)

    def fileno(self) -> int:
        """For `select`; -1 once the connection is closed."""
        return self._parents.fileno()

    def serve(self) -> None:
        """Answer the child's pending questions. Call it when there is something to read."""
        try:
            received = self._parents.recv(LONGEST_QUESTION)
            *lines, self._unread = (self._unread + received).split(b"\n")
            if not received or len(self._unread) > LONGEST_QUESTION:
                self.close()
            for line in lines:
                self._parents.sendall(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
        except (OSError, ValueError, RecursionError):
            self.close()  # neither a question of ours nor a child that waits for its answer

    def close(self) -> None:
        self._parents.close()

    # --- the child ---

    def in_child(self) -> None:
        """Keep the child's end as `FD`, whatever was open under that number."""
        fd = self._childs.detach()
        if fd != FD:
            os.dup2(fd, FD, inheritable=False)

    def ask(self, question: Any) -> Any:
        """The parent's answer. Raises ConnectionError when the parent has closed the connection."""
        with self._lock:
            os.write(FD, json.dumps(question).encode() + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n"):
                received = b""
                with suppress(OSError):
                    received = os.read(FD, 65_536)
                if not received:
                    raise ConnectionError("The parser does not answer")
                answer += received
        return json.loads(answer)
