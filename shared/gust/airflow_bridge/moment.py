"""Whether a module asks for the time, or for a name of its own, while it is imported: `TODAY = date.today()`.

In Airflow each task imports its modules, so such a value is of this task. A module that was imported for many tasks would
give yesterday's date to today's, and one id to all of them. The answer is read in the code that runs at an import, which is
the module's own and that of its classes; a function that it calls is not looked into.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from inspect import CO_OPTIMIZED
from types import CodeType
from typing import Final

_ASKED: Final = frozenset(
    {
        *("now", "utcnow", "today", "time", "time_ns"),
        *("uuid1", "uuid4", "urandom", "token_bytes", "token_hex", "token_urlsafe"),
    }
)
"""Names of functions and methods whose results are of one moment, or of one process."""


@contextmanager
def asks_counted() -> Iterator[Callable[[], int]]:
    """Meanwhile counts the modules imported from files of source (or their bytecode) that ask."""
    count = 0
    get_code = SourceFileLoader.get_code

    def read(self: SourceFileLoader, fullname: str) -> CodeType | None:
        nonlocal count
        code = get_code(self, fullname)
        count += code is not None and asks(code)
        return code

    # The class inherits the method: deleted again, it is as it was.
    setattr(SourceFileLoader, "get_code", read)  # noqa: B010 - a method, to mypy
    try:
        yield lambda: count
    finally:
        del SourceFileLoader.get_code


def asks(code: CodeType) -> bool:
    """Whether the code of a module, or that of a class in it, calls such a function itself."""
    if not _ASKED.isdisjoint(code.co_names) and any(_called(code)):
        return True
    return any(asks(part) for part in code.co_consts if isinstance(part, CodeType) and not part.co_flags & CO_OPTIMIZED)


def _called(code: CodeType) -> Iterator[bool]:
    """Of each name with its attributes (`datetime.date.today`), whether it is such a function and is called."""
    found = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
    for number, each in enumerate(found):
        if each.opname == "LOAD_ATTR" and each.argval in _ASKED:
            yield bool((each.arg or 0) & 1)  # loaded as a method, to be called
        if each.opname == "LOAD_NAME":
            last = number
            while found[last + 1].opname == "LOAD_ATTR":
                last += 1
            # Python puts a null beside what it calls: before it, or from 3.13 on after it.
            around = (found[number - 1].opname if number else "", found[last + 1].opname)
            yield found[last].argval in _ASKED and "PUSH_NULL" in around
