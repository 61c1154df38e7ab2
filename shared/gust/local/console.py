"""Structured lines of a task's log, as Airflow's commands print them."""

from __future__ import annotations

import linecache
import os
from collections.abc import Mapping
from typing import IO, Any, Final

from structlog.dev import ConsoleRenderer

from gust.aws.logs import TRY

NOT_SHOWN: Final = frozenset({TRY, "filename", "lineno", "error_detail", "ti", "ti_id"})
"""Fields of a line for machines."""

OF_THE_TRY: Final = frozenset({"dag_id", "run_id", "task_id", "map_index", "try_number"})
"""Fields that are the same in all lines of a try. Its reader knows them."""


class Console:
    """Renders lines for one output, in colors where Airflow would use them."""

    def __init__(self, output: IO[str]) -> None:
        self._render = ConsoleRenderer(colors=_is_colored(output), sort_keys=False, pad_event_to=0)

    def line(self, fields: Mapping[str, Any]) -> str:
        """The line, and the tracebacks that it holds below it."""
        shown = {name: value for name, value in fields.items() if name not in NOT_SHOWN | OF_THE_TRY}
        if "filename" in fields and "lineno" in fields:
            shown["loc"] = f"{fields['filename']}:{fields['lineno']}"
        line = str(self._render(None, "", shown))
        return "\n".join([line, *(_traceback(each) for each in reversed(fields.get("error_detail") or []))])


def _traceback(error: Mapping[str, Any]) -> str:
    """Python's text for an exception that a task's log holds in parts, with lines of files that lie here."""
    lines = ["Traceback (most recent call last):"]
    for frame in error.get("frames") or []:
        lines.append(f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}')
        if source := linecache.getline(frame["filename"], frame["lineno"]).strip():
            lines.append(f"    {source}")
    return "\n".join([*lines, f"{error['exc_type']}: {error['exc_value']}"])


def _is_colored(output: IO[str]) -> bool:
    """As Airflow decides it."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or output.isatty()
