"""Locks, ports, and processes that must not outlive us."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from gust.errors import GustError

MARK: Final = "_GUST_LOCAL_DATA"
"""Environment variable that every process under the emulator inherits, including tasks and their children. Its value is
the data directory, so that the next start finds processes left over after `kill -9`. A process that sets its own title
may overwrite its environment; it is found by its session."""


class InUseError(GustError):
    """Another process holds the data directory or the port; the message names it where it is known."""


def private_folder(folder: Path, *, is_ours: bool = True) -> Path:
    """Make a folder that no other user of the machine can read. An existing folder is made private only if it
    `is_ours`, not if a person named it."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if is_new or is_ours:
        folder.chmod(0o700)
    return folder


def private_file(path: Path) -> Path:
    """Make the file if it is missing, and private to this user."""
    path.touch(0o600)
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def hold(data: Path, **about: Any) -> Iterator[None]:
    """Lock the data directory. The kernel releases the lock when the process ends. Raises InUseError."""
    private_folder(data, is_ours=False)
    with private_file(data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            file.seek(0)
            raise InUseError(_holder(data, file.read())) from None
        file.truncate(0)
        json.dump({"pid": os.getpid(), **about}, file)
        file.flush()
        yield


def _holder(data: Path, text: str) -> str:
    try:
        holder = json.loads(text)
    except ValueError:
        return f"{data} is in use by another local stack."
    return (
        f"{data} is in use by a local stack (process {holder['pid']}, {holder.get('url', 'no address yet')}). "
        "Stop that one, or choose another directory with --data."
    )


def require_free(port: int) -> None:
    """Raises InUseError if something listens on 127.0.0.1:`port`, or on that port of every address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            if problem.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            why = "is taken" if problem.errno == errno.EADDRINUSE else "needs more rights than you have"
            raise InUseError(f"Port {port} {why}. Choose another one with --port.") from problem


def free_port(preferred: int | None = None, *, except_: int | None = None) -> int:
    """`preferred` if it is free, else another free port; never `except_`."""
    if preferred and preferred != except_:
        with contextlib.suppress(InUseError):
            require_free(preferred)
            return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = int(probe.getsockname()[1])
        return found if found != except_ else free_port(except_=except_)  # while this one is held


def holder(data: Path) -> dict[str, Any] | None:
    """What the stack that holds the data directory says about itself; `None` where none does."""
    with contextlib.suppress(OSError, ValueError):
        about = dict(json.loads((data / "lock").read_text()))
        if psutil.pid_exists(about["pid"]):
            return about
    return None


def remember_session(data: Path, leader: int) -> None:
    """Store that process `leader` leads the session of all processes under the emulator."""
    about = {"pid": leader, "created": psutil.Process(leader).create_time()}
    private_file(data / "session").write_text(json.dumps(about))


def end_left_over(data: Path, *, grace: float = 2.0) -> int:
    """End every process that carries the mark of `data`, except this one. Returns how many there were."""
    doomed = list(_marked(data))
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in _living(doomed, after=grace):
        with contextlib.suppress(psutil.Error):
            process.kill()
    _living(doomed, after=grace)
    return len(doomed)


def _living(doomed: Iterable[psutil.Process], *, after: float) -> list[psutil.Process]:
    """Processes that still live after that many seconds; sooner if none does. One that has ended and that its parent has
    not waited for, as in a container without an init, counts as gone: psutil would wait for it."""
    until = time.monotonic() + after
    while (living := [process for process in doomed if _lives(process)]) and time.monotonic() < until:
        time.sleep(0.02)
    return living


def _marked(data: Path) -> Iterator[psutil.Process]:
    """Processes with the mark, and their descendants: a task may have given its child another environment."""
    session = _session(data)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if _is_marked(process, data, session):
                found[process.pid] = process
                found |= {each.pid: each for each in process.children(recursive=True)}
    found.pop(os.getpid(), None)
    yield from (process for process in found.values() if _lives(process))


def _is_marked(process: psutil.Process, data: Path, session: int | None) -> bool:
    """Whether its environment has the mark. If the process's own title has overwritten the environment, as Airflow's
    workers and tasks do, its session decides."""
    environment = process.environ()
    if MARK in environment:
        return bool(environment[MARK] == str(data))
    return "PATH" not in environment and session is not None and os.getsid(process.pid) == session


def _session(data: Path) -> int | None:
    """The last emulator's session id; None where another process has the number now."""
    try:
        about = json.loads((data / "session").read_text())
        leader, created = int(about["pid"]), float(about["created"])
    except (OSError, ValueError, KeyError):
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(leader).create_time() - created) > 1:
            return None
    return leader


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
