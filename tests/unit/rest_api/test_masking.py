"""Masked fields, and the meaning of a returned mask, are those of Airflow's own masker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gust.rest_api.http import masking
from gust.rest_api.http.masking import MASK, MORE_NAMES, SENSITIVE, hides, redact, unmasked

NAMES = st.sampled_from(["a", "b", "password", "My Secret", "api-key", "db.token", "proxy", "tokens", "", "ключ"])
SCALARS = st.sampled_from(["x", "hidden", MASK, "", 7, 1.5, None, True])
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)


@pytest.fixture(scope="module")
def airflows() -> Iterator[Any]:
    from airflow._shared.secrets_masker.secrets_masker import DEFAULT_SENSITIVE_FIELDS, SecretsMasker

    assert set(SENSITIVE) == DEFAULT_SENSITIVE_FIELDS
    masker = SecretsMasker()
    masker.sensitive_variables_fields = list(DEFAULT_SENSITIVE_FIELDS)
    return masker


@given(value=DOCUMENTS, name=NAMES | st.none())
def test_the_same_is_hidden(airflows: Any, value: Any, name: str | None) -> None:
    assert redact(value, name) == airflows.redact(value, name)


@given(new=DOCUMENTS, old=DOCUMENTS, name=NAMES | st.none())
def test_the_same_is_put_back(airflows: Any, new: Any, old: Any, name: str | None) -> None:
    assert unmasked(new, old, name) == airflows.merge(new, old, name)


@given(secret=DOCUMENTS, name=NAMES)
def test_what_was_shown_and_comes_back_changes_nothing(secret: Any, name: str) -> None:
    assert unmasked(redact(secret, name), secret, name) == secret


def nested(depth: int, leaf: Any) -> Any:
    return leaf if depth == 0 else {"x": nested(depth - 1, leaf)}


@pytest.mark.parametrize("depth", range(9))
@pytest.mark.parametrize("name", ["secret", "plain"])
def test_at_every_depth(airflows: Any, depth: int, name: str) -> None:
    value = nested(depth, ["a", {"token": "b"}, 7])
    assert redact(value, name) == airflows.redact(value, name)
    shown = redact(value, name)
    assert unmasked(shown, value, name) == airflows.merge(shown, value, name)


def test_an_administrator_names_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hides("pin code")
    monkeypatch.setenv(MORE_NAMES, "color, pin_code")
    assert hides("My pin-code")
    assert hides("COLORS")
    monkeypatch.setenv(masking.HIDES, "False")
    assert not hides("password")
