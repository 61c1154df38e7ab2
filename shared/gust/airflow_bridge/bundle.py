"""Bundles on a function's disk: fetched and extracted once per version, found again by the next invocation."""

from __future__ import annotations

import compileall
import os
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final
from uuid import uuid4

from gust.airflow_bridge.child import run_in_child
from gust.services.deployment_keys import bundle_key
from gust.services.ports import Objects

COMPILES_FOR: Final = 2.0
"""Seconds that compiling a bundle may take; what is not done by then each child compiles for itself."""
COMPILES_IN: Final = 256 * 2**20

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


@dataclass(frozen=True, slots=True)
class SealedBundleFolder(BundleFolder):
    """For one process that runs a deployment's code in one child after the other: what a child changes in an unpacked
    bundle is not there for the next. No other process may use the `root`."""

    seals: dict[str, Seal] = field(default_factory=dict, compare=False, repr=False)

    def fetch(self, version: str) -> Path:
        folder = self.root / version
        sealed = self.seals.get(version)
        if sealed is None or sealed != _seal(folder):
            _put_away(folder)
            folder = BundleFolder.fetch(self, version)
            _compile(folder)
            self.seals[version] = _seal(folder)
            return folder
        return BundleFolder.fetch(self, version)


Seal = dict[str, tuple[int, int, int, int]]
"""By relative path of all that is not a folder: mode, inode, size, and the moment of its last change. That moment is the
kernel's: a process can set a file's time of modification, but not this one."""


def _seal(folder: Path) -> Seal:
    """Empty where there is no such folder."""
    found: Seal = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list(os.scandir(folder / below))
        except OSError:
            continue
        for entry in entries:
            path = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{path}/")
            else:
                stat = entry.stat(follow_symlinks=False)
                found[path] = (stat.st_mode, stat.st_ino, stat.st_size, stat.st_ctime_ns)
    return found


def _put_away(folder: Path) -> None:
    """Out of the way, and off the disk where its rights allow it."""
    beside = folder.with_name(f".{folder.name[:12]}-{uuid4()}")
    try:
        folder.rename(beside)
    except FileNotFoundError:
        return
    shutil.rmtree(beside, ignore_errors=True)


def _compile(folder: Path) -> None:
    """So that each child finds bytecode, which none may write. In a child: to compile a stranger's file may crash."""
    run_in_child(
        lambda: b"%d" % compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH),
        timeout=COMPILES_FOR,
        memory=COMPILES_IN,
    )


def used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
