"""First step of a deployment: what does the folder hold now, and what of it must be parsed?

The folder is whatever lies under `dags/` in the bucket. Its snapshot is an immutable zip named by the hash of its
content. A file is parsed again when its fingerprint no longer is the stored one, and the stored one is written after
everything else that the file gave: a deployment that died half-way has left fingerprints that do not fit, and the next
one does the rest.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from io import BytesIO
from posixpath import dirname
from typing import Any, Final

import gust
from gust.errors import NotFound
from gust.model.bundle import SourceFile
from gust.model.dag_spec import SPEC_VERSION
from gust.model.deployment import DAGS_PREFIX, PLUGINS_PREFIX, Manifest, Plan
from gust.services.context import Services
from gust.services.deployment_keys import bundle_key, manifest_key, plan_key
from gust.services.deployment_turn import give_up_turn, keep_turn, take_turn
from gust.services.ports import Objects

BATCH: Final = 50
"""Files that one function parses in turn, at some 50 ms each: as long as a cold start with Airflow's import takes."""

PARALLEL: Final = 16
"""Requests to the bucket or table at a time."""

ANOTHER_TRY_AFTER: Final = timedelta(minutes=5)
"""A file that ran out of time holds up every deployment that parses it: not each of them shall."""

ABSENT: Final = "-"

WHOLE: Final = "**"
"""`folder/**` stands for all that is below the folder, names and contents; alone for all there is."""

PARSER: Final = f"gust {gust.__version__} spec {SPEC_VERSION}"
"""Part of every fingerprint: another parser may find something else in the same file."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    changed: bool
    """There is something to do."""
    busy: bool = False
    """Another deployment is at it: come again in a moment."""
    plan: str | None = None
    """Its key."""
    batches: int = 0
    files: int = 0

    def to_event(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "busy": self.busy,
            "plan": self.plan,
            "batches": list(range(self.batches)),
        }


def snapshot(services: Services, deployment: str) -> Snapshot:
    """Store the folder as a bundle and plan what leads from the active bundle to it, for the deployment of that name.

    Where nothing is left to do, the deployment gives up its turn, unless something came meanwhile: then it looks again.
    """
    while True:
        if not take_turn(services.store, deployment, services.clock.now()):
            return Snapshot(changed=False, busy=True)
        taken = look(services, deployment)
        if taken.changed:
            keep_turn(services.store, deployment, services.clock.now(), files=taken.files)
            return taken
        if give_up_turn(services.store, deployment):
            return taken


def look(services: Services, deployment: str) -> Snapshot:
    services.store.set_alive("dag_processor", services.clock.now())
    active = services.store.active_bundle()
    before = manifest_of(services.objects, active.version) if active else None
    folder = read_folder(services.objects, before)
    known = {source.relative_path: source for source in services.store.list_source_files()}
    to_parse = files_to_parse(folder.manifest.files, known, services.clock.now())
    removed = sorted(known.keys() - set(parseable(folder.manifest.files)))
    if active and active.version == folder.manifest.version and not to_parse and not removed:
        return Snapshot(changed=False)

    store_bundle(services.objects, folder, before)
    plan = Plan(
        bundle_version=folder.manifest.version,
        replacing=active.version if active else None,
        batches=tuple(tuple(to_parse[at : at + BATCH]) for at in range(0, len(to_parse), BATCH)),
        removed=tuple(removed),
    )
    key = plan_key(plan, deployment)
    services.objects.put(key, plan.model_dump_json().encode(), content_type="application/json")
    return Snapshot(changed=True, plan=key, batches=len(plan.batches), files=len(to_parse))


# --- the folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Folder:
    manifest: Manifest
    fresh: Mapping[str, bytes]
    """Contents that had to be fetched; the others are in the bundle before."""


def read_folder(objects: Objects, before: Manifest | None) -> Folder:
    """The folder's files; only what changed since `before` is fetched.

    A file that changes while it is read is taken as it was read, and its entity tag is not remembered, so that the next
    snapshot (its event is on the way) looks again.
    """
    listed = files_in(objects.list(DAGS_PREFIX))
    known = {
        path: before.files[path]
        for path, etag in listed.items()
        if before is not None and before.etags.get(path) == etag
    }
    fresh = fetch_all(objects, [path for path in listed if path not in known])
    after = files_in(objects.list(DAGS_PREFIX)) if fresh else listed
    files = known | {path: sha256(content).hexdigest() for path, content in fresh.items()}
    manifest = Manifest(
        version=version_of(files),
        files=dict(sorted(files.items())),
        etags={path: listed[path] for path in sorted(files) if listed[path] == after.get(path)},
    )
    return Folder(manifest, fresh)


def files_in(listing: Mapping[str, str]) -> dict[str, str]:
    """Relative path → entity tag; without folder markers, compiled Python, and files in whose place is a folder."""
    files = {
        path: etag
        for key, etag in listing.items()
        if (path := key.removeprefix(DAGS_PREFIX)) and is_file_of_a_bundle(path)
    }
    folders = {parent for path in files for parent in parents(path)}
    return {path: etag for path, etag in files.items() if path not in folders}


def is_file_of_a_bundle(path: str) -> bool:
    parts = path.split("/")
    return not ({"", ".", "..", "__pycache__"} & set(parts))


def parents(path: str) -> Iterable[str]:
    while path := dirname(path):
        yield path


def fetch_all(objects: Objects, paths: Iterable[str]) -> dict[str, bytes]:
    """Contents by path; a file that was deleted meanwhile is left out."""

    def fetch(path: str) -> tuple[str, bytes | None]:
        try:
            return path, objects.get(f"{DAGS_PREFIX}{path}")
        except NotFound:
            return path, None

    with ThreadPoolExecutor(PARALLEL) as pool:
        return {path: content for path, content in pool.map(fetch, paths) if content is not None}


def version_of(files: Mapping[str, str]) -> str:
    """The bundle's name: a hash over paths and contents."""
    return hashed(f"{path}\0{files[path]}" for path in sorted(files))


def manifest_of(objects: Objects, version: str) -> Manifest | None:
    """What the bundle holds; `None` where nobody knows any more, which costs fetching everything anew."""
    try:
        return Manifest.model_validate_json(objects.get(manifest_key(version)))
    except NotFound:
        return None


# --- the bundle -------------------------------------------------------------------------------------------------------


def store_bundle(objects: Objects, folder: Folder, before: Manifest | None) -> None:
    """Zip first, manifest second: a manifest speaks of a zip that is there."""
    version = folder.manifest.version
    if not objects.exists(bundle_key(version)):
        contents = dict(folder.fresh)
        if missing := folder.manifest.files.keys() - contents.keys():
            contents |= from_bundle(objects, before, missing)
        objects.put_once(bundle_key(version), zipped(contents), content_type="application/zip")
    objects.put(manifest_key(version), folder.manifest.model_dump_json().encode(), content_type="application/json")


def from_bundle(objects: Objects, before: Manifest | None, paths: Iterable[str]) -> dict[str, bytes]:
    if before is None:
        raise ValueError("Files are known only from the bundle before")
    with zipfile.ZipFile(BytesIO(objects.get(bundle_key(before.version)))) as archive:
        return {path: archive.read(path) for path in paths}


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """The same contents give the same bytes: sorted, without times."""
    body = BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(contents):
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[path])
    return body.getvalue()


# --- what to parse ----------------------------------------------------------------------------------------------------


def parseable(files: Iterable[str]) -> Iterable[str]:
    """Files that may hold DAGs. Which of them do, Airflow's own search says (`.airflowignore`, safe mode) when they are
    parsed: a file that is none has an outcome too, an empty one."""
    return (path for path in files if path.endswith((".py", ".zip")) and not path.startswith(PLUGINS_PREFIX))


def files_to_parse(files: Mapping[str, str], known: Mapping[str, SourceFile], now: datetime) -> list[str]:
    common = common_fingerprint(files)

    def holds(source: SourceFile) -> bool:
        """Whether parsing the file again would give what it gave."""
        if source.is_worth_another_try and (source.parsed_at is None or source.parsed_at + ANOTHER_TRY_AFTER <= now):
            return False
        return source.fingerprint == fingerprint(source.relative_path, source.imports, files, common)

    return [path for path in sorted(parseable(files)) if path not in known or not holds(known[path])]


def common_fingerprint(files: Mapping[str, str]) -> str:
    """What every file depends on: plugins, the `.airflowignore` files, the parser itself."""
    shared = (f"{p}\0{files[p]}" for p in sorted(files) if p.startswith(PLUGINS_PREFIX) or p.endswith(".airflowignore"))
    return hashed([PARSER, *shared])


def fingerprint(path: str, imports: Iterable[str], files: Mapping[str, str], common: str) -> str:
    """Equal for equal contents of the file and of everything its outcome depended on."""
    return hashed([common, *(f"{on}\0{content_of(on, files)}" for on in [path, *sorted(imports)])])


def content_of(dependency: str, files: Mapping[str, str]) -> str:
    """A file's hash; for a folder (`name/`, `./` for the root) a hash of the names in it, for `name/**` of all that is
    below it; `-` for what is not there."""
    if dependency.endswith(WHOLE):
        below = [path for path in files if path.startswith(dependency.removesuffix(WHOLE))]
        return hashed(f"{path}\0{files[path]}" for path in sorted(below)) if below else ABSENT
    if not dependency.endswith("/"):
        return files.get(dependency, ABSENT)
    prefix = "" if dependency == "./" else dependency
    names = {path[len(prefix) :].split("/")[0] for path in files if path.startswith(prefix)}
    return hashed(sorted(names)) if names else ABSENT


def hashed(lines: Iterable[str]) -> str:
    digest = sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
