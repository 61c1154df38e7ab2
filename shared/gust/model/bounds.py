"""Size limits of everything that a DAG file defines.

DynamoDB takes 400 KB as an item, SQS 256 KB as a message, and a scheduler has 1 GB for all DagSpecs. A file that exceeds a
limit gets an import error that names the field, and affects no other file. All sizes are bytes of UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

LONGEST_TRACE: Final = 60_000
"""Of an import error or a warning. A longer one is cut in the middle: the ends of a trace say most."""

LARGEST_DAG: Final = 200_000
"""All that the DAG's item takes from its file: description, tags, owners, access_control, names."""

LARGEST_EXTRA: Final = 100_000
"""An asset's extra, as JSON. Listeners are told of a new asset by a message."""

LARGEST_ARGUMENTS: Final = 200_000
"""Of one trigger or one deadline callback, as JSON: each is stored in an item of its own."""

LARGEST_SCHEDULE: Final = 200_000
"""Names and URIs of the assets in one DAG's schedule: one AssetQueue item holds them all."""

LARGEST_SPEC: Final = 20_000_000
"""A DagSpec, as JSON: a DAG of some 50,000 tasks."""

LARGEST_SERIALIZED: Final = 50_000_000
"""Airflow's serialized DAG, as JSON; as large as an XCom may be."""

LARGEST_ANSWER: Final = 150_000_000
"""Everything that one file gives: its parser's parent holds it in memory."""

LARGEST_LIST: Final = 200_000
"""Names in one item: the DAGs of a file, or what a file depends on."""

LARGEST_MODULES: Final = 20_000
"""Names of the modules that a file imports: each message of its tasks holds them."""

LONGEST_KEY: Final = 900
"""Of a user-given name in a sort key; DynamoDB takes 1024, and the rest is for our own parts of the key."""

LONGEST_NAME: Final = 255
"""Of one part of a path: what Linux takes as a file's name."""

LONGEST_PATH: Final = 1000
"""Of a path in the folder, as a key holds it."""

LARGEST_FOLDER: Final = 600_000_000
"""The files of the folder, unpacked. A worker's disk has 2 GB: for the bundle, packed and unpacked, and the task's files."""

MOST_LISTED: Final = 20
"""Names that a sentence lists before it says how many more there are."""


def cut(text: str, limit: int = LONGEST_TRACE) -> str:
    """The text in at most about `most` bytes of UTF-8; of a longer text its beginning and its end."""
    encoded = text.encode(errors="backslashreplace")
    if len(encoded) <= limit:
        return encoded.decode()
    half = limit // 2
    head, tail = encoded[:half].decode(errors="ignore"), encoded[-half:].decode(errors="ignore")
    return f"{head}\n… {len(encoded) - 2 * half:,} bytes are left out here …\n{tail}"


def listed(names: Iterable[str]) -> str:
    """The names as a sentence lists them."""
    every = list(names)
    more = len(every) - MOST_LISTED
    return ", ".join(every[:MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def size_of(value: Any) -> int:
    """Of the value, written as DynamoDB counts it: text and names in UTF-8, some bytes for each part."""
    match value:
        case None | bool():
            return 1
        case str():
            return len(value.encode(errors="backslashreplace"))
        case dict():
            return 3 + sum(size_of(key) + size_of(part) + 1 for key, part in value.items())
        case list() | tuple() | set() | frozenset():
            return 3 + sum(size_of(part) + 1 for part in value)
        case _:
            return 21


def size_in_key(*parts: str) -> int:
    """Bytes that the parts take in a key, where `#`, `%` and control characters are escaped."""
    return sum(size_of(part) + 2 * sum(c in "#%\x7f" or c < " " for c in part) + 1 for part in parts)
