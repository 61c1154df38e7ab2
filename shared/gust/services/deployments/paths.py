"""Which paths a bundle can hold."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from posixpath import dirname

from gust.model.bounds import LONGEST_NAME, LONGEST_PATH, size_in_key, size_of


def why_no_disk_takes(path: str) -> str | None:
    """Why the path cannot be stored: S3 takes keys that Linux does not take as a path, or DynamoDB as a key. `None`: all of
    them take it."""
    if any(character < " " or character == "\x7f" for character in path):
        return f"{shown(path)} is left out: its name has a control character.\n"
    longest = max(size_of(part) for part in path.split("/"))
    if longest > LONGEST_NAME:
        return f"{shown(path)} is left out: a part of its name takes {longest:,} bytes; {LONGEST_NAME} are possible.\n"
    if (size := size_in_key(path)) > LONGEST_PATH:
        return f"{shown(path)} is left out: its path takes {size:,} bytes; {LONGEST_PATH:,} are possible.\n"
    return None


def shown(path: str) -> str:
    """A short form of the path for people and keys; different paths have different forms."""
    visible = "".join(c if c >= " " and c != "\x7f" else "\N{REPLACEMENT CHARACTER}" for c in path)
    if visible == path and size_in_key(path) <= LONGEST_PATH:
        return path
    return f"{visible[:100]}… ({sha256(path.encode()).hexdigest()[:8]})"


def parents(path: str) -> Iterable[str]:
    while path := dirname(path):
        yield path
