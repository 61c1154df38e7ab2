"""Packages of a `requirements.txt` on a host of the operator's, which may be another machine than they are built for."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gust.airflow_bridge.bundle import SealedBundleFolder
from gust.errors import Unopenable
from gust.model.architecture import ARM64, this_architecture
from gust.model.environment import GLIBC

WHY_NONE: Final = "GUST_WHY_NO_PACKAGES"
"""Environment variable of a host's workers: the reason why none of its queue's packages run there; empty if they do."""

LAMBDAS_PYTHON: Final = 3, 12
LAMBDAS_GLIBC: Final = 2, 34


@dataclass(frozen=True, slots=True)
class Machine:
    architecture: str
    python: tuple[int, int]
    glibc: tuple[int, ...]
    """Empty where it has another libc."""

    @classmethod
    def this(cls) -> Self:
        libc, version = platform.libc_ver()
        glibc = tuple(int(part) for part in version.split(".") if part.isdigit()) if libc == "glibc" else ()
        return cls(this_architecture(), sys.version_info[:2], glibc)

    def __str__(self) -> str:
        libc = f"glibc {_dotted(self.glibc)}" if self.glibc else "no glibc"
        return f"Python {_dotted(self.python)}, {self.architecture}, {libc}"


def why_no_packages(architecture: str, here: Machine, queue: str) -> str:
    """The reason why packages that are built on AWS for workers of that architecture do not run on the machine; empty if
    they do. Those for arm64 are built on Lambda itself, and may need its glibc."""
    glibc = LAMBDAS_GLIBC if architecture == ARM64 else GLIBC
    if here.architecture == architecture and here.python == LAMBDAS_PYTHON and here.glibc >= glibc:
        return ""
    why = (
        f"Packages of requirements.txt for the queue {queue!r} are built for Python {_dotted(LAMBDAS_PYTHON)}, "
        f"{architecture}, glibc {_dotted(glibc)} or later, and this host has {here}. "
    )
    if here.architecture != architecture:
        add = f"./gust workers add {queue} --elsewhere --architecture {here.architecture}"
        return f"{why}Run {add}, then start the host again."
    return f"{why}Tasks whose DAG file has a requirements.txt need another host, or a folder without one."


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


class PackagesOfHost(SealedBundleFolder):
    """Refuses packages that do not run here by name instead of by an import error."""

    def archive_of(self, bundle: Path, file: str) -> str | None:
        archive = super().archive_of(bundle, file)
        if archive is not None and (why := os.environ.get(WHY_NONE)):
            raise Unopenable(why)
        return archive
