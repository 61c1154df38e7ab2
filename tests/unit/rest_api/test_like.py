"""Callers' patterns: SQL's LIKE, in time proportional to the text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gust.rest_api.lists.filters import contains
from gust.rest_api.lists.like import Like, folded, literal

SQLITE = sqlite3.connect(":memory:", check_same_thread=False)

texts = st.text(alphabet="abA%_\\\n", max_size=12)


def sqlite_says(text: str, pattern: str) -> bool:
    """An engine of its own that has LIKE as the standard has it; of case it knows the ASCII letters."""
    return bool(SQLITE.execute("SELECT ? LIKE ? ESCAPE '\\'", (text, pattern)).fetchone()[0])


@given(text=texts, pattern=texts)
def test_a_pattern_means_what_a_database_means_by_it(text: str, pattern: str) -> None:
    held = f"%{pattern}%"
    assert Like(folded(held)).matches(folded(text)) is sqlite_says(text, held)
    assert contains(text, pattern, alternatives=False) is sqlite_says(text, held if pattern != "~" else "%")


@given(text=texts, pattern=texts.filter(lambda pattern: not (len(pattern) - len(pattern.rstrip("\\"))) % 2))
def test_a_pattern_without_wildcards_at_its_ends_is_the_whole_text(text: str, pattern: str) -> None:
    assert Like(folded(pattern)).matches(folded(text)) is sqlite_says(text, pattern)


@given(text=texts, other=texts)
def test_a_literal_stands_for_itself_alone(text: str, other: str) -> None:
    assert Like(literal(text)).matches(text)
    assert Like(literal(text)).matches(other) is (text == other)


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("Straße", "STRASSE", False),
        ("Ärger", "ärGER", True),
        ("ΟΔΟΣ", "οδοσ", True),
        ("ΟΔΟΣ x", "ΟΔΟΣ", True),
        ("İzmir", "izmir", True),
        ("long ſ", "s", False),  # noqa: RUF001 - a letter of its own
    ],
)
def test_case_is_folded_letter_by_letter_as_postgresql_does(text: str, pattern: str, matches: bool) -> None:
    assert contains(text, pattern) is matches


class Counted:
    """A text that counts the characters read of it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        for character in self.text:
            self.read += 1
            yield character


@pytest.mark.parametrize("pattern", ["%_" * 12 + "#", "%a" * 2000 + "b", "%" * 3000 + "b", "_" * 5000, "%a_" * 900])
def test_no_pattern_reads_a_character_twice(pattern: str) -> None:
    text = Counted("a" * 1000)
    assert not Like(f"%{pattern}%").matches(text) or "b" not in pattern
    assert text.read <= 1000


@pytest.mark.parametrize("pattern", ["%_" * 12 + "#", "%a" * 500 + "#", "|".join(["%_" * 10 + "#"] * 200)])
def test_a_filter_with_such_a_pattern_ends(pattern: str) -> None:
    """With an engine that backtracks this never does."""
    assert not contains("a_dag_with_a_name_of_some_length" * 5, pattern)
