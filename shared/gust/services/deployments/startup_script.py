"""Reads the exported variables of MWAA's `startup.sh`. There is no machine here that a script could prepare: all other lines
are refused by name, and then the whole script has no effect, because a variable may depend on a refused line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gust.errors import Rejected

LARGEST: Final = 100_000
"""Characters."""

LARGEST_VALUE: Final = 32_000
LARGEST_TOGETHER: Final = 200_000
"""Bytes of one variable and of all, in UTF-8. Linux starts no process with a variable of more than 128 KB, and a variable
may name another one twice, and so on."""

SHOWN: Final = 500
"""Characters of a refused line."""

_ASSIGNMENT: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)
NOTHING_ELSE: Final = "a startup script can export variables here, and nothing else."

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SAYS_NOTHING: Final = frozenset({"echo", "set", "printf", "true", ":"})
"""Commands that change no variable; their words are not looked at."""

RESERVED: Final = ("GUST_", "POWERTOOLS_", "AWS_LAMBDA_", "LAMBDA_", "_LAMBDA_", "_AIRFLOW", "AIRFLOW__", "LD_")
RESERVED_NAMES: Final = frozenset({"AIRFLOW_HOME", "HOME", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "_HANDLER"})


class _Refused(Rejected):
    """The line cannot be carried out."""


def exported_in(path: str, text: str) -> tuple[dict[str, str], list[str]]:
    """The exported variables, and a sentence for each line that is refused."""
    if len(text) > LARGEST:
        return {}, [f"{path}: at most {LARGEST:,} characters can be read."]
    known: dict[str, str] = {}
    exported: dict[str, str] = {}
    refused: list[str] = []
    for number, line in _lines(text):
        try:
            _carry_out(line, known, exported)
        except _Refused as why:
            refused.append(f"{path}:{number}: {printable(line)}: {why}")
    if not refused and sum(len(f"{name}={value}".encode()) for name, value in exported.items()) > LARGEST_TOGETHER:
        refused.append(f"{path}: its variables take more than {LARGEST_TOGETHER:,} bytes together.")
    return exported, refused


def _lines(text: str) -> Iterator[tuple[int, str]]:
    pending, began = "", 0
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        began = began or number
        if raw.endswith("\\"):
            pending += raw[:-1]
            continue
        line = (pending + raw).strip()
        if line and not line.startswith("#"):
            yield began, line
        pending, began = "", 0


def printable(line: str) -> str:
    """The line as an import error can show it."""
    return "".join(each if each.isprintable() or each == "\t" else "\N{REPLACEMENT CHARACTER}" for each in line)[:SHOWN]


def _carry_out(line: str, known: dict[str, str], exported: dict[str, str]) -> None:
    if "\0" in line:
        raise _Refused("no variable can hold the character U+0000. Save the file as UTF-8.")
    command = line.split(maxsplit=1)[0]
    if command in _SAYS_NOTHING and not re.search(r"[;&|<>`]|\$\(", line):
        return
    is_export = command == "export"
    if not is_export and not _ASSIGNMENT.match(command):
        raise _Refused(NOTHING_ELSE)
    words = _words(line, known)
    for word in words[1:] if is_export else words:
        assignment = _ASSIGNMENT.match(word)
        if assignment is not None:
            if len(assignment[2].encode(errors="replace")) > LARGEST_VALUE:
                raise _Refused(f"{assignment[1]} takes more than {LARGEST_VALUE:,} bytes.")
            known[assignment[1]] = assignment[2]
        elif not is_export or word not in known:
            raise _Refused(NOTHING_ELSE)
        name = assignment[1] if assignment is not None else word
        if is_export or name in exported:
            if name.startswith(RESERVED) or name in RESERVED_NAMES:
                raise _Refused(f"{name} cannot be set here.")
            exported[name] = known[name]


def _words(line: str, known: Mapping[str, str]) -> list[str]:
    """As a shell splits a line: quotes, backslashes, comments, and variables that the script itself has set."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(line):
        character = line[at]
        at += 1
        if quote == "'":
            quote, word = ("", word) if character == "'" else (quote, (word or "") + character)
        elif character == "\\" and at < len(line) and (not quote or line[at] in '"$`\\'):
            word, at = (word or "") + line[at], at + 1
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, word = character, word or ""
        elif character == "`" or (character == "$" and line[at : at + 1] == "("):
            raise _Refused("commands are not run here.")
        elif character == "$":
            value, at = _value(line, at, known)
            word = (word or "") + value
            if len(word) > 2 * LARGEST_VALUE:
                raise _Refused(f"a value takes more than {LARGEST_VALUE:,} bytes.")
        elif quote:
            word = (word or "") + character
        elif character in ";&|<>()":
            raise _Refused(NOTHING_ELSE)
        elif character == "~" and not quote and (word is None or word.endswith(("=", ":"))):
            raise _Refused("there is no home folder; write the path.")
        elif character == "#" and word is None:
            break
        elif character.isspace():
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + character
    if quote:
        raise _Refused("a quote is not closed in its line.")
    return words + ([] if word is None else [word])


def _value(line: str, at: int, known: Mapping[str, str]) -> tuple[str, int]:
    braced = line[at : at + 1] == "{"
    named = _NAME.match(line, at + braced)
    if named is None or (braced and line[named.end() : named.end() + 1] != "}"):
        raise _Refused("of variables, their plain values alone can be named: $NAME or ${NAME}.")
    if named[0] not in known:
        raise _Refused(f"${named[0]} is not set by the script itself.")
    return known[named[0]], named.end() + braced
