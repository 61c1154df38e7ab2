"""Every path that ARCHITECTURE's tables name exists, and every name "in" a file stands in that file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PLACES: Final = (ROOT, ROOT / "shared" / "gust")
TABLE_ROW: Final = re.compile(r"^\|(.*)\|$", re.MULTILINE)
SPAN: Final = re.compile(r"`([^`\n]+)`")
PATH: Final = re.compile(r"[\w./-]+/|(?:[\w.-]+/)*[\w.-]+\.(?:py|md|yaml|json|html|toml)|(?:[\w-]+/)+[\w.-]+")
NAME_IN_FILE: Final = re.compile(r"((?:`[\w]+`(?:, | and )?)+) (?:in|of) `([^`]+)`")


def rows() -> list[str]:
    return [row for row in TABLE_ROW.findall((ROOT / "ARCHITECTURE.md").read_text()) if set(row) - set("-| ")]


def paths(row: str) -> list[str]:
    return [span for span in SPAN.findall(row) if PATH.fullmatch(span) and not span.startswith("./")]


def found(path: str) -> Path | None:
    return next((place / path for place in PLACES if (place / path).exists()), None)


def test_every_path_exists() -> None:
    missing = [f"{path}  (in: {row.strip()[:60]})" for row in rows() for path in paths(row) if found(path) is None]
    assert not missing, "ARCHITECTURE.md names files that do not exist:\n" + "\n".join(missing)


def test_every_name_stands_in_the_file_that_the_table_gives() -> None:
    missing = []
    for row in rows():
        for names, path in NAME_IN_FILE.findall(row):
            place = found(path)
            text = place.read_text() if place is not None and place.is_file() else ""
            missing += [f"{name} in {path}" for name in SPAN.findall(names) if name not in text]
    assert not missing, "ARCHITECTURE.md names what its file does not have:\n" + "\n".join(missing)


def test_the_tables_are_read() -> None:
    assert sum(len(paths(row)) for row in rows()) > 100
    assert sum(len(NAME_IN_FILE.findall(row)) for row in rows()) > 15
