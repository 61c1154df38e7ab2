"""Where children come from: forks of a process that has imported everything and has never seen a secret.

A worker's memory holds its own AWS credentials, tokens of earlier tries, and the secrets of connections that they read. A
fork of the worker would inherit all of it, in objects and in freed memory, and a DAG author's code can read its own
memory. So the worker forks a nursery once, when the imports are done and before it makes its first AWS client
(`own_credentials` keeps the environment's aside until then), and the nursery forks the children. A child costs one fork as
before, plus a message of some hundred bytes.

What a child runs is a pickle: a function of a module and plain arguments, among them connections and tokens. It lies in
memory without a name (memfd) that the child alone reads: what the nursery read, all later children would inherit. The
nursery dies with its worker, and its children with it. A process without one (a test, a bench) forks its children itself.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import partial
from typing import Final, NoReturn, Protocol

from gust.airflow_bridge import dumpable

Target = Callable[..., object]
"""What a child runs, with the descriptors that it was given as arguments. Does not return, or the child ends with 0."""

ExitSignal = IntEnum("ExitSignal", {each.name: -each for each in signal.Signals})  # type: ignore[misc]  # made of a list
"""Exit codes of processes that a signal has ended. Airflow's supervisor logs their names."""

LOST: Final = 70
"""Exit code of a worker whose nursery has died. Its function starts anew, and the message comes again."""

_PR_SET_PDEATHSIG: Final = 1
"""From <linux/prctl.h>."""

_HEAD: Final = struct.Struct("!cI")
"""A request: `F` (fork), or `C` (call) and the length of the pickle that follows."""
_PID: Final = struct.Struct("!i")
_END: Final = struct.Struct("!iq")
"""A child's exit code, and its largest memory in kB."""
_MOST_FDS: Final = 16
_PATIENCE: Final = 5.0
"""Seconds between a child's end and the nursery's word of it."""


class Process:
    """A child, as Airflow's supervisor tracks it."""

    ProcessNotFound = ProcessLookupError
    TimeoutExpired = TimeoutError

    def __init__(self, pid: int, pidfd: int, end: socket.socket | None) -> None:
        """`pidfd`: opened by the child's parent, before it could have reaped it. `end`: where the nursery tells how it
        has ended; `None` for a child of this process."""
        self.pid = pid
        self.largest_memory = 0
        """kB, once it has ended; with the processes that it waited for."""
        self._end = end
        self._exit_code: int | None = None
        self._pidfd = pidfd

    def watched(self) -> int:
        """A new descriptor that is readable once the child has ended. To be asked for before `wait`."""
        return os.dup(self._pidfd)

    def send_signal(self, number: signal.Signals) -> None:
        if self._exit_code is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None) -> int:
        """The exit code, negative where a signal has ended it. Raises TimeoutError after `timeout` seconds."""
        if self._exit_code is None:
            ended = select.poll()  # unlike `select`, it takes descriptors of any number
            ended.register(self._pidfd, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError
            code = self._reaped() if self._end is None else self._told(self._end)
            self._exit_code = ExitSignal(code) if code in ExitSignal else code
            os.close(self._pidfd)
        return self._exit_code

    def _reaped(self) -> int:
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:  # by a reaper of orphans
            return 0
        self.largest_memory = usage.ru_maxrss
        return os.waitstatus_to_exitcode(status)

    def _told(self, end: socket.socket) -> int:
        with end:
            end.settimeout(_PATIENCE)
            said = b""
            with suppress(OSError):
                said = end.recv(_END.size, socket.MSG_WAITALL)
        if len(said) < _END.size:  # the nursery is gone, and the child with it
            return -signal.SIGKILL
        code, self.largest_memory = _END.unpack(said)
        return int(code)


# --- in the worker ----------------------------------------------------------------------------------------------------


class Children(Protocol):
    """Where children come from."""

    def fork(
        self, target: Target, descriptors: Sequence[int], *, not_for_child: Sequence[socket.socket] = ()
    ) -> Process:
        """Start a child that calls `target` with copies of the descriptors. The child leads a process group of its own.
        `not_for_child`: sockets of this process that a fork of it must close."""

    def call(self, work: Callable[[], object]) -> None:
        """Call a function where children come from: later children inherit what it imports or marks."""


class Forks:
    """Children are forks of this process."""

    def fork(
        self, target: Target, descriptors: Sequence[int], *, not_for_child: Sequence[socket.socket] = ()
    ) -> Process:
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            for each in not_for_child:
                each.close()
            _be_the_child(target, descriptors, parent)
        with suppress(OSError):
            os.setpgid(pid, pid)  # here and there: whichever comes first
        return Process(pid, os.pidfd_open(pid), None)

    def call(self, work: Callable[[], object]) -> None:
        work()


class ParentGone(Exception):
    """The process that forks the children has ended."""


class Asked:
    """Children are forks of another process, which is asked for them. Raises ParentGone where it has ended."""

    def __init__(self, control: socket.socket) -> None:
        """`control`: leads to the process that runs `serve`."""
        self._control = control

    def fork(
        self,
        target: Target,
        descriptors: Sequence[int],
        *,
        not_for_child: Sequence[socket.socket] = (),  # noqa: ARG002 - the nursery has none of them
    ) -> Process:
        end, theirs = socket.socketpair()
        with theirs, open(os.memfd_create("gust-child"), "w+b") as told:
            pickle.dump(target, told)
            told.seek(0)
            self._send(b"F", b"", [*descriptors, told.fileno(), theirs.fileno()])
        pid, pidfd = self._born()
        return Process(pid, pidfd, end)

    def call(self, work: Callable[[], object]) -> None:
        """`work` holds no secret: later children inherit the message, too."""
        self._send(b"C", pickle.dumps(work), [])

    def _send(self, kind: bytes, message: bytes, descriptors: Sequence[int]) -> None:
        try:
            socket.send_fds(self._control, [_HEAD.pack(kind, len(message))], list(descriptors))
            self._control.sendall(message)
        except OSError:
            self._has_gone()

    def _born(self) -> tuple[int, int]:
        """The child's id, and a descriptor of it."""
        said, descriptors = b"", list[int]()
        with suppress(OSError):
            said, descriptors, _, _ = socket.recv_fds(self._control, _PID.size, 1, socket.MSG_WAITALL)
        if len(said) < _PID.size:
            self._has_gone()
        return _PID.unpack(said)[0], descriptors[0]

    def _has_gone(self) -> NoReturn:
        raise ParentGone


_made_here: Final[set[int]] = set()


def made_here() -> frozenset[int]:
    """Process ids of the nurseries that this process has made."""
    return frozenset(_made_here)


class Nursery(Asked):
    """Children are forks of this process as it was when `Nursery` was made. For a process without other threads."""

    def __init__(self, ready: Callable[[], object] | None = None) -> None:
        """`ready`: what the nursery does before its first child, and after each `call`."""
        control, theirs = socket.socketpair()
        self.modules = frozenset(sys.modules)
        """Names of the modules that children inherit."""
        worker, self.pid = os.getpid(), os.fork()
        if self.pid == 0:
            control.close()
            _be_the_nursery(theirs, worker, ready)
        _made_here.add(self.pid)
        theirs.close()
        super().__init__(control)

    def _has_gone(self) -> NoReturn:
        """A new one would be a fork of a process that knows secrets."""
        sys.stderr.write("The nursery has died, and the worker ends with it\n")
        sys.stderr.flush()
        os._exit(LOST)


# --- in the nursery ---------------------------------------------------------------------------------------------------


def _be_the_nursery(control: socket.socket, worker: int, ready: Callable[[], object] | None) -> NoReturn:
    try:
        dumpable.forbid()
        _die_with(worker)
        serve(_close_all_but(control), ready)
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _close_all_but(control: socket.socket) -> socket.socket:
    """Only it and stderr stay open: the rest is the worker's, and of the runtime that it runs in."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    kept = os.dup2(control.detach(), 3, inheritable=False) if control.fileno() != 3 else control.detach()
    os.closerange(4, max(4096, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536)))
    return socket.socket(fileno=kept)


def serve(control: socket.socket, ready: Callable[[], object] | None = None) -> None:
    """Fork children for the process at the other end, until it is gone. `ready` is called before the first child, and after
    whatever that process has called here."""
    _Nursery(control, ready or (lambda: None)).serve()


class _Nursery:
    def __init__(self, control: socket.socket, ready: Callable[[], object]) -> None:
        self._control = control
        self._ready = ready
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """By pidfd: the child's pid, and where its worker waits for its end."""

    def serve(self) -> None:
        """Until the worker is gone."""
        self._ready()
        while True:
            control = self._control.fileno()
            for ready in select.select([control, *self._children], [], [])[0]:
                if ready != control:
                    self._tell_end(ready)
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        head, descriptors, _, _ = socket.recv_fds(self._control, _HEAD.size, _MOST_FDS)
        if not head:
            return False
        kind, length = _HEAD.unpack(head)
        if kind == b"C":
            message = self._control.recv(length, socket.MSG_WAITALL)
            try:
                pickle.loads(message)()  # noqa: S301 - from our worker
            except Exception:
                traceback.print_exc()
            self._ready()
            return True
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            self._leave(descriptors.pop())
            _be_the_child(partial(_told, descriptors.pop()), descriptors, parent)
        with suppress(OSError):
            os.setpgid(pid, pid)
        end = socket.socket(fileno=descriptors.pop())
        for descriptor in descriptors:
            os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid, end
        # The worker cannot open it: the child may have ended by then, and its id may be another's.
        socket.send_fds(self._control, [_PID.pack(pid)], [pidfd])
        return True

    def _leave(self, end: int) -> None:
        """In a child."""
        self._control.close()
        os.close(end)
        for pidfd, (_, other) in self._children.items():
            os.close(pidfd)
            other.close()

    def _tell_end(self, pidfd: int) -> None:
        pid, end = self._children.pop(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(pid, 0)
        with end, suppress(OSError):
            end.sendall(_END.pack(os.waitstatus_to_exitcode(status), usage.ru_maxrss))


def _told(what: int, *descriptors: int) -> object:
    with open(what, "rb") as message:
        target: Target = pickle.load(message)  # noqa: S301 - from our worker
    return target(*descriptors)


# --- in a child -------------------------------------------------------------------------------------------------------


def _be_the_child(target: Target, descriptors: Sequence[int], parent: int) -> NoReturn:
    code = 124
    try:
        _die_with(parent)
        with suppress(OSError):
            os.setpgid(0, 0)
        target(*descriptors)
        code = 0
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also if that has happened already."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(LOST)
