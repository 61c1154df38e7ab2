"""SQL's LIKE in time linear in the length of the text.

A caller chooses the pattern. A backtracking engine such as `re` tries each `%` at each place of the text: a pattern of
24 characters keeps it busy for minutes. This one keeps all positions of the pattern that the text so far can have
reached, as bits of one number, and each character of the text moves them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_ESCAPE: Final = "\\"
SPECIAL: Final = frozenset({"%", "_", _ESCAPE})


class Like:
    """A pattern: `%` stands for any characters, `_` for one, and behind a backslash each stands for itself."""

    def __init__(self, pattern: str) -> None:
        takes: dict[str, int] = {}
        takes_any = stays = length = 0
        is_escaped = False
        for character in pattern:
            if character == _ESCAPE and not is_escaped:
                is_escaped = True
                continue
            if is_escaped or character not in SPECIAL:
                takes[character] = takes.get(character, 0) | 1 << length
                length += 1
            elif character == "_":
                takes_any |= 1 << length
                length += 1
            else:
                stays |= 1 << length
            is_escaped = False
        self._takes: Final = {character: places | takes_any for character, places in takes.items()}
        """Character → positions that it advances."""
        self._takes_any: Final = takes_any
        self._stays: Final = stays
        """Positions after a `%`, which stay reached."""
        self._end: Final = 1 << length

    def matches(self, text: Iterable[str]) -> bool:
        """Whether the pattern stands for the whole text. Each character is read once at most."""
        reached = 1
        takes, takes_any, stays = self._takes.get, self._takes_any, self._stays
        ends_anyhow = self._end & stays
        for character in text:
            reached = (reached & takes(character, takes_any)) << 1 | reached & stays
            if not reached or reached & ends_anyhow:
                break
        return bool(reached & self._end)


def folded(text: str) -> str:
    """In lower case as PostgreSQL's ILIKE compares: character by character, without context."""
    return text.replace("İ", "i").replace("Σ", "σ").lower()  # noqa: RUF001 - Python's own makes two letters, and ς at ends


def literal(text: str) -> str:
    """The pattern that matches only this text."""
    return "".join(_ESCAPE + character if character in SPECIAL else character for character in text)
