"""Whether other processes of the same user may read this process's memory and environment, or trace it.

Tasks run as the same user as their worker, whose memory holds tokens of other tries."""

import ctypes
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""From <linux/prctl.h>."""


def forbid() -> None:
    """Close this process to others. Its children inherit that, until they call `allow`."""
    _set_dumpable(0)


def allow() -> None:
    """Undo `forbid` in a child: a task may inspect its own process and be debugged."""
    _set_dumpable(1)


def _set_dumpable(value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)
