"""Make imported objects immortal (PEP 683), so that forked children do not copy their pages.

A forked child copies each memory page that it or its parent writes to, and CPython writes to an object whenever it counts a
reference. What a worker has imported outlives every task, so counting those references is useless. CPython never counts
references of immortal objects (`None` is one), but offers no Python API to make others immortal: `mark_all` writes the
reference count of `None` into the objects' headers, after checking the header's layout.

`mark_all` marks containers, and functions' code with its constants, which are most of the imported objects. Call it between
tasks, when no object is half made. Marked objects are never freed; `collector.freeze_gc` keeps them anyway.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from types import CodeType, FunctionType
from typing import Any, Final

IMMORTALIZE_AFTER_TASKS: Final = 20
"""Tasks a worker runs before `mark_all`. Marking takes as long as thirty later tasks save; a worker that has run this many
mostly runs as many again."""

TRIED_ON: Final = ((3, 12), (3, 13))
"""Versions of CPython whose header layout was checked. 3.11 has no immortal objects."""

log = logging.getLogger(__name__)


def mark_all() -> int:
    """Mark everything; returns how many objects. Returns 0 on an interpreter with another layout. May be called again."""
    if not _heads_are_as_expected():
        log.debug("Objects of this interpreter cannot be made immortal; tasks start a little more slowly")
        return 0
    never = _head(None).value
    gc.unfreeze()
    marked = 0
    for thing in gc.get_objects():
        _mark(thing, never)
        marked += 1
        if type(thing) is FunctionType:
            marked += _mark_code(thing.__code__, never)
    gc.freeze()
    return marked


def _mark_code(code: CodeType, never: int) -> int:
    if _head(code).value == never:
        return 0
    marked = 0
    for thing in (code, code.co_consts, *code.co_consts):
        if type(thing) is CodeType and thing is not code:
            marked += _mark_code(thing, never)
        else:
            _mark(thing, never)
            marked += 1
    return marked


def _mark(thing: Any, never: int) -> None:
    """Does not write where that is done: the page may be one that this process shares with its parent."""
    head = _head(thing)
    if head.value != never:
        head.value = never


def _head(thing: Any) -> ctypes.c_uint32:
    """The low half of the reference count, in place: CPython tests it for immortality."""
    return ctypes.c_uint32.from_address(id(thing))


def _heads_are_as_expected() -> bool:
    """Whether `id` is an address with the reference count behind it: checked on an object of ours, before and after."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in TRIED_ON or sys.byteorder != "little":
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    canary = [object() for _ in range(3)]
    several = [canary[0]] * 100
    if _head(canary[0]).value - _head(canary[1]).value != len(several):
        return False
    if sys.getrefcount(None) != _head(None).value:
        return False
    _head(canary[2]).value = _head(None).value
    others = [canary[2]] * 100
    return sys.getrefcount(others[0]) == sys.getrefcount(None)
