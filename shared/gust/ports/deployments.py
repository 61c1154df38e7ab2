"""The state machine that deploys bundles."""

from __future__ import annotations

from typing import Protocol

from gust.errors import NotSupportedYet


class Deployments(Protocol):
    """The state machine `deploy_bundle`."""

    def start(self, name: str) -> None:
        """Start a deployment. Starting the same name again changes nothing."""


class NoDeployments:
    """For functions that start no deployments."""

    def start(self, name: str) -> None:
        raise NotSupportedYet(f"The deployment {name} cannot be started from here")
