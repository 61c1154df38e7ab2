"""Texts of the form `{% … %}`: JSONata over an event, as Step Functions writes it.

An expression is a DAG author's, and it runs beside the events of others: its time, its depth and its memory are limited.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gust.errors import Invalid

_EXPRESSION: Final = re.compile(r"\s*\{%(.*)%\}\s*", re.DOTALL)
SECONDS: Final = 1.0
DEPTH: Final = 100
MEMORY: Final = 128 * 1024 * 1024
"""Bytes that an expression may add to the process."""


def filled(template: Any, event: Mapping[str, Any]) -> Any:
    """The template with the values of its expressions. Raises Invalid with the reason for a person."""
    match template:
        case str():
            expression = expression_in(template)
            return template if expression is None else evaluated(expression, event)
        case Mapping():
            return {name: filled(value, event) for name, value in template.items()}
        case list():
            return [filled(value, event) for value in template]
        case _:
            return template


def expressions(template: Any) -> Iterator[str]:
    """All expressions of the template."""
    match template:
        case str():
            if (expression := expression_in(template)) is not None:
                yield expression
        case Mapping():
            for value in template.values():
                yield from expressions(value)
        case list():
            for value in template:
                yield from expressions(value)
        case _:
            pass


def expression_in(text: str) -> str | None:
    found = _EXPRESSION.fullmatch(text)
    return found[1].strip() if found else None


def why_no_expression(expression: str) -> str | None:
    """What is wrong with its syntax; `None` if nothing is."""
    try:
        _compiled(expression)
    except Invalid as error:
        return str(error)
    return None


def evaluated(expression: str, event: Mapping[str, Any]) -> Any:
    """A JSON value; `None` where the expression finds nothing. Raises Invalid."""
    from jsonata.timebox import Timebox  # noqa: PLC0415 - few stacks have expressions

    compiled = _compiled(expression)
    try:
        with _at_most(SECONDS), _within(MEMORY):
            frame = compiled.create_frame()
            Timebox(frame, int(SECONDS * 1000), DEPTH)
            return json.loads(json.dumps(compiled.evaluate(event, frame)))
    except _TookTooLongError as error:
        raise Invalid(f"{{% {expression} %}} takes longer than {SECONDS:.0f} s") from error
    except MemoryError as error:
        raise Invalid(f"{{% {expression} %}} takes more than {MEMORY >> 20} MB") from error
    except Exception as error:  # an expression may fail with any of Python's errors
        raise Invalid(f"{{% {expression} %}} has no value: {_reason(error)}") from error


def _compiled(expression: str) -> Any:
    from jsonata.jsonata import Jsonata  # noqa: PLC0415

    try:
        return Jsonata(expression)
    except Exception as error:
        raise Invalid(f"{{% {expression} %}} is no JSONata: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class _TookTooLongError(Exception):
    pass


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt the main thread after so long, also within a regular expression. Another thread has JSONata's own limit
    alone, which is checked between its steps."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise _TookTooLongError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _within(memory: int) -> Iterator[None]:
    """Python raises MemoryError where the process would need more than these bytes in addition."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _address_space() + memory
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
