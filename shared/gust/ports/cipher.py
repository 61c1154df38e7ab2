"""The encryption of secrets."""

from __future__ import annotations

from typing import Protocol

from gust.errors import NotSupportedYet, Unreadable


class Cipher(Protocol):
    """Encrypts secrets in the table. Only functions of the control plane have one."""

    def encrypt(self, text: str) -> str: ...

    def decrypt(self, token: str) -> str:
        """The value in the clear. Raises Unreadable if no key of the stack decrypts it."""


class NoCipher:
    """For functions without a key."""

    def encrypt(self, text: str) -> str:  # noqa: ARG002 - the port's signature
        raise NotSupportedYet("This function has no key to encrypt with")

    def decrypt(self, token: str) -> str:  # noqa: ARG002
        raise Unreadable("This function has no key to decrypt with")
