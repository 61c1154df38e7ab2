"""The OpenID provider."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gust.model.user import Identity


class IdentityProvider(Protocol):
    """Where people sign in whom AWS does not know."""

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where a browser is sent to. Raises Unwell."""

    def identity(self, code: str, *, verifier: str, redirect_uri: str, nonce: str, now: datetime) -> Identity:
        """Whom the code is for, with which the browser came back. Raises Forbidden where it is not good, Unwell."""
