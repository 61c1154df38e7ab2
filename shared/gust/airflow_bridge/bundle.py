"""Bundles on a function's disk: fetched and extracted once per version, found again by the next invocation."""

import os
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from gust.services.deployment_keys import bundle_key
from gust.services.ports import Objects

KEPT: Final = 3
"""Versions that stay at least, the most lately used."""

UNUSED_FOR: Final = 1200
"""Seconds without use before a version may go: longer than an invocation of Lambda can last, because where several
functions share a disk (the local stack) another one may still be reading it."""


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """`fetch` may be called by many processes on one disk at the same time."""

    objects: Objects
    root: Path = Path(tempfile.gettempdir()).resolve() / "gust-bundles"

    def has(self, version: str) -> bool:
        """It was fetched before."""
        return (self.root / version).is_dir()

    def fetch(self, version: str) -> Path:
        """The folder that holds the bundle's files. Raises NotFound where the bucket has no such bundle."""
        folder = self.root / version
        try:
            os.utime(folder)
        except FileNotFoundError:
            self._extract(version, folder)
        self._forget_old(folder)
        return folder

    def _extract(self, version: str, folder: Path) -> None:
        """All or nothing: extracted beside, then renamed. Whoever comes second finds it done."""
        body = self.objects.get(bundle_key(version))
        self.root.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{version[:12]}-", dir=self.root))
        try:
            with zipfile.ZipFile(BytesIO(body)) as archive:
                archive.extractall(beside)
            beside.chmod(0o755)
            try:
                beside.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _forget_old(self, current: Path) -> None:
        others = [(used_at(path), path) for path in self.root.iterdir() if path != current]
        others.sort(reverse=True)
        oldest_kept = time.time() - UNUSED_FOR
        for used, path in others[KEPT - 1 :]:
            if used < oldest_kept:
                shutil.rmtree(path, ignore_errors=True)


def used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
