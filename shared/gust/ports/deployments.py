"""The state machine that deploys bundles."""

from __future__ import annotations

from typing import Protocol

from gust.errors import NotSupportedYet


class Deployments(Protocol):
    """The state machine deploy_bundle."""

    def start(self, name: str) -> None:
        """Start a deployment. The same name again starts nothing and is no error."""


class NoDeployments:
    """For where nobody deploys."""

    def start(self, name: str) -> None:
        raise NotSupportedYet(f"The deployment {name} cannot be started from here")
