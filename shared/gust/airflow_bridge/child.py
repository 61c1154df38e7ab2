"""Run a function in a forked child that may crash, hang, exit, flood its output or eat memory without harming anybody.

The child gets its own process group, a memory limit and no way back but a file with its answer. Whatever ends it, the
parent learns what happened and the group is killed, so that nothing of it lives on.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gust.airflow_bridge import leftovers

OUTPUT_KEPT: Final = 16_384
"""Bytes of the end of stdout and stderr."""

NAMES: Final = {int(number): number.name for number in signal.Signals}

_POLL: Final = 0.05
_CHUNK: Final = 65_536
_PIPE: Final = 16 * _CHUNK
"""The most that a pipe holds."""


@dataclass(frozen=True, slots=True)
class Ended:
    answer: bytes | None
    """What the function returned; `None` where it did not get that far."""
    how: str
    """How a child without an answer ended, in a person's words."""
    output: str
    """The end of what it wrote to stdout and stderr."""
    took_too_long: bool = False
    """It was killed when its time was up."""


def run_in_child(work: Callable[[], bytes], *, timeout: float, memory: int) -> Ended:
    """`work()` in a fork of this process. `timeout` in seconds; `memory`: bytes beyond what it starts with."""
    with tempfile.TemporaryDirectory(prefix="gust-child-") as folder:
        answer = Path(folder) / "answer"
        out_read, out_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(out_read)
            _be_the_child(work, answer, out_write, memory)
        os.close(out_write)
        try:
            status, output = _wait(pid, out_read, until=time.monotonic() + timeout)
        finally:
            os.close(out_read)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        body = answer.read_bytes() if status == 0 and answer.exists() else None
        return Ended(answer=body, how=_how(status, timeout), output=output, took_too_long=status is None)


def _be_the_child(work: Callable[[], bytes], answer: Path, output: int, memory: int) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        leftovers.be_ordinary()
        _speak_into(output)
        _limit_memory(memory)
        unfinished = answer.with_suffix(".part")
        unfinished.write_bytes(work())
        unfinished.rename(answer)
        code = 0
    except BaseException:
        # Whatever it is: the parent tells what happened, and this process must not become a second parent.
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _speak_into(output: int) -> None:
    """Everything that is printed or logged goes to `output`; whatever else is open is the parent's (its connections,
    the runtime's pipes, what stands in for stdout there) and is closed."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 4096)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    logging.root.handlers[:] = [logging.StreamHandler(sys.stderr)]


def _limit_memory(memory: int) -> None:
    """So many bytes more, then MemoryError; should the machine run out first, this process goes first."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(pid: int, output: int, *, until: float) -> tuple[int | None, str]:
    """The exit status (`None`: had to be killed at `until`) and the end of the output.

    The pipe's end tells of the child's, at once; looking now and then as well covers a grandchild that keeps it open.
    """
    kept = bytearray()
    is_open = True
    while True:
        if is_open:
            is_open = _read_some(output, kept, _POLL)
        else:
            time.sleep(_POLL / 10)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > until:
            break
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for _ in range(_PIPE // _CHUNK):
        if not _read_some(output, kept, 0):
            break
    return (status if ended else None), kept.decode(errors="replace")


def _read_some(output: int, kept: bytearray, patience: float) -> bool:
    """Whether more may come."""
    if select.select([output], [], [], patience)[0]:
        chunk = os.read(output, _CHUNK)
        kept += chunk
        del kept[:-OUTPUT_KEPT]
        return bool(chunk)
    return patience > 0


def _how(status: int | None, timeout: float) -> str:
    if status is None:
        return f"It did not end within {timeout:g} seconds and was killed."
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = NAMES.get(number, f"signal {number}")
        return f"The process was ended by {name}."
    return f"The process ended itself with exit code {os.WEXITSTATUS(status)}."
