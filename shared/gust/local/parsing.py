"""Report the progress of parsing to the terminal: files parsed, and errors by file and line.

The steps of a deployment leave documents in the bucket (`gust.model.bucket_keys`): a plan, and for
each batch the outcomes so far. The bucket is only read while something is expected; an idle stack stays idle.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from gust.errors import NotFound
from gust.model import bucket_keys
from gust.model.deployment import FileOutcome, Plan, Progress
from gust.ports.dags import DagStore
from gust.ports.objects import Objects

QUIET_FOR: Final = 20.0
"""Seconds after a deployment in which the next one may begin."""

BEGINS_WITHIN: Final = 300.0
"""Seconds after an upload within which its deployment begins, however busy the machine is."""

TELL_EVERY: Final = 5.0
"""Seconds between two lines on how far parsing is."""

_PLACE: Final = re.compile(r'^\s*File "(?P<file>[^"</][^"]*)", line (?P<line>\d+)', re.MULTILINE)
"""A line of a traceback that names a file of the folder: those have relative paths."""


class ParseProgress:
    """Call `expect` when files were uploaded, and `look` about once a second. Deployments that ended before the first
    `look` are not reported."""

    def __init__(
        self,
        store: DagStore,
        objects: Objects,
        on_progress: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._objects = objects
        self._on_progress = on_progress
        self._clock = clock
        self._open: dict[str, _Progress] = {}
        self._over = self._plans(objects.list(bucket_keys.PARSES))
        self._expected_since: float | None = None
        self._has_begun = False
        """Whether a deployment was seen since `expect`. On a busy machine it may begin a minute later."""
        self._broken: set[str] = set()
        """Files with an import error when a deployment began, or that had one in it."""

    @property
    def is_expecting(self) -> bool:
        return self._expected_since is not None

    def expect(self) -> None:
        """A deployment is about to begin, or goes on."""
        self._expected_since = self._clock()
        self._has_begun = False
        if turn := self._store.deployment_turn():
            self._over = {key for key in self._over if not key.startswith(bucket_keys.parses_of(turn.holder))}

    def look(self) -> None:
        """Report new outcomes. Does nothing while no deployment is expected."""
        if self._expected_since is None:
            return
        turn = self._store.deployment_turn()  # read first: what it has done by now is listed
        listed = self._objects.list(bucket_keys.PARSES)
        for key in sorted(self._plans(listed) - self._over - self._open.keys()):
            with suppress(NotFound):
                plan = Plan.model_validate_json(self._objects.get(key))
                self._open[key] = _Progress(plan, key, self._clock())
                self._has_begun = True
                self._broken |= {problem.filename for problem in self._store.list_import_problems()}
        by_age = sorted(self._open, key=lambda key: self._open[key].made_at)
        latest = {bucket_keys.deployment_of(key): key for key in by_age}
        for key, parsing in list(self._open.items()):
            parsing.read(self._objects, listed)
            parsing.is_round_over = latest[bucket_keys.deployment_of(key)] != key
            self._tell(parsing)
            # A deployment that lost its turn to another, because it was silent for long, goes on parsing.
            if parsing.is_whole or parsing.is_round_over or turn is None or not turn.holder:
                self._over.add(key)
                del self._open[key]
                self._expected_since = self._clock()
        is_idle = (turn is None or not turn.holder) and not self._open
        self._has_begun = self._has_begun or not is_idle
        if is_idle and self._clock() - self._expected_since > (QUIET_FOR if self._has_begun else BEGINS_WITHIN):
            self._expected_since = None

    def _tell(self, parsing: _Progress) -> None:
        now = self._clock()
        for line in [*parsing.news_of_errors(), *self._news_of_mended(parsing)]:
            self._on_progress(line)
            parsing.reported_at = now
        if parsing.is_whole:
            if parsing.files:
                self._on_progress(parsing.summary(now))
        elif parsing.is_round_over:
            self._on_progress(f"{parsing.so_far()}; the rest follows")
        elif now - parsing.reported_at >= TELL_EVERY:
            self._on_progress(parsing.so_far())
            parsing.reported_at = now

    def _news_of_mended(self, parsing: _Progress) -> list[str]:
        """Files whose import error has gone since the last look, with the file or by a change of it."""
        mended = [file for file in parsing.sound() if file in self._broken]
        gone = [file for file in parsing.removed if file in self._broken]
        self._broken -= {*mended, *gone}
        self._broken |= parsing.broken()
        left = f"; {_number(len(self._broken), 'file')} left with errors" if self._broken else ""
        return [f"mended: {file} has no import error now{left}" for file in mended] + [
            f"gone: {file}, and its import error{left}" for file in gone
        ]

    @staticmethod
    def _plans(keys: Iterable[str]) -> set[str]:
        return {key for key in keys if bucket_keys.is_plan(key)}


class _Progress:
    """One plan, and the part of it that was reported."""

    def __init__(self, plan: Plan, key: str, now: float) -> None:
        self.files = [path for batch in plan.batches for path in batch]
        self._refused = plan.refused
        self.removed = plan.removed
        self.made_at = plan.made_at.timestamp() if plan.made_at else now
        self.reported_at = now
        self._began = now
        self._batches = [bucket_keys.progress(key, number) for number in range(len(plan.batches))]
        self._tags: dict[str, str] = {}
        self._progress: dict[str, Progress] = {}
        self._errors_reported: set[str] = set()
        self.is_round_over = False
        """The deployment has made another plan, for the rest of this one."""

    def read(self, objects: Objects, listed: dict[str, str]) -> None:
        for key in self._batches:
            if (tag := listed.get(key)) and self._tags.get(key) != tag:
                self._progress[key] = Progress.model_validate_json(objects.get(key))
                self._tags[key] = tag

    @property
    def outcomes(self) -> list[FileOutcome]:
        return [outcome for progress in self._progress.values() for outcome in progress.outcomes]

    @property
    def is_whole(self) -> bool:
        return len(self.outcomes) >= len(self.files)

    def broken(self) -> set[str]:
        return {file for outcome in self.outcomes for file in outcome.import_errors}

    def sound(self) -> list[str]:
        """Files that were parsed without an error."""
        return [outcome.relative_path for outcome in self.outcomes if not outcome.import_errors]

    def news_of_errors(self) -> list[str]:
        errors = {file: trace for outcome in self.outcomes for file, trace in outcome.import_errors.items()}
        fresh = sorted(errors.keys() - self._errors_reported)
        refused = [f"import error: {file}: {' '.join(why.split())[:500]}" for file, why in self._refused.items()]
        self._refused = {}
        self._errors_reported |= errors.keys()
        return refused + [f"import error: {in_a_line(file, errors[file])}" for file in fresh]

    def so_far(self) -> str:
        at = [progress.parsing for progress in self._progress.values() if progress.parsing]
        return f"parsed {len(self.outcomes)} of {_number(len(self.files), 'file')}" + (
            f"; at {', '.join(at[:3])}" if at else ""
        )

    def summary(self, now: float) -> str:
        dags = sum(len(outcome.dags) for outcome in self.outcomes)
        what = self.files[0] if len(self.files) == 1 else _number(len(self.files), "file")
        seconds = now - self._began
        errors = _number(len(self._errors_reported), "import error")
        return (
            f"parsed {what}"
            + (f" in {seconds:.0f} s" if seconds >= 1 else "")
            + f": {_number(dags, 'DAG')}"
            + (f", {errors}" if self._errors_reported else "")
        )


def in_a_line(file: str, trace: str) -> str:
    """`etl.py:12: NameError: name 'x' is not defined`: the last place that a trace names in the folder, its last
    line."""
    found = place_of(trace)
    place = f"{found[0]}:{found[1]}" if found else file
    message = message_of(trace)
    shown = f"{place}: {message}" if place.startswith(file) else f"{file} ({place}): {message}"
    return shown if len(shown) <= 500 else f"{shown[:500]} …"


def message_of(trace: str) -> str:
    """Its last line: the exception."""
    lines = [line.strip() for line in trace.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"


def place_of(trace: str) -> tuple[str, int] | None:
    """The last file of the folder that a trace names, and the line in it."""
    places: list[Any] = list(_PLACE.finditer(trace))
    return (places[-1]["file"], int(places[-1]["line"])) if places else None


def from_the_folder(trace: str) -> str:
    """The trace without the lines before its first file of the folder: those are of the importer."""
    first = _PLACE.search(trace)
    header, _, rest = trace.partition("\n")
    return f"{header}\n{trace[first.start() :]}" if first and rest and first.start() > len(header) else trace


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
