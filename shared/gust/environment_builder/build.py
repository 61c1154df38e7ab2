"""Build one environment: resolve the recipe against Airflow's pins, install its wheels, store them as an archive.

The builder runs no code of a package: it takes wheels alone, and builds none from source. The archive leaves out the
packages that the layers have, so it can stand behind them on a task's path. Its name is the hash of its content.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any, Final

from gust.environment_builder.index_variables import FILE
from gust.environment_builder.uv import Refused, Uv
from gust.errors import NotFound
from gust.model import bucket_keys
from gust.model.architecture import MACHINES
from gust.model.bounds import cut
from gust.model.bundle import version_of
from gust.model.connection_form import declared_in, forms_of
from gust.model.environment import GLIBC, Build, Built, Recipe
from gust.ports.objects import Objects
from gust.services.deployments import pins
from gust.services.deployments.environments import interpreter
from gust.services.deployments.pins import normalized

WHEELS_ALONE: Final = ("--only-binary", ":all:")

LOCK: Final = "lock.txt"

COMPILES_FOR: Final = 120.0
"""Seconds. Each task compiles for itself the modules that are not compiled by then."""

LARGEST_CONSTRAINTS: Final = 1_000_000
"""Bytes of the largest constraints file that is read from an address."""

LONG: Final = 1_500
"""Characters of a message: no person reads a longer one to its end."""

OF_ITS_OWN: Final = "A package that contradicts Airflow's can have a virtual environment of its own (docs/packages.md)."

_LOCKED: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:==(\S+)| @ (\S+))")
_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")
_PRERELEASE: Final = re.compile(r"\d[._-]?(?:a|b|c|rc|alpha|beta|pre|preview|dev)[._-]?\d*", re.IGNORECASE)
_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK: Final = 1024 * 1024

FASTEST: Final = 1
"""Level of compression: 2.4 times as fast as zlib's default, for archives that are an eighth larger (measured with pandas,
pyarrow and the postgres, snowflake and slack providers)."""

Fetch = Callable[[str], str]


def build(
    objects: Objects,
    order: Build,
    uv: Uv,
    *,
    largest: int,
    clock: Callable[[], float] = time.time,
    fetch: Fetch | None = None,
) -> Built:
    """Build the recipe and store the outcome. A recipe that was built successfully is not built again. `largest`: bytes that
    the environment may take, unpacked."""
    before = outcome_of(objects, order.recipe)
    if before is not None and before.problem is None:
        return before
    recipe = Recipe.model_validate_json(objects.get(bucket_keys.recipe(order.recipe)))
    uv = replace(uv, platform=platform_of(recipe))
    like = outcome_of(objects, order.like) if order.like else None
    with tempfile.TemporaryDirectory(prefix="gust-environment-", ignore_cleanup_errors=True) as place:
        try:
            (Path(place) / LOCK).write_text(like.lock if like else "")
            built = _build(objects, recipe, uv, Path(place).resolve(), largest=largest, fetch=fetch or fetched)
        except Refused as refused:
            built = Built(problem=cut(f"{refused}\n"))
    built = built.model_copy(update={"file": order.file, "built_at": clock(), "uploaded": order.uploaded})
    return keep(objects, order, built)


def give_up(objects: Objects, order: Build, why: str, *, clock: Callable[[], float] = time.time) -> Built:
    """Store a failure, because the builder died at the recipe again and again."""
    return refuse(objects, order, f"The builder died at it: {why}", clock=clock)


def refuse(objects: Objects, order: Build, why: str, *, clock: Callable[[], float] = time.time) -> Built:
    """Store a failure that was met before the build."""
    built = Built(problem=cut(f"{why}\n"), file=order.file, built_at=clock(), uploaded=order.uploaded)
    return keep(objects, order, built)


def platform_of(recipe: Recipe) -> str:
    """uv's name of the recipe's platform; empty where that is this machine's. Packages for another one run where glibc is
    `GLIBC` or later."""
    architecture = next((name for name in MACHINES if recipe.python == interpreter(name)), "")
    if recipe.python == interpreter() or not architecture:
        return ""
    return f"{MACHINES[architecture]}-manylinux_{'_'.join(map(str, GLIBC))}"


def outcome_of(objects: Objects, recipe: str) -> Built | None:
    try:
        return Built.model_validate_json(objects.get(bucket_keys.built(recipe)))
    except (NotFound, ValueError):
        return None


def keep(objects: Objects, order: Build, built: Built) -> Built:
    """Store the outcome, after all that it names; returns the stored one. Two builders may have built the recipe: a failure
    does not take the place of a success."""
    other = outcome_of(objects, order.recipe) if built.problem is not None else None
    if other is not None and other.problem is None:
        return other
    objects.put(bucket_keys.built(order.recipe), built.model_dump_json().encode(), content_type="application/json")
    return built


def _build(objects: Objects, recipe: Recipe, uv: Uv, place: Path, *, largest: int, fetch: Fetch) -> Built:
    locked = resolve(recipe, uv, place, fetch)
    wanted = {name: block for name, block in locked.items() if name not in pins.names()}
    if not wanted:
        return Built()
    lock = "".join(wanted.values())
    packages = install(recipe, lock, uv, place)
    size = sum(file.stat().st_size for file in files_of(packages))
    if size > largest:
        raise Refused(too_large(packages, size, largest))
    compile_all(packages)
    archive = store(objects, packages, place)
    store_providers(objects, archive, packages)
    versions = {name: (found[2] or found[3]) for name, block in wanted.items() if (found := _LOCKED.match(block))}
    total = sum(file.stat().st_size for file in files_of(packages))
    return Built(archive=archive, packages=versions, lock=lock, size=total)


# --- resolving --------------------------------------------------------------------------------------------------------


def resolve(recipe: Recipe, uv: Uv, place: Path, fetch: Fetch) -> dict[str, str]:
    """Package → its lines of the lock, with hashes."""
    refuse_unknown_variables(recipe, uv)
    (place / "requirements.txt").write_text(_lines([*recipe.options, *recipe.requirements]))
    (place / "airflow-pins.txt").write_text(_lines(pins.constraints()))
    others = [*recipe.constraints]
    for address in recipe.constraint_urls:
        try:
            others += constraints_in(fetch(uv.expanded(address)))
        except Refused as refused:
            raise Refused(uv.masked(str(refused))) from refused
    (place / "constraints.txt").write_text(_lines(not_pinned(others)))
    try:
        lock = compiled(uv, place)
    except Refused as refused:
        raise Refused(explained(str(refused), recipe, uv, place)) from refused
    locked = dict(blocks(lock))
    if fallen_back := only_as_prerelease(locked, recipe, uv, place):
        raise Refused(fallen_back)
    for name, allowed in recipe.hashes.items():
        if name in locked:
            locked[name] = allowing(name, locked[name], allowed)
    return locked


def refuse_unknown_variables(recipe: Recipe, uv: Uv) -> None:
    """uv would leave the name of a variable in an index's address, and say that the index does not answer."""
    for line in (*recipe.options, *recipe.constraint_urls, *recipe.requirements):
        for name in _VARIABLE.findall(line):
            if name not in uv.variables:
                known = ", ".join(sorted(uv.variables)) or "none"
                raise Refused(
                    f"{line}: there is no variable {name}. Variables are those in the secret that the parameter "
                    f"PackageIndexSecret names, on your own machine in the file that {FILE} names ({known})."
                )


def compiled(uv: Uv, place: Path, *, also: Iterable[str] = ()) -> str:
    """The lock. `also`: further constraints. Versions of a lock that is there already are kept where they fit."""
    (place / "also.txt").write_text(_lines(also))
    out = place / LOCK
    uv.run(
        [
            *("pip", "compile", "requirements.txt", "--quiet", "--output-file", str(out)),
            *("--constraint", "airflow-pins.txt", "--constraint", "constraints.txt", "--constraint", "also.txt"),
            *("--generate-hashes", "--no-header", "--no-annotate", *WHEELS_ALONE),
        ],
        inside=place,
    )
    return out.read_text()


def newest(names: Iterable[str], recipe: Recipe, uv: Uv, place: Path) -> list[str]:
    """`name==version` of their newest releases, looked at alone. Empty where one of them has none that can be installed."""
    (place / "names.txt").write_text(_lines([*recipe.options, *names]))
    out = place / "newest.txt"
    arguments = ("--no-deps", "--prerelease", "disallow", "--no-header", "--no-annotate", *WHEELS_ALONE)
    try:
        uv.run(["pip", "compile", "names.txt", "--quiet", "--output-file", str(out), *arguments], inside=place)
    except Refused:
        return []
    return [line for line in out.read_text().splitlines() if _LOCKED.match(line)]


def explained(message: str, recipe: Recipe, uv: Uv, place: Path) -> str:
    """uv's message. Where it tells of hundreds of old versions, the one about the newest versions comes first."""
    if "No solution found" not in message:
        return message
    if len(message) > LONG:
        names = [named[0] for line in recipe.requirements if (named := _NAME.match(line))]
        try:
            compiled(uv, place, also=newest(names, recipe, uv, place))
        except Refused as shorter:
            if "No solution found" in str(shorter):
                message = f"{shorter}\n\nOf all versions together it says:\n{message}"
    return f"{message}\n{OF_ITS_OWN}"


def only_as_prerelease(locked: Mapping[str, str], recipe: Recipe, uv: Uv, place: Path) -> str | None:
    """uv takes a pre-release where no release fits. pip does not, and no author means it. The reason to refuse; `None`:
    the author names a pre-release, or the package has no other."""
    asked = {normalized(named[0]): line for line in recipe.requirements if (named := _NAME.match(line))}
    for name, line in asked.items():
        version = _LOCKED.match(locked.get(name, ""))
        if version is None or not _PRERELEASE.search(version[2] or "") or _PRERELEASE.search(line):
            continue
        if releases := newest([name], recipe, uv, place):
            try:
                compiled(uv, place, also=releases)
            except Refused as why:
                return (
                    f"No release of {name} fits to the other packages; only its pre-release {version[2]} does. Write "
                    f"{name}=={version[2]} if that is meant. Of the newest release uv says:\n{why}\n{OF_ITS_OWN}"
                )
    return None


def not_pinned(constraints: Iterable[str]) -> list[str]:
    """The constraints on packages that Airflow does not bring. Airflow's own packages have fixed versions: a constraint
    on one of them (Airflow's published constraints have many) would only make the resolution fail."""
    return [line for line in constraints if (name := _NAME.match(line)) and normalized(name[0]) not in pins.names()]


def constraints_in(text: str) -> list[str]:
    stripped = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("-")]


def blocks(lock: str) -> Iterator[tuple[str, str]]:
    """Normalized name → the lines about it."""
    block: list[str] = []
    for line in [*lock.splitlines(keepends=True), ""]:
        if block and not line.startswith((" ", "\t")):
            if (named := _LOCKED.match(block[0])) is not None:
                yield normalized(named[1]), "".join(block)
            block = []
        if line.strip():
            block.append(line)


def allowing(name: str, block: str, allowed: Sequence[str]) -> str:
    """The lock's lines of a package, with only the hashes that the author allows."""
    known = re.findall(r"--hash=(\S+)", block)
    both = [each for each in known if each in allowed]
    if not both:
        raise Refused(f"{name}: none of the hashes in the file is that of a wheel that was found.")
    first = block.splitlines()[0].rstrip("\\").strip()
    return " \\\n    ".join([first, *(f"--hash={each}" for each in both)]) + "\n"


def fetched(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310 - https alone, see requirements_file
            if not answer.url.startswith("https://"):
                raise Refused(f"{address} leads elsewhere than to an address of https.")
            body = answer.read(LARGEST_CONSTRAINTS + 1)
            if len(body) > LARGEST_CONSTRAINTS:
                raise Refused(f"The constraints at {address} have more than {LARGEST_CONSTRAINTS:,} bytes.")
            return str(body.decode(errors="replace"))
    except (OSError, ValueError) as error:
        raise Refused(f"The constraints at {address} cannot be read: {error}") from error


# --- installing -------------------------------------------------------------------------------------------------------


def install(recipe: Recipe, lock: str, uv: Uv, place: Path) -> Path:
    """The folder with the packages."""
    (place / "wanted.txt").write_text(_lines(recipe.options) + lock)
    packages = place / "packages"
    uv.run(
        [
            *("pip", "install", "--quiet", "--target", str(packages), "--no-deps", "--require-hashes"),
            *(*WHEELS_ALONE, "--link-mode", "copy", "-r", "wanted.txt"),
        ],
        inside=place,
    )
    for left in (packages / ".lock", *packages.glob("*.dist-info/uv_cache.json")):
        left.unlink(missing_ok=True)
    for script in (packages / "bin").glob("*"):
        free_of_place(script)
    return packages


def free_of_place(script: Path) -> None:
    """A package's script starts with the path of the interpreter that installed it. Have it look for `python` on the
    PATH."""
    body = script.read_bytes()
    own = sys.executable.encode()
    head, _, rest = body.partition(b"\n")
    if head.startswith(b"#!") and own in head:
        script.write_bytes(b"#!/usr/bin/env python\n" + rest)
    elif head == b"#!/bin/sh" and rest.startswith(b"'''exec'") and own in rest.split(b"\n", 1)[0]:
        script.write_bytes(b"#!/usr/bin/env python\n" + rest.split(b"\n", 2)[2])


def compile_all(packages: Path) -> None:
    """Compile all modules once, because a task cannot write bytecode. Runs in a process of its own, because a package's file
    may crash the compiler. Some packages bring files for other Pythons; those stay uncompiled."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    try:
        subprocess.run(  # noqa: S603
            [*command, "-x", r"[/\\]tests?[/\\]", "-s", str(packages), str(packages)],
            capture_output=True,
            check=False,
            timeout=COMPILES_FOR,
        )
    except subprocess.TimeoutExpired:
        return


def too_large(packages: Path, size: int, largest: int) -> str:
    by_folder = sorted(
        ((sum(file.stat().st_size for file in files_of(folder)), folder.name) for folder in packages.iterdir()),
        reverse=True,
    )
    heaviest = ", ".join(f"{name} {bytes_ / 1e6:,.0f} MB" for bytes_, name in by_folder[:5])
    return (
        f"The packages take {size / 1e6:,.0f} MB unpacked; {largest / 1e6:,.0f} are possible. The largest: {heaviest}.\n"
        "More room: the stack's parameter TaskStorage, or Fargate=Enabled, where it is not yet so."
    )


# --- storing ----------------------------------------------------------------------------------------------------------


def store(objects: Objects, packages: Path, place: Path) -> str:
    """Zip and upload; returns the hash of the content. The same content gives the same bytes."""
    files = {str(file.relative_to(packages)): file for file in files_of(packages)}
    hashes = {}
    for path, file in files.items():
        with file.open("rb") as content:
            hashes[path] = file_digest(content, "sha256").hexdigest()
    name = version_of(hashes)
    if objects.exists(bucket_keys.environment(name)):
        return name
    with (place / "packages.zip").open("w+b") as body:
        zip_up(files, body)
        body.seek(0)
        objects.put_once(bucket_keys.environment(name), body, content_type="application/zip")
    return name


def store_providers(objects: Objects, archive: str, packages: Path) -> None:
    """Its providers as the API lists them, and the forms of their connections for the web UI. Read, not run."""
    found = [
        declared
        for info in sorted((packages / "airflow" / "providers").rglob("get_provider_info.py"))
        if (declared := declared_in(info.read_text(errors="replace")))
    ]
    listed = [provider(declared, packages) for declared in found if "package-name" in declared]
    forms = [form for declared in found for form in forms_of(declared)]
    for key, documents in ((bucket_keys.providers(archive), listed), (bucket_keys.connection_forms(archive), forms)):
        if documents:
            objects.put_once(key, json.dumps(documents, default=str).encode(), content_type="application/json")


def provider(declared: Mapping[str, Any], packages: Path) -> dict[str, Any]:
    name = str(declared["package-name"])
    metadata = metadata_of(name, packages)
    return {
        "package_name": name,
        "description": re.sub("[`_<>]", "", str(declared.get("description", "")).strip(" \n.")),
        "version": metadata["version"],
        "documentation_url": metadata["documentation"] or None,
    }


def metadata_of(name: str, packages: Path) -> dict[str, str]:
    """`version`, and the address of its `documentation`."""
    found = {"version": "", "documentation": ""}
    for folder in packages.glob("*.dist-info"):
        package, _, version = folder.name.removesuffix(".dist-info").partition("-")
        if normalized(package) != normalized(name):
            continue
        found["version"] = version
        headers = (folder / "METADATA").read_text(errors="replace").split("\n\n", 1)[0]
        for label, address in re.findall(r"^Project-URL:\s*([^,\n]+),\s*(\S+)", headers, re.MULTILINE):
            if label.strip().lower() == "documentation":
                found["documentation"] = address
    return found


def zip_up(files: dict[str, Path], into: IO[bytes]) -> None:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o755 if path.startswith("bin/") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry._compresslevel = FASTEST  # type: ignore[attr-defined]  # public from Python 3.13 on
            with files[path].open("rb") as content, archive.open(entry, "w") as packed:
                shutil.copyfileobj(content, packed, _CHUNK)


def files_of(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
