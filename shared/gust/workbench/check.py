"""`./gust check DIR`: parse a folder of DAG files as a stack does, and tell its import errors by file and line.

The same code freezes the folder, installs the packages of its `requirements.txt` files, parses each file in a child of its
own within the same limits, and activates the result. Exit codes: 0 without an import error, 1 with one, 2 for a folder
that is none.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gust.airflow_bridge import parse, surroundings
from gust.local.parsing import from_the_folder, message_of, place_of
from gust.workbench.stack import WorkbenchStack

FORMATS: Final = ("text", "json", "github")


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    """`import error`, or the type of one of Airflow's DAG warnings."""
    file: str
    """As one would open it from here."""
    line: int | None
    message: str
    """One line."""
    stack_trace: str

    @property
    def place(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Report:
    files: int
    dags: dict[str, str]
    """dag_id → its file."""
    import_errors: list[Finding]
    warnings: list[Finding]
    seconds: float

    def summary(self) -> str:
        errors = _number(len(self.import_errors), "import error") if self.import_errors else "no import errors"
        return f"{_number(len(self.dags), 'DAG')} in {_number(self.files, 'file')}, {errors} ({self.seconds:.1f} s)"


def check(folder: Path, stack: WorkbenchStack) -> Report:
    """Deploys the folder in the stack, which is empty."""
    began = time.monotonic()
    stack.upload(folder)
    stack.deploy()
    errors = [each for found in stack.problems() for each in _findings(folder, found.filename, found.stack_trace)]
    errors += [_finding("import error", folder, name, why) for name, why in sorted(stack.left_out.items())]
    dags = {dag.dag_id: dag.relative_fileloc for dag in stack.store.list_dags() if not dag.is_stale}
    warnings = [
        _finding(warning.warning_type, folder, dags.get(warning.dag_id, warning.dag_id), warning.message)
        for warning in stack.store.list_warnings()
    ]
    return Report(
        files=len(stack.store.list_source_files()),
        dags={dag_id: str(folder / file) for dag_id, file in sorted(dags.items())},
        import_errors=errors,
        warnings=warnings,
        seconds=time.monotonic() - began,
    )


def _findings(folder: Path, file: str, trace: str) -> Iterator[Finding]:
    """One, or one for each mistake in an `events.yaml`, which has a line each."""
    mistakes = re.findall(rf"^{re.escape(file)}, line (\d+): (.+)$", trace, re.MULTILINE)
    for line, message in mistakes:
        yield Finding("import error", os.path.normpath(folder / file), int(line), message, message)
    if not mistakes:
        yield _finding("import error", folder, file, trace)


def _finding(kind: str, folder: Path, file: str, trace: str) -> Finding:
    """At the last place that the trace names in the folder: that is where a person looks first."""
    place = place_of(trace)
    named, line = place or (file, None)
    message = message_of(trace) if named == file else f"{message_of(trace)} (imported by {file})"
    return Finding(kind, os.path.normpath(folder / named), line, message, from_the_folder(trace))


def written(report: Report, form: str) -> str:
    """The report in one of `FORMATS`."""
    if form == "json":
        return json.dumps(asdict(report), indent=2)
    if form == "github":
        lines = [_annotation("error", finding) for finding in report.import_errors]
        lines += [_annotation("warning", finding) for finding in report.warnings]
        return "\n".join([*lines, report.summary()])
    lines = []
    for finding in report.import_errors:
        lines.append(f"{finding.place}: {finding.message}")
        if "\n" in (trace := finding.stack_trace.strip()):
            lines += [*(f"    {line}" for line in trace.splitlines()), ""]
    lines += [f"{finding.place}: warning: {finding.message}" for finding in report.warnings]
    return "\n".join([*lines, report.summary()])


def _annotation(level: str, finding: Finding) -> str:
    """A workflow command of GitHub Actions, which shows the message beside the line of a pull request."""
    place = f"file={_escaped(finding.file, ',:')}" + (f",line={finding.line}" if finding.line else "")
    title = _escaped(finding.kind.capitalize(), ",:")
    text = finding.message if level == "warning" else f"{finding.message}\n\n{finding.stack_trace.strip()}"
    return f"::{level} {place},title={title}::{_escaped(text)}"


def _escaped(text: str, also: str = "") -> str:
    for character in f"%\r\n{also}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def prepare() -> None:
    """Airflow's settings, and its import. Its default keeps the last two places of a traceback, and a DAG file that calls
    Airflow is often further up."""
    surroundings.share_aws()
    os.environ.setdefault("AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH", "20")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow's own deprecations in its own providers
        parse.ready()
    logging.getLogger("gust").setLevel(logging.WARNING)  # each file's output; its import error says what matters


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="gust check", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--options", default="", help="the document with Airflow's options")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        print(f"gust: {options.folder} is not a folder.", file=sys.stderr)
        return 2
    prepare()
    with tempfile.TemporaryDirectory(prefix="gust-check-", ignore_cleanup_errors=True) as place:
        stack = WorkbenchStack(
            Path(place).resolve(),
            say=lambda line: print(line, file=sys.stderr, flush=True),
            configuration=options.options,
        )
        report = check(options.folder, stack)
    print(written(report, options.format))
    return 1 if report.import_errors else 0


if __name__ == "__main__":
    sys.exit(main())
