"""Which part of long work is done among all tiers: CI has 45 minutes. A module that is called by itself does all of it.

The part follows from a hash of the code that the work tries: other code, another part; the same code, the same one. So an
unrelated change is never refused by what it did not touch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import pytest

ROOT: Final = Path(__file__).parents[1]

T = TypeVar("T")


def part_of(things: Sequence[T], config: pytest.Config, parts: int, *folders: str) -> list[T]:
    """One of so many parts, by the Python files in the folders; all things if the tiers do not run together."""
    if not hasattr(config, "workerinput"):
        return list(things)
    read = hashlib.sha256()
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            read.update(file.read_bytes())
    return list(things[int(read.hexdigest(), 16) % parts :: parts])
