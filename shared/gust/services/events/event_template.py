"""Texts of the form `{% … %}`: JSONata over an event, as Step Functions writes it.

An expression is a DAG author's, and it runs beside the events of others: its time, its depth and its memory are limited,
the time and the text that all expressions of an entry take together, and the time of all entries of a file for one event.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gust.errors import Invalid
from gust.model.json_text import half_character

_EXPRESSION: Final = re.compile(r"\s*\{%(.*)%\}\s*", re.DOTALL)
SECONDS: Final = 1.0
DEPTH: Final = 100
MEMORY: Final = 128 * 1024 * 1024
"""Bytes that an expression may add to the process."""


OF_ENTRY: Final = 3 * SECONDS
OF_FILE: Final = 6 * SECONDS


@dataclass(slots=True)
class Seconds:
    """What the expressions of all entries of a file may still take for one event."""

    left: float = OF_FILE


@dataclass(slots=True)
class Budget:
    """What the expressions of one entry may still take for one event."""

    seconds: float = OF_ENTRY
    characters: int = 500_000
    """Of their values as JSON. An item of the table holds fewer."""
    of_file: Seconds = field(default_factory=Seconds)


def filled(template: Any, event: Mapping[str, Any], budget: Budget) -> Any:
    """The template with the values of its expressions. Raises Invalid with the reason for a person."""
    match template:
        case str():
            expression = expression_in(template)
            return template if expression is None else evaluated(expression, event, budget)
        case Mapping():
            return {name: filled(value, event, budget) for name, value in template.items()}
        case list():
            return [filled(value, event, budget) for value in template]
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


def evaluated(expression: str, event: Mapping[str, Any], budget: Budget) -> Any:
    """A JSON value; `None` where the expression finds nothing. Takes from the budget. Raises Invalid."""
    if budget.seconds <= 0:
        raise Invalid(f"the expressions of the entry take longer than {OF_ENTRY:.0f} s together")
    if budget.of_file.left <= 0:
        raise Invalid(f"the expressions of the file's entries take longer than {OF_FILE:.0f} s together for this event")
    began = time.monotonic()
    try:
        text = _evaluated(expression, event, min(SECONDS, budget.seconds, budget.of_file.left))
    finally:
        took = time.monotonic() - began
        budget.seconds -= took
        budget.of_file.left -= took
    budget.characters -= len(text)
    if budget.characters < 0:
        raise Invalid(f"the values of the entry take more than {Budget().characters:,} characters together")
    value = json.loads(text)
    if half_character(text, value):
        raise Invalid(f"{{% {expression} %}} has half of a surrogate pair, which is no character")
    return value


def _evaluated(expression: str, event: Mapping[str, Any], seconds: float) -> str:
    """The value as JSON."""
    from jsonata.timebox import Timebox  # noqa: PLC0415 - few stacks have expressions

    try:
        with _at_most(seconds), _within(MEMORY):
            compiled = _compiled(expression)
            frame = compiled.create_frame()
            Timebox(frame, max(1, int(seconds * 1000)), DEPTH)
            return json.dumps(compiled.evaluate(event, frame))
    except Invalid:
        raise
    except _TookTooLongError as error:
        raise Invalid(f"{{% {expression} %}} takes longer than {seconds:.1g} s") from error
    except MemoryError as error:
        raise Invalid(f"{{% {expression} %}} takes more than {MEMORY >> 20} MB") from error
    except Exception as error:  # an expression may fail with any of Python's errors
        raise Invalid(f"{{% {expression} %}} has no value: {_reason(error)}") from error


def _compiled(expression: str) -> Any:
    from jsonata.jsonata import Jsonata  # noqa: PLC0415

    try:
        return Jsonata(expression)
    except _TookTooLongError:
        raise
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
