"""Keys change without a moment in which something cannot be read."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from gust.aws.cipher import ASK_AGAIN_AFTER, ASK_AGAIN_IN_NEED_AFTER, FernetCipher
from gust.errors import Unreadable


class Stack:
    """The secret, and the time that processes see."""

    def __init__(self, keys: str) -> None:
        self.keys = keys
        self.now = 0.0
        self.asked = 0

    def process(self) -> FernetCipher:
        return FernetCipher(self._ask, monotonic=lambda: self.now)

    def _ask(self) -> str:
        self.asked += 1
        return self.keys


@given(st.text(alphabet=st.characters(codec=None)))
def test_what_is_encrypted_comes_back(text: str) -> None:
    cipher = FernetCipher(lambda: "key")
    token = cipher.encrypt(text)
    assert token.isascii()
    assert cipher.decrypt(token) == text


def test_the_same_text_is_never_encrypted_the_same() -> None:
    cipher = FernetCipher(lambda: "key")
    assert cipher.encrypt("x") != cipher.encrypt("x")


def test_a_key_of_airflow_is_taken_as_it_is() -> None:
    """Whoever moves from Airflow brings the key, and everything that it encrypted."""
    key = Fernet.generate_key()
    token = Fernet(key).encrypt(b"from Airflow").decode()
    assert FernetCipher(key.decode).decrypt(token) == "from Airflow"


def test_a_key_is_replaced_under_processes_that_live_on() -> None:
    stack = Stack("old")
    one, other = stack.process(), stack.process()
    before = one.encrypt("x")
    other.decrypt(before)
    stack.keys = "new, old"
    stack.now += ASK_AGAIN_AFTER
    after = one.encrypt("x")
    assert FernetCipher(lambda: "new").decrypt(after) == "x"
    assert other.decrypt(after) == "x"
    assert other.decrypt(before) == "x"
    stack.keys = "new"
    stack.now += ASK_AGAIN_AFTER
    with pytest.raises(Unreadable):
        other.decrypt(before)


def test_one_that_has_just_asked_finds_a_key_that_came_since() -> None:
    stack = Stack("old")
    one, other = stack.process(), stack.process()
    other.encrypt("x")
    stack.keys = "new,old"
    token = one.encrypt("y")
    stack.now += ASK_AGAIN_IN_NEED_AFTER
    assert other.decrypt(token) == "y"


def test_what_nobody_can_read_does_not_ask_for_the_secret_again_and_again() -> None:
    stack = Stack("key")
    process = stack.process()
    for _ in range(100):
        with pytest.raises(Unreadable):
            process.decrypt("nonsense")
    assert stack.asked == 1
