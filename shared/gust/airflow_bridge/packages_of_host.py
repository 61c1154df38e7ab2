"""Packages of a `requirements.txt` on a host of the operator's, or in a worker group on other processors, which may be
another machine than they are built for."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from gust.airflow_bridge.bundle import SealedBundleFolder, environment_of
from gust.errors import Unopenable


class PackagesOfWorkers(SealedBundleFolder):
    """Refuses packages that were built for another kind of machine, by name instead of by an import error."""

    def fetch_environment(self, bundle: Path, file: str) -> Path | None:
        built_for, here = os.environ.get("GUST_PACKAGES_FOR", ""), this_machine()
        if built_for not in ("", here) and environment_of(bundle, file) is not None:
            raise Unopenable(
                f"The packages of requirements.txt are built for Python {built_for}, and this worker has {here}. Run the "
                "task on such a worker, or move the DAG file to a folder without requirements.txt."
            )
        return super().fetch_environment(bundle, file)


def this_machine() -> str:
    """Python's version and the machine, as in `GUST_PACKAGES_FOR`: `3.12 aarch64`."""
    return f"{sys.version_info.major}.{sys.version_info.minor} {platform.machine()}"
