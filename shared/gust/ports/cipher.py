"""The encryption of secrets."""

from __future__ import annotations

from typing import Protocol

from gust.errors import NotSupportedYet, Unreadable


class Cipher(Protocol):
    """Encrypts what is kept secret in the table. Only those who answer people and workers may have one."""

    def encrypt(self, text: str) -> str: ...

    def decrypt(self, token: str) -> str:
        """Raises Unreadable where no key of the stack fits."""


class NoCipher:
    """Of those who have no key, or need none."""

    def encrypt(self, text: str) -> str:  # noqa: ARG002 - the port's signature
        raise NotSupportedYet("This function has no key to encrypt with")

    def decrypt(self, token: str) -> str:  # noqa: ARG002
        raise Unreadable("This function has no key to decrypt with")
