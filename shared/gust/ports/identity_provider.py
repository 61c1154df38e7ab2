"""The OpenID provider."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gust.model.user import Identity


class IdentityProvider(Protocol):
    """The OpenID provider, for people without an AWS identity."""

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """The provider's page that the browser is sent to. Raises ServiceUnavailable."""

    def identity(self, code: str, *, verifier: str, redirect_uri: str, nonce: str, now: datetime) -> Identity:
        """The person that the browser's authorization code stands for. Raises Forbidden for a code that the provider
        refuses, ServiceUnavailable."""
