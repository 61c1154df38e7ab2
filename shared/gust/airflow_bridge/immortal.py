"""Objects that are counted no more (PEP 683), so that children do not copy their pages.

A forked child copies each page that it or its parent writes to, and CPython writes to an object whenever it looks at it: it
counts references. What a worker has imported outlives every task, so that counting it is for nothing. CPython has immortal
objects for this, `None` among them, and no way to say from Python which others shall be some: this writes into the objects'
heads the count that `None` has, after having made sure of how a head looks.

Only containers are marked, functions' code and its constants, which are the most: in between tasks, when nothing is half
made. What is marked is never freed; it would not have been anyhow (`collector.settle`).
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from types import CodeType, FunctionType
from typing import Any, Final

PAYS_AFTER: Final = 20
"""Tasks. Marking takes as long as thirty tasks take less afterwards; who has run so many will mostly run as many more."""

TRIED_ON: Final = ((3, 12), (3, 13))
"""Versions of CPython. 3.11 knows no immortal objects; each new one is to be looked at."""

log = logging.getLogger(__name__)


def mark_all() -> int:
    """How many objects were marked; none where this interpreter's look otherwise. May be called again."""
    if not _heads_are_as_expected():
        log.debug("Objects of this interpreter cannot be made immortal; tasks start a little more slowly")
        return 0
    never = _head(None).value
    gc.unfreeze()
    marked = 0
    for thing in gc.get_objects():
        _head(thing).value = never
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
            _head(thing).value = never
            marked += 1
    return marked


def _head(thing: Any) -> ctypes.c_uint32:
    """The half of the count that CPython looks at first, in place."""
    return ctypes.c_uint32.from_address(id(thing))


def _heads_are_as_expected() -> bool:
    """Whether `id` is an address, and the count is there: seen from an object of ours, before and after."""
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
