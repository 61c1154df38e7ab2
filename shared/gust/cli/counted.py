"""Counts as a person reads them in the terminal."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """`1 option`, `2 options`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
