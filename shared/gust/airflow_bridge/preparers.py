"""What a worker knows of the imports of its tasks, and the preparers that have made them.

A child of a task that runs here for the first time reports what it imported. Later children of that file come from a
preparer that has imported the same, and those of that task from one that has imported the task's own modules, too. The
key is the bundle's version: with other files an import may mean another module.

A preparer holds up to `HELD` bytes while others work, the one that waits longest ends first. Preparers are made while no
child runs: no child can change the environment's files under one.

From the second try in a row of one file on, the children come from a preparer that has parsed the file, too, where the
parser has proven that each task would find the same (`parsed`). An author's code has run in it: it ends before a try of
another file, and before another preparer is made.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from gust.airflow_bridge import immortal, late, orphans, parsed, preparer
from gust.airflow_bridge.imports import LARGEST, Imports, bounded, report_of
from gust.airflow_bridge.nursery import Asked, Children, Nursery, ParentGone, Process, Target, made_here
from gust.airflow_bridge.surroundings import DAGS_OF_MWAA, options_of
from gust.model.bundle import PLUGINS_PREFIX
from gust.model.environment import OPTIONS_FILE, VARIABLES_FILE
from gust.model.same_parse import SameParse

PATIENCE: Final = 15.0
"""Seconds that a try waits for a preparer. All `ATTEMPTS` together take less than the minute for which its message is
hidden, anew before a parse; what is not imported by then on a worker's processor takes a child longer than any import is
worth here."""

PARSED_FROM: Final = 2
"""The try in a row of one file on a worker that comes from a process which has parsed the file: that takes one parse, as the
try would itself. The first one has told by then what the file imports."""

TAKES_TOO_LONG: Final = "its import takes too long"
ENDS: Final = "it ends the process"

ATTEMPTS: Final = 3
"""Preparers to begin for one try: each may find one module that must stay out."""

WORTH: Final = 20
"""Milliseconds of a core that imports must take to be worth a process."""

WORTH_PARSE: Final = 3
"""The same of a file's parse."""

HELD_PART: Final = 8
"""The part of a function's memory (an eighth) that preparers may hold while none of their children runs. That memory is
missing to other tries; 1,769 MB have room for two with pandas, numpy, pyarrow and boto3 (70 MB each)."""

HELD: Final = 256 * 1024
"""kB; the same where the memory has no limit of its own."""

MOST_READY: Final = 16
"""Preparers, however little memory they hold. Each takes a process and three descriptors, of which Lambda has 1,024 for all
that a worker does."""

MOST_FILES: Final = 512
"""Files and tasks to remember: the names of each take 2 kB at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """Of a try, what its imports follow from."""

    bundle: Path
    """Its name is the version."""
    file: str
    task_id: str
    environment: Path | None
    same: SameParse | None = None
    """The proof that the file may be parsed once for many tasks, if there is one."""

    @property
    def of_file(self) -> tuple[str, str]:
        return str(self.bundle), self.file

    @property
    def of_task(self) -> tuple[str, str, str]:
        return str(self.bundle), self.file, self.task_id


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What children of one preparer have in common beside the modules."""

    environment: Path | None
    settings: str
    """Hash of the bundle's variables and options."""
    has_distributions: bool
    """The bundle has installed packages of its own."""


Key = tuple[Surroundings, tuple[str, ...]]
"""Of a preparer: what its children have in common, and the modules in order."""


class Report:
    """A pipe from one child."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._reading)
        os.close(self.writing)

    def read(self) -> Imports:
        """After the child's end. None of what it had no time to write."""
        os.set_blocking(self._reading, False)
        with suppress(BlockingIOError):
            return report_of(os.read(self._reading, LARGEST))
        return Imports()


class Preparer(Asked):
    """In the worker: a preparer that is ready."""

    def __init__(
        self,
        control: socket.socket,
        process: Process,
        memory: int,
        instead: Children,
        above: Preparer | None,
        *,
        kept: frozenset[int],
        is_marked: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """`memory`: kB, beside what it shares with the one `above` it, whose fork it is. `instead`: forks the children once
        the preparer has ended. `kept`: children of the worker while no child of a DAG file runs. `is_marked`: what the
        nursery has imported is immortal in it. `patience`: seconds; a package of an environment may keep it from
        answering."""
        super().__init__(control)
        control.settimeout(patience)
        self._kept = kept
        self.memory = memory
        self.above = above
        self._has_ended = False
        self._process = process
        self._instead = instead
        self.is_marked = is_marked
        self.forks = 0
        """Children that it was asked for."""

    def fork(
        self, target: Target, descriptors: Sequence[int], *, not_for_child: Sequence[socket.socket] = ()
    ) -> Process:
        self.forks += 1
        try:
            if self.forks == immortal.IMMORTALIZE_AFTER_TASKS and not self.is_marked:  # as in the nursery
                self.call(immortal.mark_all)
                self.is_marked = True
            return super().fork(target, descriptors)
        except ParentGone:
            self._has_ended = True
            _kill(self._process)
            # It may have forked without a word: a task must not run twice.
            orphans.kill_all(except_=self._kept | made_here())
            return self._instead.fork(target, descriptors, not_for_child=not_for_child)

    @property
    def has_ended(self) -> bool:
        """Forks end with the process that they come from."""
        return self._has_ended or (self.above is not None and self.above.has_ended)

    def line(self) -> Iterator[Preparer]:
        """It, and those above it."""
        yield self
        if self.above is not None:
            yield from self.above.line()

    def end(self) -> None:
        """While no child of it runs. `wait` afterwards."""
        self._has_ended = True
        self._control.close()
        _kill(self._process)

    def wait(self) -> None:
        """After `end`, its own and that of those above it: they tell of it, or their own end does."""
        self._process.wait(None)


class _Answer:
    """What a preparer says until it is ready or ends."""

    def __init__(self, control: socket.socket, until: float, names: Sequence[str] = ()) -> None:
        """`until`: on the monotonic clock. `names`: of the modules that it shall import, in order."""
        self._control = control
        self._until = until
        self._names = names
        self.begun = 0
        """How many of them it began. A module runs after its name is told, so it can blame only itself and later ones."""
        self.last_began = time.monotonic()
        """When the last of them did."""

    def outcome(self) -> bytes:
        """The last line, without its end: `IS_READY` or `IS_OUT`, and what follows."""
        said = b""
        while True:
            *lines, said = said.split(b"\n")
            for line in lines:
                if not line.startswith(preparer.BEGINS):
                    return line
                if [line[1:].decode(errors="replace")] != list(self._names[self.begun : self.begun + 1]):
                    return preparer.IS_OUT + b"it talks to the worker"
                self.begun += 1
                self.last_began = time.monotonic()
            if not select.select([self._control], [], [], max(0.0, self._until - time.monotonic()))[0]:
                return preparer.IS_OUT + TAKES_TOO_LONG.encode()
            if not (part := self._control.recv(4096)):
                return preparer.IS_OUT + ENDS.encode()
            said += part
            if len(said) > LARGEST:
                return preparer.IS_OUT + b"it talks to the worker"


def _figures(outcome: bytes) -> tuple[int, int] | None:
    """The kB and milliseconds that a preparer says it took; None if it is not ready, or says something else."""
    match outcome[:1], outcome[1:].split():
        case preparer.IS_READY, [memory, took] if memory.isdigit() and took.isdigit() and len(outcome) < 40:
            return int(memory), int(took)
    return None


@dataclass(slots=True)
class Preparers:
    nursery: Nursery
    megabytes: int | None = None
    """The function's memory; None where it has no limit of its own."""
    say: Callable[[str], object] = log.info
    """Takes lines for the operator: what is prepared, and what stays out and why."""
    patience: float = PATIENCE
    most: int = MOST_READY
    worth_parse: int = WORTH_PARSE
    _kept: frozenset[int] = field(default_factory=orphans.children)
    """Children of the worker while no child of a DAG file runs."""
    _of_files: OrderedDict[tuple[str, ...], tuple[str, ...]] = field(default_factory=OrderedDict)
    _of_tasks: OrderedDict[tuple[str, ...], tuple[str, ...]] = field(default_factory=OrderedDict)
    _ready: OrderedDict[Key, Preparer] = field(default_factory=OrderedDict)
    """The one that was used last is the last."""
    _left_out: OrderedDict[Key, str] = field(default_factory=OrderedDict)
    """The last of the modules is out after the others → why. After other modules, or with another team's variables, it may
    be fit."""
    _never: OrderedDict[tuple[Surroundings, str], str] = field(default_factory=OrderedDict)
    """Module → why it is out after any others: to find that out again would hold up a try for seconds."""
    _enough: OrderedDict[Key, tuple[str, ...]] = field(default_factory=OrderedDict)
    """The first ones of the modules, beside which the others are not worth a process, or cannot be imported."""
    _row: tuple[tuple[str, str] | None, int] = (None, 0)
    """The file of the last try, and how many of it there were in a row."""
    _parsed: tuple[tuple[Key, tuple[str, str]], Preparer] | None = None
    """The one that has parsed a file, under the key of its imports and the file."""
    _is_marked: bool = False
    """What the nursery has imported is immortal."""
    _unparsed: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)
    """File → why each task parses it."""

    _is_awake: bool = False
    """Whether the nursery has imported Airflow's database models."""
    _looked_at: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    """Files whose text was searched for them."""

    # --- what is known --------------------------------------------------------------------------------------------

    def knows(self, subject: Subject) -> bool:
        """Whether a child of this task has reported."""
        return subject.of_task in self._of_tasks

    def learn(self, subject: Subject, imports: Imports) -> None:
        """Take a child's report. One that came from a preparer reports what it had to import itself."""
        if any(map(late.is_late, (*imports.of_file, *imports.of_task))):
            self._wake()
        self.hear(subject, imports.of_file)
        _keep(self._of_tasks, subject.of_task, _without_late(imports.of_task))

    def hear(self, subject: Subject, names: Sequence[str]) -> None:
        """The modules that a file imports, beside those that are known."""
        known = self._of_files.get(subject.of_file, ())
        if not set(names) <= set(known):
            _keep(self._of_files, subject.of_file, _without_late(bounded((*known, *names))))

    def modules_for(self, subject: Subject) -> tuple[str, ...]:
        """The modules to import before a try, in order."""
        kept = self._fit(subject)
        while (first := self._enough.get(_key(subject, kept))) is not None:
            kept = first
        return kept

    def _fit(self, subject: Subject) -> tuple[str, ...]:
        """The same with modules that are not worth a process alone."""
        names = dict.fromkeys((*self._of_files.get(subject.of_file, ()), *self._of_tasks.get(subject.of_task, ())))
        around, kept = _around(subject), tuple[str, ...]()
        for name in names:
            if name in self.nursery.modules or (around, name) in self._never:
                continue
            if (around, (*kept, name)) not in self._left_out:
                kept = (*kept, name)
        return kept

    def count(self, subject: Subject) -> None:
        """A try of the subject comes next."""
        file, times = self._row
        self._row = subject.of_file, times + 1 if file == subject.of_file else 1

    def mark(self) -> None:
        """Make what the nursery has imported immortal. A process that has parsed a file and is a fork of it is made anew at
        the next try: it need not do the same."""
        self.nursery.call(immortal.mark_all)
        self._is_marked = True
        if self._parsed is not None and self._parsed[1].above is None:
            self._end_parsed()

    # --- who forks ------------------------------------------------------------------------------------------------

    def is_ready(self, subject: Subject) -> bool:
        """Whether `children_of` answers at once."""
        return self._has_imports(subject) and not self._is_to_be_parsed(subject)

    def children_of(
        self, subject: Subject, workspace: Path, before_parse: Callable[[], object] | None = None
    ) -> Children:
        """Where the try's child comes from: a preparer, or the nursery. Waits for a new preparer, and calls `before_parse`
        before it waits for one that parses. Ends preparers that hold too much memory beside it. While no child runs."""
        if not self._is_awake and subject.of_file not in self._looked_at:
            _keep(self._looked_at, subject.of_file, None)
            if late.are_named_in(subject.bundle / subject.file):
                self._wake()
        if self._parsed is not None and self._parsed[1].has_ended:
            self._end_parsed()
        if self._parsed is not None and not self._has_imports(subject):
            # It may have changed files since they were looked at. The next try makes the preparer.
            self._end_parsed()
            return self.nursery
        self._mark_above_parsed()
        prepared = self._with_imports(subject, workspace)
        if self._is_to_be_parsed(subject):
            self._end_parsed()
            if before_parse is not None:
                before_parse()
            if (made := self._made(subject, self._fit(subject), workspace, is_parsed=True)) is not None:
                self._parsed = self._of_parse(subject), made
        if self._parsed is not None and self._parsed[0] == self._of_parse(subject):
            return self._parsed[1]
        return prepared

    def _mark_above_parsed(self) -> None:
        """Where a process that has parsed a file has run many tasks: make what was imported before the parse immortal, and
        let the process be made anew. What an author's code has made must die as in Airflow."""
        if self._parsed is None:
            return
        _, used = self._parsed
        above = used.above
        if above is None or above.is_marked or used.forks < immortal.IMMORTALIZE_AFTER_TASKS:
            return
        self._end_parsed()
        above.is_marked = True
        with suppress(ParentGone):
            above.call(immortal.mark_all)

    def _wake(self) -> None:
        """Have the nursery import what comes late (`late`). Preparers are forks of it as it was: they end."""
        if not self._is_awake:
            self._is_awake = True
            self._end_parsed()
            while self._ready:
                self._forget(next(iter(self._ready)))
            self.nursery.call(late.wake_for_children)

    def _of_parse(self, subject: Subject) -> tuple[Key, tuple[str, str]]:
        return _key(subject, self.modules_for(subject)), subject.of_file

    def _is_to_be_parsed(self, subject: Subject) -> bool:
        """Whether a process shall parse the file now."""
        file, times = self._row
        if subject.same is None or file != subject.of_file or times < PARSED_FROM or file in self._unparsed:
            return False
        if self._parsed is not None:
            return False
        return parsed.is_wanted(options_of(subject.bundle))

    def _end_parsed(self) -> None:
        if self._parsed is not None:
            _, gone = self._parsed
            self._parsed = None
            gone.end()
            gone.wait()

    def _has_imports(self, subject: Subject) -> bool:
        key = _key(subject, self.modules_for(subject))
        return not key[1] or key in self._ready

    def _with_imports(self, subject: Subject, workspace: Path) -> Children:
        for _ in range(ATTEMPTS):
            names = self.modules_for(subject)
            key = _key(subject, names)
            if not names:
                break
            known = self._ready.get(key)
            if known is not None and known.has_ended:
                self._forget(key)
            elif known is not None:
                self._ready.move_to_end(key)
                self._make_room(beside=known)
                return known
            self._make_room(beside=None)
            if (made := self._made(subject, names, workspace)) is not None:
                self._ready[key] = made
        self._make_room(beside=None)
        return self.nursery

    def leave(self, environment: Path | None, file: tuple[str, str] | None = None) -> bool:
        """End the preparers that have imported another environment's packages or parsed another file, and what these have
        started: such code would run beside the next child, which may be another team's, with the same rights. While no child
        runs. Returns whether there were some: until now they could change files."""
        ended = False
        if self._parsed is not None and self._parsed[0][1] != file:
            self._end_parsed()
            ended = True
        for key in list(self._ready):
            if key in self._ready and key[0].environment not in (None, environment):
                self._forget(key)
                ended = True
        return bool(orphans.kill_all(except_=self._kept | made_here())) or ended

    def _made(
        self, subject: Subject, names: tuple[str, ...], workspace: Path, *, is_parsed: bool = False
    ) -> Preparer | None:
        """None where a module or the file must stay out, or what is added to a preparer's is not worth it: both are known
        then. None also where the preparer to fork has ended."""
        others = orphans.children()
        control, theirs = socket.socketpair()
        key = _key(subject, names)
        above = key if is_parsed and key in self._ready else self._above(key)
        source, done = (self.nursery, 0) if above is None else (self._ready[above], len(above[1]))
        work = partial(
            preparer.prepare,
            names=names[done:],
            bundle=subject.bundle,
            environment=subject.environment,
            workspace=workspace,
            looks=not key[0].has_distributions,
            file=subject.file if is_parsed else None,
            same=subject.same,
        )
        with theirs:
            process = source.fork(work, [theirs.fileno()])
        if above is not None and self._ready[above].has_ended:  # the nursery, without its imports, has forked instead
            _discard(control, process, others)
            return None
        steps = (*names[done:], *([preparer.PARSE.decode()] if is_parsed else []))
        answer = _Answer(control, time.monotonic() + self.patience, steps)
        outcome = answer.outcome()
        reason = outcome[1:].decode(errors="replace")
        if (figures := _figures(outcome)) is not None:
            memory, took = figures
            if took >= (self.worth_parse if is_parsed else WORTH):
                if is_parsed:
                    self.say(f"Parsed before tasks: {subject.file} ({memory:,} kB, {took:,} ms)")
                else:
                    made = ", ".join(names)
                    self.say(f"Imported before tasks of {subject.file}: {made} ({memory:,} kB, {took:,} ms)")
                parent = None if above is None else self._ready[above]
                # One that has parsed is never marked itself: what is above it is (`mark`, `_mark_above_parsed`).
                is_marked = is_parsed or (self._is_marked if parent is None else parent.is_marked)
                return Preparer(control, process, memory, self.nursery, parent, kept=self._kept, is_marked=is_marked)
            if is_parsed:
                _keep(self._unparsed, subject.of_file, "it is not worth a process")
            else:
                _keep(self._enough, key, names[:done])
        elif is_parsed and answer.begun in (0, len(steps)):
            self.say(f"Each task parses {subject.file}: {reason}")
            _keep(self._unparsed, subject.of_file, reason)
        else:
            what = f"{names[done + answer.begun - 1]} is not" if answer.begun else "Nothing is"
            self.say(f"{what} imported before tasks of {subject.file}: {reason}")
            if answer.begun:
                _keep(self._left_out, _key(subject, names[: done + answer.begun]), reason)
                # The time is that of all: who began in its second half may be blamed for others.
                alone = time.monotonic() - answer.last_began
                if reason == ENDS or (reason == TAKES_TOO_LONG and alone * 2 >= self.patience):
                    _keep(self._never, (_around(subject), names[done + answer.begun - 1]), reason)
            else:
                _keep(self._enough, _key(subject, names), names[:done])
        _discard(control, process, others)
        return None

    def _above(self, key: Key) -> Key | None:
        """A preparer that has made the first of the imports, the most of them."""
        surroundings, names = key
        for number in range(len(names) - 1, 0, -1):
            shorter = surroundings, names[:number]
            if shorter in self._ready and not self._ready[shorter].has_ended:
                return shorter
        return None

    def _make_room(self, *, beside: Preparer | None) -> None:
        most = HELD if self.megabytes is None else self.megabytes * 1024 // HELD_PART
        working = [] if beside is None else list(beside.line())
        waiting = [key for key, each in self._ready.items() if each not in working]
        held = sum(self._ready[key].memory for key in waiting)
        for key in waiting:
            if held <= most and len(self._ready) <= self.most:
                break
            if key in self._ready:
                held -= self._forget(key)

    def _forget(self, key: Key) -> int:
        """End it, and its forks before. Returns the kB that they held."""
        gone = [(other, each) for other, each in self._ready.items() if self._ready[key] in each.line()]
        for other, each in sorted(gone, key=lambda entry: -len(list(entry[1].line()))):
            each.end()
            del self._ready[other]
        for _, each in gone:
            each.wait()
        return sum(each.memory for _, each in gone)


def _key(subject: Subject, names: tuple[str, ...]) -> Key:
    return _around(subject), names


def _without_late(names: Sequence[str]) -> tuple[str, ...]:
    """The nursery imports these for all."""
    return tuple(name for name in names if not late.is_late(name))


def _around(subject: Subject) -> Surroundings:
    return Surroundings(subject.environment, _settings(subject.bundle), _has_distributions(subject.bundle))


@lru_cache(maxsize=MOST_FILES)
def _has_distributions(bundle: Path) -> bool:
    """Whether a DAG author has put an installed package into the bundle, with its metadata: its providers and plugins are
    the bundle's, and a preparer, without the bundle on its path, would not find them."""
    folders = (bundle, bundle / PLUGINS_PREFIX)
    return any(next(folder.glob(f"*.{kind}-info"), None) for folder in folders for kind in ("dist", "egg"))


@lru_cache(maxsize=MOST_FILES)
def _settings(bundle: Path) -> str:
    digest = sha256()
    for name in (VARIABLES_FILE, OPTIONS_FILE):
        with suppress(FileNotFoundError):
            digest.update(found := (bundle / name).read_bytes())
            if DAGS_OF_MWAA.encode() in found:  # an option names a file of this very bundle
                digest.update(str(bundle).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _keep(known: OrderedDict[Any, Any], key: object, value: object) -> None:
    known[key] = value
    if len(known) > MOST_FILES:
        known.popitem(last=False)


def _discard(control: socket.socket, process: Process, others: frozenset[int]) -> None:
    """End a process that does not become a preparer, and what it has started. `others`: children of the worker before it."""
    control.close()
    _kill(process)
    process.wait(None)
    orphans.kill_all(except_=others)


def _kill(process: Process) -> None:
    """By its descriptor: it may have ended, and its id be another's. Returns once it has ended: its forks are ours then."""
    with suppress(OSError):
        descriptor = process.watched()
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], 1.0)
        os.close(descriptor)
