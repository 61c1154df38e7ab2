"""Bundles and environments on a function's disk: fetched and extracted once, found again by the next invocation.

Several functions may share a disk (the local stack). A process that uses a version holds a shared lock on its lock
file, from `fetch` until it fetches another version or dies; a process that extracts or deletes a version holds the lock
alone.

An environment is an archive as a bundle is, named by the hash of its content too. It lies in a folder of its own: a new
bundle leaves the environments where they are.
"""

from __future__ import annotations

import compileall
import errno
import fcntl
import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from py_compile import PycInvalidationMode
from threading import Lock
from typing import IO, BinaryIO, Final
from uuid import uuid4

from gust.airflow_bridge import commands
from gust.airflow_bridge.child import run_in_child
from gust.errors import Forbidden, NotFound, Unopenable
from gust.model import bucket_keys
from gust.model.bundle import version_of
from gust.model.environment import ENVIRONMENTS_FILE, Environments
from gust.model.unreadable_zip import UNREADABLE
from gust.ports.objects import Objects

COMPILES_FOR: Final = 2.0
"""Seconds that compiling a bundle may take; each child compiles the remaining files itself."""
COMPILES_IN: Final = 256 * 2**20

KEPT: Final = 3
"""Versions to keep, the most recently used, while the disk has room for another one."""

OF_ENVIRONMENTS: Final = "-environments"
"""Ends the name of the folder of environments, beside that of bundles."""

SPARE: Final = 16 * 1024 * 1024
"""Bytes of the disk to leave free for files that parsing and tasks write."""

log: Final = logging.getLogger("gust.bundles")

_HASH: Final = re.compile("[0-9a-f]{64}")
_CHUNK: Final = 1024 * 1024

_in_use: dict[Path, tuple[str, int]] = {}
"""By root: the version that this process uses, and the descriptor that holds its lock."""
_fetching: Final = Lock()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of archive: bundle or environment."""

    key: Callable[[str], str]
    """Hash of the content → key in the bucket."""
    named: str
    """Its name in messages to people."""
    finish: Callable[[Path], None] | None = None
    """Adds files that depend on this machine, after the archive is unpacked."""
    has_bytecode: bool = False


BUNDLES: Final = Kind(bucket_keys.bundle, "Version {} of the DAGs")
ENVIRONMENTS: Final = Kind(
    bucket_keys.environment, "Environment {} (packages of requirements.txt)", finish=commands.add_to, has_bytecode=True
)


def free_bytes(folder: Path) -> int:
    """Of the folder's disk."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """`fetch` may be called by many processes on one disk at the same time."""

    objects: Objects
    root: Path = Path(tempfile.gettempdir()).resolve() / "gust-bundles"
    kind: Kind = BUNDLES
    free: Callable[[Path], int] = free_bytes
    architecture: str = ""
    """Of the worker whose packages are asked for; empty for the stack's own."""

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where it keeps bundles and environments."""
        return self.root, self._other_root()

    def has(self, version: str) -> bool:
        """Whether it was fetched before."""
        return (self.root / version).is_dir()

    def fetch(self, version: str) -> Path:
        """The folder that holds the bundle's files. It stays until this process fetches another version. Raises
        Unopenable where the bucket has no such bundle, or it cannot be unpacked here."""
        folder = self.root / version
        try:
            with _fetching:
                self._use(version)
                if not folder.is_dir():
                    self._extract(version, folder)
                os.utime(folder)
                self._forget(needed=0)
        except (NotFound, Forbidden) as error:
            raise Unopenable(f"{self.kind.named.format(version)} cannot be read: {error}") from error
        except UNREADABLE as error:
            if isinstance(error, OSError):
                reason = self._reason(error)
            else:
                reason = f"{type(error).__name__}: {error} (fetched twice)"
            raise Unopenable(f"{self.kind.named.format(version)} cannot be unpacked: {reason}") from error
        return folder

    def fetch_environment(self, bundle: Path, file: str) -> Path | None:
        """The folder with the packages that the bundle names for a file of it, by its relative path; `None`: it needs none
        but Airflow's own. It stays until this process fetches another environment. Raises Unopenable as `fetch` does, and
        where the bundle names none for this architecture."""
        archive = self.archive_of(bundle, file)
        return self._environments().fetch(archive) if archive is not None else None

    def has_environment(self, bundle: Path, file: str) -> bool:
        """It has none, or it was fetched before. Raises Unopenable as `fetch_environment` does."""
        archive = self.archive_of(bundle, file)
        return archive is None or self._environments().has(archive)

    def archive_of(self, bundle: Path, file: str) -> str | None:
        """Hash of the archive that an unpacked bundle names for a file of it."""
        return environments_of(bundle).of_file(file, self.architecture)

    def _environments(self) -> BundleFolder:
        return BundleFolder(self.objects, self._other_root(), ENVIRONMENTS, self.free)

    def _other_root(self) -> Path:
        """Where the environments lie; of these, where the bundles lie."""
        if self.kind is ENVIRONMENTS:
            return self.root.with_name(self.root.name.removesuffix(OF_ENVIRONMENTS))
        return self.root.with_name(f"{self.root.name}{OF_ENVIRONMENTS}")

    def _use(self, version: str) -> None:
        """Lock this version and unlock the one before."""
        held = _in_use.get(self.root)
        if held is not None and held[0] == version:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock_file(version), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _in_use[self.root] = version, descriptor
        if held is not None:
            os.close(held[1])

    def _extract(self, version: str, folder: Path) -> None:
        """Extract beside the folder, then rename: all or nothing. A second process waits for the lock and finds it
        done. What arrives damaged is fetched a second time."""
        _, descriptor = _in_use[self.root]
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if folder.is_dir():
                return
            try:
                self._extract_once(version, folder)
            except UNREADABLE as error:
                if isinstance(error, OSError):
                    raise
                log.warning("%s is fetched again: %s", self.kind.named.format(version), error)
                self._extract_once(version, folder)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_SH)

    def _extract_once(self, version: str, folder: Path) -> None:
        beside = self._beside(version)
        shutil.rmtree(beside, ignore_errors=True)  # of one that died at it
        with tempfile.TemporaryFile(dir=self.root) as body:
            self._forget(needed=SPARE)
            self._download(version, body)
            with zipfile.ZipFile(body) as archive:
                self._forget(needed=SPARE + sum(entry.file_size for entry in archive.infolist()))
                beside.mkdir()
                try:
                    check(version, unpack(archive, beside))
                    if self.kind.finish is not None:
                        self.kind.finish(beside)
                    beside.rename(folder)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)

    def _download(self, version: str, body: BinaryIO) -> None:
        """Where the disk has no room for the archive, unused versions make it: its size is not known before."""
        while True:
            try:
                self.objects.download(self.kind.key(version), body)
                body.flush()
            except OSError as error:
                unused = self._unused()
                if error.errno != errno.ENOSPC or not unused:
                    raise
                self._take_away(unused[0])
                body.seek(0)
                body.truncate()
            else:
                return

    def _forget(self, *, needed: int) -> None:
        """Delete unused versions, the longest unused first: all but `KEPT`, and more until `needed` bytes are free, bundles
        and environments alike. Raises OSError where the disk is too full even then."""
        unused = sorted(self._others(), key=used_at)
        while len(unused) >= KEPT:
            self._take_away(unused.pop(0))
        if self._free() >= needed:
            return
        unused = self._unused()
        while unused and self._free() < needed:
            self._take_away(unused.pop(0))
        if (free := self._free()) < needed:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")

    def _unused(self) -> list[Path]:
        """Bundles and environments, the longest unused first."""
        return sorted([*self._others(), *self._others(self._other_root())], key=used_at)

    def _others(self, root: Path | None = None) -> list[Path]:
        root = root or self.root
        version, _ = _in_use.get(root, ("", 0))
        locks = (path.stem for path in root.glob("*.lock"))
        return [folder for other in locks if other != version and (folder := root / other).is_dir()]

    def _take_away(self, folder: Path) -> None:
        with alone(folder.with_name(f"{folder.name}.lock")) as is_unused:
            if is_unused:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(folder.with_name(f".{folder.name}"), ignore_errors=True)

    def _free(self) -> int:
        return self.free(self.root)

    def _reason(self, error: OSError) -> str:
        if error.errno != errno.ENOSPC:
            return f"{type(error).__name__}: {error}"
        return f"the disk at {self.root.parent} is full ({error.strerror})"

    def _lock_file(self, version: str) -> Path:
        return self.root / f"{version}.lock"

    def _beside(self, version: str) -> Path:
        return self.root / f".{version}"


def environments_of(bundle: Path) -> Environments:
    try:
        return Environments.model_validate_json((bundle / ENVIRONMENTS_FILE).read_text())
    except FileNotFoundError:
        return Environments()


@contextmanager
def alone(lock_file: Path) -> Iterator[bool]:
    """Lock the version exclusively; yields whether that succeeded, so that no process uses it meanwhile."""
    descriptor = os.open(lock_file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def unpack(archive: zipfile.ZipFile, into: Path) -> dict[str, str]:
    """Path → hash of the content, of all files in it."""
    hashes: dict[str, str] = {}
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        file = into / entry.filename
        if not file.resolve().is_relative_to(into.resolve()):
            raise ValueError(f"{entry.filename} lies outside of the bundle")
        file.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as content, file.open("wb") as copy:
            hashes[entry.filename] = copied(content, copy)
        if entry.external_attr >> 16 & 0o100:
            file.chmod(0o755)
    return hashes


def copied(content: IO[bytes], copy: IO[bytes]) -> str:
    digest = sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        copy.write(chunk)
    return digest.hexdigest()


def check(version: str, hashes: dict[str, str]) -> None:
    """A bundle, or an environment, is named by the hash of its content."""
    if _HASH.fullmatch(version) and version_of(hashes) != version:
        raise ValueError("its content is another one than its name says")


@dataclass(frozen=True, slots=True)
class SealedBundleFolder(BundleFolder):
    """For one process that runs a deployment's code in one child after another: a bundle that a child has changed is
    extracted anew for the next. No other process may use the `root`."""

    seals: dict[str, Seal] = field(default_factory=dict, compare=False, repr=False)
    seals_of_environments: dict[str, Seal] = field(default_factory=dict, compare=False, repr=False)

    def _environments(self) -> BundleFolder:
        root, seals = self._other_root(), self.seals_of_environments
        return SealedBundleFolder(self.objects, root, ENVIRONMENTS, self.free, seals=seals)

    def fetch(self, version: str) -> Path:
        folder = self.root / version
        sealed = self.seals.get(version)
        if sealed is None or not _is_as_sealed(folder, sealed):
            _put_away(folder)
            folder = BundleFolder.fetch(self, version)
            if not self.kind.has_bytecode:
                _compile(folder)
            self.seals[version] = _seal(folder)
            return folder
        return BundleFolder.fetch(self, version)


Seal = dict[str, tuple[int, int, int, int]]
"""Path of each file and folder below → mode, inode, size and time of the last change (ctime). The kernel sets ctime: a
process can set a file's time of modification, but not this one. A folder's changes when an entry comes or goes."""


def _seal(folder: Path) -> Seal:
    """Empty where there is no such folder."""
    found: Seal = {}
    waiting = [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            found[entry.path] = _state(entry.path)
    return found


def _is_as_sealed(folder: Path, seal: Seal) -> bool:
    """Whether no file has changed, come or gone. Asks for each path alone: before each try, this is most of what an
    environment costs."""
    try:
        # The folder's own ctime is of its last use.
        if not all(entry.path in seal for entry in os.scandir(folder)):
            return False
        return all(_state(path) == was for path, was in seal.items())
    except OSError:
        return False


def _state(path: str) -> tuple[int, int, int, int]:
    stat = os.lstat(path)
    return stat.st_mode, stat.st_ino, stat.st_size, stat.st_ctime_ns


def _put_away(folder: Path) -> None:
    """Rename the folder, and delete it where its permissions allow."""
    beside = folder.with_name(f".{folder.name[:12]}-{uuid4()}")
    try:
        folder.rename(beside)
    except FileNotFoundError:
        return
    shutil.rmtree(beside, ignore_errors=True)


def _compile(folder: Path) -> None:
    """Write bytecode for all children, which may not write any. In a child, because compiling a file may crash."""
    run_in_child(
        lambda: b"%d" % compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH),
        timeout=COMPILES_FOR,
        memory=COMPILES_IN,
        runs_foreign_code=False,
    )


def used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
