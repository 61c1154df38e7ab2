"""Real Airflow to speak to in the sentences of `local_gust`, for tests that ask it the same as Gust (`--airflow`)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.oracle.drive import ApiClient
from tests.oracle.server import real_airflow
from tests.system.local_gust import AnyAirflow, LocalGust

AS_THE_LOCAL_STACK: Final = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}


class RealAirflow(AnyAirflow):
    """A fresh one over the folder, with the environment variables beside the oracle's own."""

    def __init__(self, dags: Path, environment: Mapping[str, str] | None = None) -> None:
        self.dags = dags
        self._environment = {**AS_THE_LOCAL_STACK, **(environment or {})}
        self._running = ExitStack()
        dags.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        self.api = ApiClient(self._running.enter_context(real_airflow(self.dags, self._environment)))

    def stop(self) -> None:
        if hasattr(self, "api"):
            self.api.close()
        self._running.close()


def asked_for(config: pytest.Config) -> bool:
    """Whether these tests are to be asked of real Airflow, and not of Gust."""
    return bool(config.getoption("--airflow"))


def made_for(
    config: pytest.Config,
    home: Path,
    *,
    parameters: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> LocalGust | RealAirflow:
    """What the tests are about, not started: a local stack with the template's parameters, or, if so asked, real Airflow
    with the environment variables that say the same."""
    if asked_for(config):
        return RealAirflow(home / "dags", environment)
    return LocalGust(home / "data", home / "dags", **({"parameters": dict(parameters)} if parameters else {}))
