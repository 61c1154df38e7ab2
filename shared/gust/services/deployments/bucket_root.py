"""The files beside `dags/` in the bucket, where MWAA has them. The files of `plugins.zip` become the bundle's plugins; the
variables of `startup.sh` go to the bundle's processes. An unreadable one is an import error, and the last good one stays.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from posixpath import normpath
from shutil import copyfileobj
from typing import Final

from gust.errors import NotFound
from gust.model.bounds import LARGEST_FOLDER
from gust.model.bundle import PLUGINS_PREFIX
from gust.model.deployment import Manifest
from gust.model.environment import OUTSIDE, PLUGINS_ZIP, STARTUP
from gust.model.unreadable_zip import UNREADABLE
from gust.ports.objects import Objects
from gust.services.deployments.paths import parents, why_no_disk_takes
from gust.services.deployments.requirements_file import text_of
from gust.services.deployments.startup_script import LARGEST, exported_in

LARGEST_READ: Final = 4 * LARGEST + 1
"""Bytes of `startup.sh` that may be read. More have more characters than `exported_in` takes, whatever they are."""

PLUGINS: Final = f"{OUTSIDE}/{PLUGINS_ZIP}"
SCRIPT: Final = f"{OUTSIDE}/{STARTUP}"
"""How people and import errors name them: relative to the DAG folder."""

_CHUNK: Final = 1024 * 1024
"""Bytes of a file in memory at a time."""


@dataclass(slots=True)
class BucketRoot:
    variables: Mapping[str, str] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
    """Relative path below `plugins/` → hash of the content."""
    fresh: dict[str, Path] = field(default_factory=dict)
    """Contents of the files that the last bundle does not hold."""
    tags: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def read_root(
    objects: Objects, before: Manifest | None, place: Path, *, own_plugins: Collection[str], room: int
) -> BucketRoot:
    """`own_plugins`: files of the DAG folder, which win over those of the zip; `room`: bytes that the files of the zip
    may take. Files of the zip that have the name of a folder are left out."""
    found = BucketRoot()
    _read_script(found, objects, before)
    _read_plugins(found, objects, before, place, room)
    folders = {parent for path in (*own_plugins, *found.plugins) for parent in parents(path)}
    found.plugins = {
        path: digest
        for path, digest in found.plugins.items()
        if path not in folders and not any(each in own_plugins for each in (path, *parents(path)))
    }
    found.fresh = {path: content for path, content in found.fresh.items() if path in found.plugins}
    return found


def _read_script(found: BucketRoot, objects: Objects, before: Manifest | None) -> None:
    if (entry := objects.entries(STARTUP).get(STARTUP)) is None:
        return
    try:
        body = objects.get(STARTUP) if entry.size <= LARGEST_READ else bytes(LARGEST_READ)
    except NotFound:
        return
    exported, refused = exported_in(SCRIPT, text_of(body))
    if refused:
        found.refused[SCRIPT] = "".join(f"{line}\n" for line in refused)
        exported = dict(before.variables) if before else {}
    found.variables = exported


def _read_plugins(found: BucketRoot, objects: Objects, before: Manifest | None, place: Path, room: int) -> None:
    entry = objects.entries(PLUGINS_ZIP).get(PLUGINS_ZIP)
    if entry is None:
        return
    kept = {path: before.files[path] for path in before.from_plugins_zip if path in before.files} if before else {}
    if before is not None and before.etags.get(PLUGINS) == entry.etag:
        found.plugins, found.tags[PLUGINS] = kept, entry.etag
        return
    try:
        with (place / PLUGINS_ZIP).open("w+b") as body:
            objects.download(PLUGINS_ZIP, body)
            with zipfile.ZipFile(body) as archive:
                _unpack(found, archive, place, room)
    except NotFound:
        return
    except UNREADABLE as error:
        found.refused[PLUGINS] = f"{PLUGINS} cannot be unpacked: {error}\n"
        found.plugins, found.fresh = kept, {}
        return
    found.tags[PLUGINS] = entry.etag


def _unpack(found: BucketRoot, archive: zipfile.ZipFile, place: Path, room: int) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if (size := sum(entry.file_size for entry in entries)) > room:
        raise ValueError(
            f"its files take {size / 1e6:,.0f} MB; with the DAG folder, {LARGEST_FOLDER / 1e6:,.0f} MB are possible"
        )
    for number, entry in enumerate(entries):
        path = normpath(entry.filename)
        parts = set(path.split("/"))
        if path.startswith("/") or {".", ".."} & parts:
            raise ValueError(f"{entry.filename} lies outside of it")
        if (objection := why_no_disk_takes(PLUGINS_PREFIX + path)) is not None:
            raise ValueError(objection.strip())
        if {"__pycache__", "__MACOSX"} & parts:
            continue
        content = place / f"{number}.plugin"
        with archive.open(entry) as packed, content.open("w+b") as file:
            copyfileobj(packed, file, _CHUNK)
            file.seek(0)
            found.plugins[PLUGINS_PREFIX + path] = file_digest(file, "sha256").hexdigest()
        found.fresh[PLUGINS_PREFIX + path] = content
