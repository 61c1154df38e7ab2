"""Encrypts what people keep secret: Fernet, as in Airflow, with keys that only the control plane's functions may read.

The stack's secret holds one key or, separated by commas, several: the first encrypts, each of them decrypts. That is how
a key is changed without a moment in which something cannot be read (docs/adr/0013). A key is what Fernet takes, or any
long random text, which is made into one.
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
"""Seconds. A process that lives on encrypts with a new key by then; a key that is gone for longer encrypts nothing."""
ASK_AGAIN_IN_NEED_AFTER: Final = 10.0
"""Seconds. What none of the known keys decrypts may have been encrypted with one that came since."""

ENCODING: Final = "utf-8"


class FernetCipher:
    """Implements `ports.Cipher`. `keys` gives the secret's text."""

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
        raise Unreadable("It was encrypted with a key that is not among the stack's") from cause

    def _fernet(self, max_age: float) -> MultiFernet:
        now = self._monotonic()
        if self._known is None or now - self._known[0] >= max_age:
            self._known = now, _library().MultiFernet([_key(text) for text in self._ask().split(",") if text.strip()])
        return self._known[1]


def _library() -> ModuleType:
    """70 ms to import: not for processes that never meet what is encrypted."""
    return import_module("cryptography.fernet")


def _key(text: str) -> Fernet:
    given, fernet = text.strip(), _library().Fernet
    try:
        key: Fernet = fernet(given)
    except ValueError:  # CloudFormation can make up a password, but no key
        key = fernet(base64.urlsafe_b64encode(sha256(given.encode()).digest()))
    return key
