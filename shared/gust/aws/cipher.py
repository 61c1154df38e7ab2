"""Encrypts settings and arguments: Fernet, as in Airflow, with keys that only the control plane's functions may read.

The stack's secret holds one key or, separated by commas, several: the first encrypts, all decrypt. So a key can be
changed without a moment in which a value is unreadable (docs/adr/0013). A key is a Fernet key, or any long random text,
which is hashed into one.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

from gust.errors import Unreadable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

ASK_AGAIN_AFTER: Final = 300.0
"""Seconds after which a process reads the secret again: by then it encrypts with a new key, and not with a removed one."""
ASK_AGAIN_IN_NEED_AFTER: Final = 10.0
"""Seconds between two reads of the secret for values that no known key decrypts: a newer key may have encrypted them."""

ENCODING: Final = "utf-8"


class FernetCipher:
    """Implements `ports.Cipher`. `keys` returns the secret's text."""

    def __init__(self, keys: Callable[[], str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask = keys
        self._monotonic = monotonic
        self._known: tuple[float, MultiFernet] | None = None

    def encrypt(self, text: str) -> str:
        token = self._fernet(ASK_AGAIN_AFTER).encrypt(text.encode(ENCODING, "surrogatepass"))
        return str(token, "ascii")

    def decrypt(self, token: str) -> str:
        for age in (ASK_AGAIN_AFTER, ASK_AGAIN_IN_NEED_AFTER):
            try:
                return self._fernet(age).decrypt(token.encode()).decode(ENCODING, "surrogatepass")
            except _library().InvalidToken as invalid:
                cause = invalid
        raise Unreadable("It was encrypted with a key that the stack does not have") from cause

    def _fernet(self, max_age: float) -> MultiFernet:
        now = self._monotonic()
        if self._known is None or now - self._known[0] >= max_age:
            self._known = now, _library().MultiFernet([_key(text) for text in self._ask().split(",") if text.strip()])
        return self._known[1]


def _library() -> ModuleType:
    """Imported late: it takes 70 ms, and many processes decrypt nothing."""
    return import_module("cryptography.fernet")


def _key(text: str) -> Fernet:
    given, fernet = text.strip(), _library().Fernet
    try:
        key: Fernet = fernet(given)
    except ValueError:  # CloudFormation can generate a password, but no Fernet key
        key = fernet(base64.urlsafe_b64encode(sha256(given.encode()).digest()))
    return key
