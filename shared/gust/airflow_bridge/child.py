"""Run a function in a forked child that may crash, hang, exit, flood its output or exhaust memory without harming its
parent.

The child gets its own session, a memory limit, and an unnamed file for its answer. However the child ends, the parent
learns how, and kills every process that the child started.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gust.airflow_bridge import dumpable, orphans
from gust.airflow_bridge.questions import FD, Questions
from gust.model.bounds import LARGEST_ANSWER

OUTPUT_KEPT: Final = 16_384
"""Bytes of the end of stdout and stderr."""

NAMES: Final = {int(number): number.name for number in signal.Signals}

_ANSWER: Final = FD + 1
"""The child's descriptor of the file that it answers in."""

_WHOLE: Final = b"\n\0"
"""Ends a complete answer."""

_POLL: Final = 0.05
_LOOK: Final = 0.2
_CHUNK: Final = 65_536
_PIPE: Final = 16 * _CHUNK
"""The most that a pipe holds."""


@dataclass(frozen=True, slots=True)
class Ended:
    answer: bytes | None
    """What the function returned; None where the child ended before."""
    how: str
    """How a child without an answer ended, for a person to read."""
    output: str
    """The end of what it wrote to stdout and stderr."""
    took_too_long: bool = False
    """The parent killed it when its time was up."""


def run_in_child(
    work: Callable[[], bytes],
    *,
    timeout: float,
    memory: int,
    largest: int = LARGEST_ANSWER,
    questions: Questions | None = None,
    runs_foreign_code: bool = True,
) -> Ended:
    """Call `work()` in a fork of this process. `timeout` in seconds; `memory`: bytes that the child and its descendants
    may add to what the child starts with; `largest`: the most bytes of an answer; `questions`: answers the child's
    questions; `runs_foreign_code`: it may look into its own process, as a DAG author's code expects. Any other child stays
    closed to processes of the same user, as its parent is, whose memory it has."""
    orphans.adopt()
    others = orphans.children()
    with tempfile.TemporaryFile(prefix="gust-answer-") as answer:
        out_read, out_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(out_read)
            if runs_foreign_code:
                dumpable.allow()
            _be_the_child(work, answer.fileno(), out_write, timeout=timeout, memory=memory, questions=questions)
        os.close(out_write)
        if questions is not None:
            questions.in_parent()
        watched = _Watched(pid, memory)
        try:
            status, output = _wait(watched, out_read, until=time.monotonic() + timeout, questions=questions)
        finally:
            os.close(out_read)
            if questions is not None:
                questions.close()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            orphans.kill_all(except_=others)
        size = answer.seek(0, os.SEEK_END)
        body: bytes | None = None
        how = _how(status, timeout, watched)
        if status == 0 and size > largest:
            how = f"It gave {size:,} bytes; {largest:,} are possible."
        elif status == 0:
            answer.seek(0)
            body = _whole(answer.read(size))
        return Ended(answer=body, how=how, output=output, took_too_long=status is None and not watched.is_too_large)


def _whole(answer: bytes) -> bytes | None:
    """The answer, or None where the child ended before it had written all of it."""
    return answer.removesuffix(_WHOLE) if answer.endswith(_WHOLE) else None


def _be_the_child(
    work: Callable[[], bytes], answer: int, output: int, *, timeout: float, memory: int, questions: Questions | None
) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        _speak_into(output, answer, questions)
        _limit_memory(memory)
        # A trace of where the child hangs helps more than the fact that it does.
        faulthandler.dump_traceback_later(max(timeout - 0.5, timeout * 0.8), file=sys.stderr)
        body = work()
        with open(_ANSWER, "wb", closefd=False) as file:
            file.write(body + _WHOLE)
        code = 0
    except BaseException:
        # The parent reports what happened, and this process must not go on as a second parent.
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _speak_into(output: int, answer: int, questions: Questions | None) -> None:
    """Send all prints and log lines to `output`, keep `answer` and the connection for `questions`, and close every
    other descriptor: they are the parent's (its connections, the runtime's pipes, its replacement for stdout)."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    kept = os.dup(answer)
    while kept <= _ANSWER:  # out of the way of what `questions` and the next line put there
        kept = os.dup(kept)
    if questions is not None:
        questions.in_child()
    else:
        os.closerange(FD, FD + 1)
    os.dup2(kept, _ANSWER, inheritable=False)
    os.closerange(_ANSWER + 1, 4096)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    logging.root.handlers[:] = [logging.StreamHandler(sys.stderr)]


def _limit_memory(memory: int) -> None:
    """Allow so many more bytes, then MemoryError. If the machine runs out of memory first, the kernel kills this
    process first."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Watched:
    """The memory of a process and its descendants. The kernel's limits are per process and do not count shared
    memory."""

    def __init__(self, pid: int, memory: int) -> None:
        self.pid = pid
        self.memory = memory
        self.is_too_large = False
        self._most = memory + _resident("self")
        self._next = time.monotonic() + _LOOK

    def look(self) -> bool:
        """Whether it has become too large. Measures at most every `_LOOK` seconds."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + _LOOK
            family: list[int | str] = [*_descendants(self.pid)]
            # The first sum counts a shared page once per process and is quick; the second counts it once. The parent is
            # in the second: a page that it shares with the child is divided between both.
            self.is_too_large = sum(map(_resident, family)) > self._most < sum(map(_proportional, ["self", *family]))
        return self.is_too_large


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listed:
                for child in listed.read().split():
                    yield from _descendants(int(child))


def _resident(pid: int | str) -> int:
    """Bytes of physical memory; 0 for a process that is gone."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _proportional(pid: int | str) -> int:
    """Bytes of physical memory, shared pages divided among the processes that share them."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def _wait(
    watched: _Watched, output: int, *, until: float, questions: Questions | None = None
) -> tuple[int | None, str]:
    """The exit status (None: it was killed, at `until` or because it became too large) and the end of the output.

    The end of the pipe reports the child's end at once; polling as well covers a grandchild that keeps the pipe open.
    """
    kept = bytearray()
    is_open = True
    while True:
        if questions is not None and questions.fileno() >= 0:
            is_open = _read_some_or_answer(output if is_open else None, kept, questions)
        elif is_open:
            is_open = _read_some(output, kept, _POLL)
        else:
            time.sleep(_POLL / 10)
        ended, status = os.waitpid(watched.pid, os.WNOHANG)
        if ended or time.monotonic() > until or watched.look():
            break
    if not ended:
        os.kill(watched.pid, signal.SIGKILL)
        os.waitpid(watched.pid, 0)
    for _ in range(_PIPE // _CHUNK):
        if not _read_some(output, kept, 0):
            break
    return (status if ended else None), kept.decode(errors="replace")


def _read_some_or_answer(output: int | None, kept: bytearray, questions: Questions) -> bool:
    """Whether more output may come."""
    question = questions.fileno()
    ready = select.select([question] if output is None else [question, output], [], [], _POLL)[0]
    if question in ready:
        questions.serve()
    return output is not None and (output not in ready or _read_some(output, kept, 0))


def _read_some(output: int, kept: bytearray, patience: float) -> bool:
    """Whether more may come."""
    if select.select([output], [], [], patience)[0]:
        chunk = os.read(output, _CHUNK)
        kept += chunk
        del kept[:-OUTPUT_KEPT]
        return bool(chunk)
    return patience > 0


def _how(status: int | None, timeout: float, watched: _Watched) -> str:
    if watched.is_too_large:
        return f"It took more than {watched.memory // 2**20:,} MB of memory, with all that it started, and was killed."
    if status is None:
        return f"It did not end within {timeout:g} seconds and was killed."
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = NAMES.get(number, f"signal {number}")
        return f"The process was ended by {name}."
    return f"The process ended itself with exit code {os.WEXITSTATUS(status)}."
