"""Keep the bucket's dags/ in step with a folder: a change is in the bucket once two looks have seen the same.

The folder's parent stands for the bucket's root: the files in `BESIDE` go there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from gust.model import bucket_keys

BESIDE: Final = tuple(f"../{name}" for name in bucket_keys.BESIDE_DAGS)
"""Relative names of files beside the folder that go to the bucket's root."""

_ALSO: Final = frozenset({".airflowignore"})
"""Hidden files that Airflow reads; all others belong to editors and version control."""

_SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "node_modules"})
_LONGEST_WAIT: Final = 10
"""Looks after which changes are uploaded although files are still being written."""

Stamp = tuple[int, int]
"""Modification time in nanoseconds, size."""

log = logging.getLogger("gust.dag_folder")


class DagFolder:
    """Call `look` repeatedly; it uploads a change once two calls in a row saw the same files."""

    def __init__(self, folder: Path, s3: Any, bucket: str, *, on_progress: Callable[[str], None] = log.info) -> None:
        self._folder = folder
        self._s3 = s3
        self._bucket = bucket
        self._on_progress = on_progress
        self._uploaded: dict[str, Stamp] = {}
        self._seen: dict[str, Stamp] = {}
        self._left_out: dict[str, str] = {}
        """File that cannot be uploaded → why. Each reason is reported once."""
        self._waited = 0

    def align(self) -> None:
        """Upload files that differ from the bucket's, and delete objects whose file is gone."""
        found = dict(self._find())
        there = self._list()
        stale = [name for name, stamp in found.items() if there.get(name) != self._hash(name)]
        self._send(stale, found, sorted(there.keys() - found.keys()))
        self._seen = found

    @property
    def is_unsettled(self) -> bool:
        """Whether the last look saw a change that the next one will find complete."""
        return self._waited > 0

    def look(self) -> bool:
        """Whether something was uploaded or deleted."""
        found = dict(self._find())
        settled = found == self._seen or self._waited >= _LONGEST_WAIT
        self._seen = found
        if found == self._uploaded:
            self._waited = 0
            return False
        if not settled:
            self._waited += 1
            return False
        self._waited = 0
        changed = [name for name, stamp in found.items() if self._uploaded.get(name) != stamp]
        return self._send(changed, found, sorted(self._uploaded.keys() - found.keys()))

    def _send(self, changed: list[str], found: dict[str, Stamp], gone: list[str]) -> bool:
        """Whether something was uploaded or deleted. A file that cannot be read is tried again by each look."""
        self._uploaded = {name: stamp for name, stamp in found.items() if name not in changed}
        sent = []
        for name in sorted(changed):
            try:
                body = (self._folder / name).read_bytes()
            except OSError as problem:
                if (self._folder / name).exists():  # else it has gone between two looks
                    self._leave_out(name, problem.strerror or str(problem))
                continue
            self._s3.put_object(Bucket=self._bucket, Key=key_of(name), Body=body)
            self._uploaded[name] = found[name]
            self._left_out.pop(name, None)
            sent.append(name)
        for start in range(0, len(gone), 1000):  # S3 takes a thousand at a time
            self._s3.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": key_of(name)} for name in gone[start : start + 1000]], "Quiet": True},
            )
        if sent or gone:
            self._on_progress(_sentence(sent, gone))
        return bool(sent or gone)

    def _leave_out(self, name: str, why: str) -> None:
        if self._left_out.get(name) != why:
            self._left_out[name] = why
            self._on_progress(f"left out {_shown(name)}: {why}")

    def _find(self) -> Iterator[tuple[str, Stamp]]:
        return files_of(self._folder, self._leave_out)

    def _list(self) -> dict[str, str]:
        """Name → MD5 of what the bucket holds."""
        found: dict[str, str] = {}
        for prefix in (bucket_keys.DAGS, *map(key_of, BESIDE)):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                found |= {item["Key"]: item["ETag"].strip('"') for item in page.get("Contents", [])}
        names = {key_of(name): name for name in BESIDE}
        return {
            names.get(key) or key.removeprefix(bucket_keys.DAGS): tag
            for key, tag in found.items()
            if key in names or key.startswith(bucket_keys.DAGS)
        }

    def _hash(self, name: str) -> str:
        try:
            return hashlib.md5((self._folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        except OSError:
            return ""


def files_of(folder: Path, leave_out: Callable[[str, str], None]) -> Iterator[tuple[str, Stamp]]:
    """Relative names with `/`, and stamps of regular files: reading a pipe would never end. Follows links as Airflow does,
    each folder once. Calls `leave_out` with the name of a file that no bundle takes, and the reason."""
    for name in BESIDE:
        with contextlib.suppress(OSError):
            status = os.stat(folder / name)
            if stat.S_ISREG(status.st_mode):
                yield name, (status.st_mtime_ns, status.st_size)
    visited = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in _SKIPPED_FOLDERS)
        for name in files:
            if (name.startswith(".") and name not in _ALSO) or name.endswith((".pyc", "~")):
                continue
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except OSError:  # a dangling link, or deleted since
                continue
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            if objection := _objection(relative):
                leave_out(relative, objection)
            elif stat.S_ISREG(status.st_mode):
                yield relative, (status.st_mtime_ns, status.st_size)


def key_of(name: str) -> str:
    return name.removeprefix("../") if name in BESIDE else bucket_keys.uploaded_file(name)


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _objection(name: str) -> str | None:
    """Why S3 accepts no object of that name; None where it does."""
    try:
        length = len(bucket_keys.uploaded_file(name).encode())
    except UnicodeEncodeError:  # a byte that is no UTF-8 stands in the name as half of a surrogate pair
        return "its name is not UTF-8, which names in the bucket are"
    return "its path is too long for the bucket" if length > bucket_keys.LONGEST else None


def _sentence(changed: list[str], gone: list[str]) -> str:
    def some(names: list[str]) -> str:
        return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    parts = ([f"uploaded {some(changed)}"] if changed else []) + ([f"deleted {some(gone)}"] if gone else [])
    return "; ".join(parts)
