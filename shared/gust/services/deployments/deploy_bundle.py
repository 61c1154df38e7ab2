"""First step of a deployment: store a snapshot of the folder, and plan which of its files to parse.

The folder is everything under `dags/` in the bucket. Its snapshot is an immutable zip named by the hash of its
content. A file is parsed again when its fingerprint differs from the stored one. Activation stores the fingerprint after
everything else of the file: a deployment that died half-way leaves old fingerprints, and the next one does the rest.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import file_digest, sha256
from math import ceil
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, Final

import gust
from gust.errors import NotFound, ServiceUnavailable
from gust.model import bucket_keys
from gust.model.bounds import LARGEST_FOLDER
from gust.model.bundle import PLUGINS_PREFIX, DeploymentTurn, SourceFile, hashed, version_of
from gust.model.dag_spec import SPEC_VERSION
from gust.model.deployment import Manifest, Plan
from gust.model.environment import (
    ENVIRONMENTS_FILE,
    OPTIONS_FILE,
    OURS,
    OUTSIDE,
    REQUIREMENTS,
    VARIABLES_FILE,
    Build,
    Environments,
)
from gust.model.event_rule import is_events_file
from gust.model.object_entry import ObjectEntry
from gust.ports.objects import Objects
from gust.services.context import Services
from gust.services.deployments.bucket_root import read_root
from gust.services.deployments.configuration import make_current, options_of
from gust.services.deployments.deployment_turn import SignsOfLife, begin_builds, begin_round, give_up_turn, take_turn
from gust.services.deployments.environments import PlannedEnvironments, plan_environments
from gust.services.deployments.fail_deployment import THE_FOLDER
from gust.services.deployments.paths import parents, shown, why_no_disk_takes
from gust.services.deployments.requirements_file import LARGEST_TEXT, text_of
from gust.services.events.follow_events import follow_events
from gust.services.settings.settings_read import versions_now
from gust.services.workers_of import architectures_of_workers

BATCH: Final = 50
"""Files that one function parses in turn, at some 50 ms each: as long as a cold start with Airflow's import takes."""

PARSERS: Final = 8
"""How many functions parse at the same time."""

RESOLUTION: Final = 2.0
"""Seconds by which a file may seem older than it is: S3's times are in whole seconds, of a clock of its own."""

PARALLEL: Final = 16
"""Requests to the bucket or table at a time."""

CHUNK: Final = 1024 * 1024
"""Bytes of a file in memory at a time."""

ANOTHER_TRY_AFTER: Final = timedelta(minutes=5)
"""A file that ran out of time delays every deployment that parses it, so it is retried only after this time."""

ABSENT: Final = "-"

WHOLE: Final = "**"
"""`folder/**` stands for everything below the folder, names and contents; alone, for the whole folder of DAGs."""

LARGEST_READ: Final = 4 * LARGEST_TEXT
"""Bytes of a file that a `requirements.txt` may name: more have more characters than are read. Such a file may be larger
than this function's memory."""

TOO_LONG: Final = " " * (LARGEST_TEXT + 1)
"""Stands for its text."""

NO_ENVIRONMENTS: Final = Environments()

PARSER: Final = f"gust {gust.__version__} spec {SPEC_VERSION} settings"
"""Part of every fingerprint: another version of the parser may find different DAGs in the same file."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    changed: bool
    """There is something to do."""
    busy: bool = False
    """Another deployment has the turn: try again in a moment."""
    plan: str | None = None
    """Its key."""
    batches: int = 0
    files: int = 0
    is_of_newcomers: bool = False
    """The plan holds only files uploaded since the last look. They come first, because older ones may never end parsing."""
    builds: tuple[Build, ...] = ()
    """Environments to build before anything else; then there is no plan."""

    def to_event(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "busy": self.busy,
            "plan": self.plan,
            "batches": list(range(self.batches)),
            "building": bool(self.builds),
            "builds": [build.model_dump() for build in self.builds],
        }


def snapshot(services: Services, deployment: str, *, parsers: int = PARSERS) -> Snapshot:
    """Store the folder as a bundle and plan the steps from the active bundle to it, for the deployment of that name, with at
    most that many parsers.

    If nothing is left to do, the deployment gives up its turn, unless files came meanwhile: then it looks again.
    """
    while True:
        turn = take_turn(services.store, deployment, services.clock.now())
        if turn is None:
            return Snapshot(changed=False, busy=True)
        began = services.clock.now()
        taken = look(services, turn, parsers)
        if taken.builds:
            begin_builds(services.store, deployment, services.clock.now())
            return taken
        if taken.changed:
            begin_round(
                services.store,
                deployment,
                services.clock.now(),
                files=taken.files,
                looked_at=None if taken.is_of_newcomers else began,
            )
            return taken
        if give_up_turn(services.store, deployment):
            return taken


def look(services: Services, turn: DeploymentTurn, parsers: int) -> Snapshot:
    services.store.set_alive("dag_processor", services.clock.now())
    active = services.store.active_bundle()
    before = manifest_of(services.objects, active.version) if active else None
    known = {source.relative_path: source for source in services.store.list_source_files()}
    settings = versions_now(services.store, (name for source in known.values() for name in source.settings))
    with TemporaryDirectory(prefix="gust-snapshot-", ignore_cleanup_errors=True) as place:
        alive = SignsOfLife(services.store, turn.holder, services.clock)
        folder = read_folder(services.objects, before, Path(place), alive)
        began = turn.began or services.clock.now()
        planned = environments_of(services, folder, before, began)
        folder = with_root(services.objects, folder, before, Path(place))
        folder = with_options(services, folder, before, Path(place))
        folder = naming(folder, planned.environments, Path(place))
        files = folder.manifest.files
        changed = files_to_parse(files, known, settings, began, planned.environments)
        to_parse = [path for path in changed if not planned.is_waiting(path)]
        refusals = {**folder.refused, **planned.refused}
        refused = {
            path: why
            for path, why in refusals.items()
            if path not in known or known[path].fingerprint != fingerprint_of_refused(why)
        }
        removed = sorted(known.keys() - set(parseable(files)) - refusals.keys() - planned.waiting_files)
        if not to_parse and not removed and not refused:
            if planned.builds:
                return Snapshot(changed=True, builds=planned.builds)
            if active is not None and active.version == folder.manifest.version:
                follow_events(services, ())  # the bus may be another than the last deployment's
                services.store.delete_import_problem(THE_FOLDER)
                return Snapshot(changed=False)
        store_bundle(services.objects, folder, before, Path(place), alive)

    now = newcomers_of(to_parse, folder.modified, turn) or to_parse
    plan = Plan(
        bundle_version=folder.manifest.version,
        replacing=active.version if active else None,
        batches=batches_of(sorted(now, key=lambda path: (-folder.modified[path], path)), turn.rounds, parsers),
        waiting=tuple(path for path in changed if path not in now),
        made_at=services.clock.now(),
        removed=tuple(removed),
        refused=refused,
    )
    key = bucket_keys.plan(plan, turn.holder)
    if to_parse:
        services.objects.put(
            bucket_keys.parser_token(key), services.tokens.for_parser(now=services.clock.now()).encode()
        )
    services.objects.put(key, plan.model_dump_json().encode(), content_type="application/json")
    return Snapshot(
        changed=True,
        plan=key,
        batches=len(plan.batches),
        files=len(now),
        is_of_newcomers=len(now) < len(to_parse),
    )


# --- the folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Folder:
    manifest: Manifest
    fresh: Mapping[str, Path]
    """Fetched files, on the disk; the others are in the bundle before."""
    refused: Mapping[str, str]
    """Path of a file that is left out, as an import error shows it → why."""
    modified: Mapping[str, float]
    """When each file was uploaded."""
    sizes: Mapping[str, int]
    """Bytes of each file."""


def read_folder(objects: Objects, before: Manifest | None, place: Path, alive: Callable[[], None]) -> Folder:
    """The folder's files. Fetches only files that changed since `before`, into `place`. Calls `alive` between any two.

    If a file changes while it is read, the snapshot has the content read and does not store its entity tag, so that the next
    snapshot (its event is on the way) reads it again.
    """
    listed, refused = files_in(objects.entries(bucket_keys.DAGS))
    known = {
        path: before.files[path]
        for path, entry in listed.items()
        if before is not None and before.etags.get(path) == entry.etag
    }
    fresh = fetch_all(objects, [path for path in listed if path not in known], place, alive)
    after = files_in(objects.entries(bucket_keys.DAGS))[0] if fresh else listed
    files = known | {path: digest for path, (_, digest) in fresh.items()}
    manifest = Manifest(
        version=version_of(files),
        files=dict(sorted(files.items())),
        etags={path: listed[path].etag for path in sorted(files) if listed[path] == after.get(path)},
    )
    modified = {path: entry.modified for path, entry in listed.items()}
    sizes = {path: entry.size for path, entry in listed.items()}
    return Folder(manifest, {path: content for path, (content, _) in fresh.items()}, refused, modified, sizes)


def environments_of(
    services: Services, folder: Folder, before: Manifest | None, began: datetime
) -> PlannedEnvironments:
    """The environments of the folder's `requirements.txt` files, and of the one beside `dags/` in the bucket, where
    MWAA has it: for the stack's own functions, and for each other architecture of its workers."""
    objects = services.objects
    outside = objects.entries(REQUIREMENTS).get(REQUIREMENTS)
    above = f"{OUTSIDE}/{REQUIREMENTS}"

    def read(path: str) -> str | None:
        if path == above:
            if outside is None:
                return None
            return TOO_LONG if outside.size > LARGEST_READ else text_of(objects.get(REQUIREMENTS))
        if path not in folder.manifest.files:
            return None
        if folder.sizes.get(path, 0) > LARGEST_READ:
            return TOO_LONG
        body = folder.fresh[path].read_bytes() if path in folder.fresh else objects.get(bucket_keys.uploaded_file(path))
        if sha256(body).hexdigest() != folder.manifest.files[path]:
            raise ServiceUnavailable(f"{path} changed while the folder was read")
        return text_of(body)

    return plan_environments(
        objects,
        [*folder.manifest.files, *([above] if outside else [])],
        before.environments if before else Environments(),
        read=read,
        uploaded=lambda path: outside.modified if outside and path == above else folder.modified.get(path, 0.0),
        began=began,
        also=architectures_of_workers(services),
    )


def with_root(objects: Objects, folder: Folder, before: Manifest | None, place: Path) -> Folder:
    """The folder with the files of `plugins.zip` and `startup.sh` beside it, and their errors."""
    room = LARGEST_FOLDER - sum(folder.sizes.values())
    root = read_root(objects, before, place, own_plugins=folder.manifest.files, room=room)
    written = {VARIABLES_FILE: json.dumps(root.variables, sort_keys=True)} if root.variables else {}
    folder = with_files(folder, root.plugins, root.fresh, written, place)
    manifest = folder.manifest.model_copy(
        update={
            "variables": dict(root.variables),
            "from_plugins_zip": tuple(sorted(root.plugins)),
            "etags": {**folder.manifest.etags, **root.tags},
        }
    )
    return replace(folder, manifest=manifest, refused={**folder.refused, **root.refused})


def with_options(services: Services, folder: Folder, before: Manifest | None, place: Path) -> Folder:
    """The folder with Airflow's options, and the errors of the document they are from. The options hold from now on for
    functions that have no bundle."""
    options, refused = options_of(services.configuration, before)
    make_current(services, options)
    written = {OPTIONS_FILE: json.dumps(options, sort_keys=True)} if options else {}
    folder = with_files(folder, {}, {}, written, place)
    manifest = folder.manifest.model_copy(update={"options": options})
    return replace(folder, manifest=manifest, refused={**folder.refused, **refused})


def naming(folder: Folder, environments: Environments, place: Path) -> Folder:
    """The folder with a file that names its environments, if it has any."""
    if not environments.of:
        return folder
    folder = with_files(folder, {}, {}, {ENVIRONMENTS_FILE: environments.model_dump_json(exclude_defaults=True)}, place)
    return replace(folder, manifest=folder.manifest.model_copy(update={"environments": environments}))


def with_files(
    folder: Folder, hashes: Mapping[str, str], fresh: Mapping[str, Path], written: Mapping[str, str], place: Path
) -> Folder:
    """The folder with further files: by their hashes, of which `fresh` has contents, and by their texts."""
    if not hashes and not written:
        return folder
    files, contents = {**folder.manifest.files, **hashes}, {**folder.fresh, **fresh}
    for path, text in written.items():
        contents[path] = place / path.replace("/", "-")
        contents[path].write_text(text)
        files[path] = sha256(text.encode()).hexdigest()
    files = dict(sorted(files.items()))
    manifest = folder.manifest.model_copy(update={"version": version_of(files), "files": files})
    return replace(folder, manifest=manifest, fresh=contents)


def files_in(listing: Mapping[str, ObjectEntry]) -> tuple[dict[str, ObjectEntry], dict[str, str]]:
    """(relative path → entry, refused path → why), without folder markers, compiled Python, and files that have the name of
    a folder."""
    entries: dict[str, ObjectEntry] = {}
    refused: dict[str, str] = {}
    for key, entry in listing.items():
        path = key.removeprefix(bucket_keys.DAGS)
        if not is_file_of_a_bundle(path):
            continue
        if why := why_no_disk_takes(path):
            refused[shown(path)] = why
        else:
            entries[path] = entry
    folders = {parent for path in entries for parent in parents(path)}
    entries = {path: entry for path, entry in entries.items() if path not in folders}
    total = sum(entry.size for entry in entries.values())
    for path in sorted(entries, key=lambda path: (-entries[path].size, path)):
        if total <= LARGEST_FOLDER:
            break
        size = entries.pop(path).size
        refused[path] = (
            f"{path} is left out: the folder takes {total / 1e6:,.0f} MB, {LARGEST_FOLDER / 1e6:,.0f} are possible, and "
            f"this is the largest of its files, with {size / 1e6:,.1f} MB.\n"
        )
        total -= size
    return entries, refused


def is_file_of_a_bundle(path: str) -> bool:
    parts = path.split("/")
    return not ({"", ".", "..", "__pycache__"} & set(parts)) and not f"{path}/".startswith(OURS)


def fetch_all(
    objects: Objects, paths: Iterable[str], place: Path, alive: Callable[[], None]
) -> dict[str, tuple[Path, str]]:
    """Path → (local file, hash of its content). A file that was deleted meanwhile is left out."""

    def fetch(numbered: tuple[int, str]) -> tuple[str, Path, str] | None:
        number, path = numbered
        alive()
        content = place / f"{number}.fetched"
        with content.open("w+b") as file:
            try:
                objects.download(bucket_keys.uploaded_file(path), file)
            except NotFound:
                return None
            file.seek(0)
            return path, content, file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(PARALLEL) as pool:
        fetched = list(pool.map(fetch, enumerate(paths)))
    return {path: (content, digest) for path, content, digest in filter(None, fetched)}


def manifest_of(objects: Objects, version: str) -> Manifest | None:
    """The bundle's manifest; `None` if it is gone, which costs fetching all files anew."""
    try:
        return Manifest.model_validate_json(objects.get(bucket_keys.manifest(version)))
    except NotFound:
        return None


# --- the bundle -------------------------------------------------------------------------------------------------------


def store_bundle(
    objects: Objects, folder: Folder, before: Manifest | None, place: Path, alive: Callable[[], None]
) -> None:
    """Store the zip first, the manifest second: a manifest implies its zip. Meanwhile both zips are on the disk, not in
    memory."""
    version = folder.manifest.version
    if not objects.exists(bucket_keys.bundle(version)):
        with ExitStack() as open_files:
            old: zipfile.ZipFile | None = None
            if folder.manifest.files.keys() - folder.fresh.keys():
                old = open_files.enter_context(bundle_before(objects, before, place))
            body = open_files.enter_context(TemporaryFile(dir=place))
            zip_up(folder, old, body, alive)
            body.seek(0)
            objects.put_once(bucket_keys.bundle(version), body, content_type="application/zip")
    objects.put(
        bucket_keys.manifest(version), folder.manifest.model_dump_json().encode(), content_type="application/json"
    )


@contextmanager
def bundle_before(objects: Objects, before: Manifest | None, place: Path) -> Iterator[zipfile.ZipFile]:
    if before is None:
        raise ValueError("Files are known only from the bundle before")
    with TemporaryFile(dir=place) as body:
        objects.download(bucket_keys.bundle(before.version), body)
        with zipfile.ZipFile(body) as archive:
            yield archive


def zip_up(folder: Folder, old: zipfile.ZipFile | None, into: IO[bytes], alive: Callable[[], None]) -> None:
    """Write the zip. Equal contents give equal bytes: sorted, without times. Each fetched file is deleted once it is
    packed."""
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.manifest.files:
            alive()
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            fetched = folder.fresh.get(path)
            with opened(path, fetched, old) as content, archive.open(entry, "w") as packed:
                copyfileobj(content, packed, CHUNK)
            if fetched is not None:
                fetched.unlink()


def opened(path: str, fetched: Path | None, old: zipfile.ZipFile | None) -> IO[bytes]:
    if fetched is not None:
        return fetched.open("rb")
    assert old is not None  # noqa: S101 - what was not fetched is known from it
    return old.open(path)


# --- what to parse ----------------------------------------------------------------------------------------------------


def parseable(files: Iterable[str]) -> Iterable[str]:
    """Files that may hold DAGs, and those that say which events start them. Airflow's own search (`.airflowignore`, safe
    mode) decides when they are parsed: a file without DAGs has an empty outcome."""
    return (
        path
        for path in files
        if (path.endswith((".py", ".zip")) or is_events_file(path)) and not path.startswith(PLUGINS_PREFIX)
    )


def files_to_parse(
    files: Mapping[str, str],
    known: Mapping[str, SourceFile],
    settings: Mapping[str, str],
    began: datetime,
    environments: Environments = NO_ENVIRONMENTS,
) -> list[str]:
    """Files whose outcome may have changed. If there are none: the files that are worth another try, each once in a
    deployment, which `began` then. These may use a file's whole time limit, so no new file waits for them.

    `settings`: name → present version of the setting."""
    common = common_fingerprint(files)

    def holds(source: SourceFile) -> bool:
        """Whether parsing the file again would give the stored outcome."""
        if source.parsed_at is None or any(settings[name] != version for name, version in source.settings.items()):
            return False
        path = source.relative_path
        return source.fingerprint == fingerprint(path, source.imports, files, common, environments.of_file(path))

    def may_do_better(source: SourceFile) -> bool:
        return source.is_worth_another_try and (
            source.parsed_at is None or source.parsed_at + ANOTHER_TRY_AFTER <= began
        )

    candidates = sorted(parseable(files))
    changed = [path for path in candidates if path not in known or not holds(known[path])]
    return changed or [path for path in candidates if may_do_better(known[path])]


def newcomers_of(paths: Sequence[str], modified: Mapping[str, float], turn: DeploymentTurn) -> list[str]:
    """The files uploaded since the deployment's last look. Empty if it never looked, or if its last plan was of such
    files."""
    if turn.looked_at is None:
        return []
    return [path for path in paths if modified[path] >= turn.looked_at.timestamp() - RESOLUTION]


def batches_of(paths: Sequence[str], rounds: int, parsers: int) -> tuple[tuple[str, ...], ...]:
    """The files, a batch for each parser. A few files are one batch: another parser would take longer to start. Files that a
    round left over take long: all parsers share them."""
    size = max(BATCH if rounds == 0 else 1, ceil(len(paths) / parsers))
    return tuple(tuple(paths[at : at + size]) for at in range(0, len(paths), size))


def common_fingerprint(files: Mapping[str, str]) -> str:
    """A hash of the inputs that all files depend on: plugins, the `.airflowignore` files, variables of `startup.sh`,
    Airflow's options, the parser itself."""
    shared = (f"{p}\0{files[p]}" for p in sorted(files) if decides_for_all(p))
    return hashed([PARSER, *shared])


def decides_for_all(path: str) -> bool:
    return path.startswith(PLUGINS_PREFIX) or path.endswith(".airflowignore") or path in (VARIABLES_FILE, OPTIONS_FILE)


def fingerprint(
    path: str, imports: Iterable[str], files: Mapping[str, str], common: str, environment: str | None = None
) -> str:
    """A hash of the file and of everything that its outcome depended on."""
    around = [common] if environment is None else [common, f"environment\0{environment}"]
    return hashed([*around, *(f"{on}\0{content_of(on, files)}" for on in [path, *sorted(imports)])])


def fingerprint_of_refused(why: str) -> str:
    """The fingerprint of a file that the bundle leaves out: a new reason makes a new import error."""
    return hashed([PARSER, why])


def content_of(dependency: str, files: Mapping[str, str]) -> str:
    """A file's hash; for a folder (`name/`, `./` for the root) a hash of the names in it, for `name/**` of everything below
    it; `-` for a missing file or folder."""
    if dependency.endswith(WHOLE):
        below = [path for path in files if path.startswith(dependency.removesuffix(WHOLE))]
        return hashed(f"{path}\0{files[path]}" for path in sorted(below)) if below else ABSENT
    if not dependency.endswith("/"):
        return files.get(dependency, ABSENT)
    prefix = "" if dependency == "./" else dependency
    names = {path[len(prefix) :].split("/")[0] for path in files if path.startswith(prefix)}
    return hashed(sorted(names)) if names else ABSENT
