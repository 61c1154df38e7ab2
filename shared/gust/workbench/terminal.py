"""The terminal, as a task's log in Airflow's console format, and for a debugger (`breakpoint()`)."""

from __future__ import annotations

import functools
import json
import logging
import os
import pdb
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any, Final

from gust.local.console import Console

log = logging.getLogger(__name__)

GROUPS: Final = ("::group::", "::endgroup::")
"""How lines begin with which the web UI folds a log."""


class TerminalLog:
    """Implements `task_log.Sink`: writes each line of a try, as Airflow's commands write them."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output
        self._console = Console(output)

    def of_stream(self, _: str | None) -> TerminalLog:
        return self

    def put(self, line: bytes) -> None:
        fields = json.loads(line)
        if str(fields.get("event", "")).startswith(GROUPS):
            return
        self._output.write(f"{self._console.line(fields)}\n")
        self._output.flush()

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        """The terminal is read by a person, who sees the end."""

    def flush(self, timeout: float | None = None) -> bool:  # noqa: ARG002  it never waits
        self._output.flush()
        return True


class TerminalFile:
    """A binary file of JSON lines that a person reads: shows each as `TerminalLog` does once it is whole. Bytes that are no
    JSON appear as they are."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output
        self._log = TerminalLog(output)
        self._begun = b""

    def write(self, data: bytes, /) -> int:
        *whole, self._begun = (self._begun + data).split(b"\n")
        for line in whole:
            try:
                self._log.put(line)
            except ValueError:
                self._output.write(f"{line.decode(errors='replace')}\n")
        return len(data)

    def flush(self) -> None:
        self._output.flush()


# --- the debugger -----------------------------------------------------------------------------------------------------


def debugger_of(keyboard: IO[str] | None, screen: IO[str]) -> Debugger | NoDebugger:
    """For the standard streams; stdin is `None` where the shell has closed it."""
    return Debugger(keyboard, screen) if keyboard is not None and keyboard.isatty() else NoDebugger()


class NoDebugger:
    """Lets a task go on at `breakpoint()` and `pdb.set_trace()`, and says so in its log: no keyboard would answer."""

    def install(self) -> None:
        pdb.set_trace = self.set_trace
        # breakpoint() calls it, unless PYTHONBREAKPOINT names a debugger of one's own choice, which may need no terminal.

    @staticmethod
    def set_trace(*_: Any, **__: Any) -> None:
        frame = sys._getframe(1)
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        log.warning("The task goes on at %s: a debugger needs a terminal, and ./gust run has none here.", place)

    def give_back(self) -> None:
        """It has taken nothing."""


class Debugger:
    """Gives `breakpoint()` and `pdb.set_trace()` of a task's process the terminal: the standard streams of that process
    belong to Airflow's supervisor. Made before the process is forked."""

    def __init__(self, keyboard: IO[str], screen: IO[str]) -> None:
        self._keyboard = os.dup(keyboard.fileno())
        self._screen = os.dup(screen.fileno())

    def install(self) -> None:
        sys.breakpointhook = self.break_here
        pdb.set_trace = self.set_trace
        # A debugger of one's own choice (PYTHONBREAKPOINT) finds the terminal in the standard streams.

    def break_here(self, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT", "") not in ("", "pdb.set_trace"):
            self._take_the_terminal()
            sys.stdin, sys.stdout = self._open()
            return sys.__breakpointhook__(*args, **kwargs)
        return self._stop(sys._getframe(1))

    def set_trace(self, *, header: str | None = None, **_: Any) -> None:
        self._stop(sys._getframe(1), header)

    def _stop(self, frame: FrameType, header: str | None = None) -> None:
        self._take_the_terminal()
        debugger = self._pdb()
        if header is not None:
            debugger.message(header)
        debugger.set_trace(frame)

    @functools.cache  # noqa: B019  one debugger for the life of a process, so that it keeps its breakpoints
    def _pdb(self) -> pdb.Pdb:
        keyboard, screen = self._open()
        debugger = pdb.Pdb(stdin=keyboard, stdout=screen)
        debugger.prompt = "(Pdb) "
        return debugger

    def _open(self) -> tuple[IO[str], IO[str]]:
        return os.fdopen(self._keyboard, closefd=False), os.fdopen(self._screen, "w", closefd=False)

    def _take_the_terminal(self) -> None:
        """A task's process has a group of its own, and the terminal stops a group that reads in the background."""
        with suppress(OSError), _undisturbed():
            os.tcsetpgrp(self._keyboard, os.getpgrp())

    def give_back(self) -> None:
        """In the process that forked the task's: the terminal is its own again."""
        self._take_the_terminal()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Moving the terminal between groups would stop a process of the background."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTOU, before)
