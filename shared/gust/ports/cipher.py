"""The encryption of secrets."""

from __future__ import annotations

from typing import Protocol

from gust.errors import NotSupportedYet, Unreadable


class Cipher(Protocol):
    """Encrypts the secrets in the table. The API, the execution API, the scheduler and the deployer have a key; functions
    that run DAG authors' code have none."""

    def encrypt(self, text: str) -> str:
        """With the newest key of the stack."""

    def decrypt(self, token: str) -> str:
        """Raises Unreadable if no key of the stack fits."""


class NoCipher:
    """For functions without a key."""

    def encrypt(self, text: str) -> str:  # noqa: ARG002 - the port's signature
        raise NotSupportedYet("This function has no key to encrypt with")

    def decrypt(self, token: str) -> str:  # noqa: ARG002
        raise Unreadable("This function has no key to decrypt with")
