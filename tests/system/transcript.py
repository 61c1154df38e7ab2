"""What a client was told, in a form in which two servers can be compared: without the ids, moments and tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.oracle.server import ROOT

GOLDEN: Final = ROOT / "tests" / "system" / "golden"

MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
ASKED: Final = re.compile(r"2026-02-0|2100-")
"""How moments begin that the tests themselves name: these are compared."""
UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
TOKEN: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?")
FOLDER: Final = re.compile(r"(?:/[\w.-]+)*/dags/")
"""Where the DAG files lie on the server."""
PACKAGES: Final = re.compile(r"(?:/[\w.-]+)+/site-packages(?=/)")
OF_THE_SERVER: Final = frozenset(
    {"id", "asset_id", "alias_id", "event_log_id", "import_error_id", "backfill_id", "file_token"}
    | {"duration", "last_parse_duration", "hostname", "unixname", "pid", "api_url"}
)
"""Fields whose value is the server's own; whether there is one is compared."""
OF_GUST: Final = frozenset({"bundle_version", "git_version"})
"""Fields that only one of them has: Gust keeps versions of the folder, and is no release of Airflow's."""
SORTED_BY_NAME: Final = ("assets list", "assets list-by-alias")
"""Commands that list by id, which Gust makes of the name."""
EMPTY: Final = (None, "", "None", "null")
"""airflowctl writes `None` for what has no value."""


@dataclass
class Transcript:
    """Commands in the order in which they were given, and what came of each."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def note(self, command: str, outcome: str, told: str) -> None:
        name = command.partition(" --")[0]
        shown = None if name in OF_THE_INSTALLATION else normal(told)
        if name in SORTED_BY_NAME:
            shown["json"].sort(key=lambda row: row["name"])
        self.lines.append({"command": plain(command), "outcome": outcome, "told": shown})

    def save(self, name: str) -> None:
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in self.lines)
        (GOLDEN / f"{name}.jsonl").write_text(text + "\n")

    def differences(self, name: str) -> Iterator[str]:
        """From the recording of that name."""
        recorded = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
        commands = [line["command"] for line in self.lines]
        if commands != [line["command"] for line in recorded]:
            yield "the commands are not those of the recording: record again"
            return
        for ours, theirs in zip(self.lines, recorded, strict=True):
            if ours["outcome"] != theirs["outcome"]:
                yield f"{ours['command']}: {ours['outcome']}, Airflow {theirs['outcome']}: {ours['told']}"
            else:
                yield from (f"{ours['command']}: {d}" for d in different(theirs["told"], ours["told"], ""))


OF_THE_INSTALLATION: Final = frozenset({"config list", "jobs list", "providers list", "connections list"})
"""Commands that show what is installed or configured on the server: only whether they are refused is kept."""


def normal(told: str) -> Any:
    """The JSON at the text's end, if there is any, and the lines before it."""
    text = plain(told)
    start = next((match.start() for match in re.finditer(r"^[\[{]", told, re.MULTILINE)), None)
    if start is not None:
        try:
            found = json.loads(told[start:])
        except ValueError:
            start = None
    if start is not None:
        return {"before": plain(told[:start]).splitlines(), "json": _normal(found)}
    # As wide as a terminal was: a sentence is one all the same.
    sentence = re.sub(r"\s+", " ", text).replace("{ ", "{").replace(" }", "}").strip()
    sentence = re.sub(r"\{('\w+'(?:, '\w+')*)\}", lambda found: str(sorted(found[1].split(", "))), sentence)  # a set
    return re.sub(ITS_OWN_WORDS, r"\1…", sentence)


ITS_OWN_WORDS: Final = r"('reason': 'Unique constraint violation'.*?'message': |'git_version': ).*"
"""Airflow points to its log where Gust says what exists already."""


def _normal(value: Any) -> Any:
    match value:
        case {"name": "default_pool", **rest}:  # it has no end in Gust
            return {key: part for key, part in rest.items() if not key.endswith("slots")}
        case dict():
            return {
                key: ("<its own>" if part not in EMPTY else part) if key in OF_THE_SERVER else _normal(part)
                for key, part in value.items()
                if key not in OF_GUST
            }
        case list():
            return [_normal(part) for part in value]
        case str():
            return plain(value)
    return value


def plain(text: str) -> str:
    text = MOMENT.sub(lambda found: found[0] if ASKED.match(found[0]) else "<moment>", text)
    text = TOKEN.sub("<token>", UUID.sub("<uuid>", text))
    text = re.sub(r"http://127\.0\.0\.1:\d+", "<url>", text)
    text = re.sub(r" loc=\w+\.py:\d+", "", text)  # as the process has set logging up before
    return FOLDER.sub("", PACKAGES.sub("<packages>", text))


def different(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    match theirs, ours:
        case dict(), dict():
            for key in sorted(theirs.keys() | ours.keys()):
                if key not in theirs or key not in ours:
                    yield f"{path}.{key} is only {'here' if key in ours else 'on Airflow'}"
                else:
                    yield from different(theirs[key], ours[key], f"{path}.{key}")
        case list(), list() if len(theirs) == len(ours):
            for place, (one, other) in enumerate(zip(theirs, ours, strict=True)):
                yield from different(one, other, f"{path}[{place}]")
        case _ if theirs != ours:
            yield f"{path} is {ours!r}, Airflow {theirs!r}"[:1000]
