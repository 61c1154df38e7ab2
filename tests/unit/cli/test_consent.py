"""A command asks before it changes something outside of its stack."""

from __future__ import annotations

import pytest

from gust.cli import consent


def _no_terminal(_: str) -> str:
    raise EOFError


@pytest.mark.parametrize(
    ("said", "is_given"), [("y", True), (" YES ", True), ("n", False), ("", False), ("yess", False)]
)
def test_only_yes_is_consent(said: str, is_given: bool) -> None:
    assert consent.is_given(["a bucket"], without_asking=False, ask=lambda _: said) is is_given


def test_where_no_terminal_answers_nothing_is_changed_and_the_option_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not consent.is_given(["a bucket", "a role"], without_asking=False, ask=_no_terminal)
    assert capsys.readouterr().out.splitlines() == [
        "This will change:",
        "  a bucket",
        "  a role",
        "",
        "Nothing was changed: no terminal answers; --yes changes it without asking.",
    ]


def test_who_wants_no_question_gets_none() -> None:
    assert consent.is_given(["a bucket"], without_asking=True, ask=_no_terminal)
