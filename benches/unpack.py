"""What an environment costs a worker: fetched and unpacked once, checked before each later try.

    python -m benches.unpack [--repeat 5] [--megabytes 100] [REQUIREMENT …]      # needs PYTHONPATH=shared; seconds

Without a requirement it packs files that are made up, of the size and compressibility of pandas' and numpy's; with
requirements it has the builder install them from the package index first, and prints what that took, too. The archive lies
in memory: on AWS its way from S3 comes on top.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Final

from gust.airflow_bridge.bundle import ENVIRONMENTS, SealedBundleFolder
from gust.aws.memory import MemoryObjects
from gust.environment_builder.build import build
from gust.environment_builder.uv import Uv
from gust.model import bucket_keys
from gust.model.bundle import version_of
from gust.model.environment import Build, Recipe
from gust.services.deployments import pins

MB: Final = 1_000_000
FILES_PER_MB: Final = 26
"""Of pandas, numpy and the postgres provider."""

RANDOM_PART: Final = 0.3
"""Of each file's bytes; the rest compresses well. Together they come to the third that such wheels compress to."""


@dataclass(frozen=True, slots=True)
class Unpacking:
    """Seconds per 100 MB, medians."""

    size: int
    """Bytes, unpacked."""
    packed: int
    files: int
    cold: float
    cold_processor: float
    warm: float
    warm_processor: float


def measure(objects: MemoryObjects, archive: str, *, repeat: int = 5) -> Unpacking:
    cold: list[float] = []
    processor: list[float] = []
    warm: list[float] = []
    warm_processor: list[float] = []
    size = files = 0
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(prefix="gust-bench-") as place:
            folder = SealedBundleFolder(objects, Path(place) / "environments", ENVIRONMENTS)
            took, used = timed(partial(folder.fetch, archive))
            cold.append(took)
            processor.append(used)
            took, used = timed(partial(folder.fetch, archive))
            warm.append(took)
            warm_processor.append(used)
            found = [path for path in (folder.root / archive).rglob("*") if path.is_file()]
            size, files = sum(path.stat().st_size for path in found), len(found)
    parts = size / MB / 100
    return Unpacking(
        size=size,
        packed=len(objects.get(bucket_keys.environment(archive))),
        files=files,
        cold=median(cold) / parts,
        cold_processor=median(processor) / parts,
        warm=median(warm) / parts,
        warm_processor=median(warm_processor) / parts,
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of the processor."""
    began, used = time.monotonic(), processor_time()
    work()
    return time.monotonic() - began, processor_time() - used


def processor_time() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def made_up(objects: MemoryObjects, megabytes: int) -> str:
    """Stores an archive of that size; returns its name."""
    chance = random.Random(1)  # noqa: S311 - bytes that compress badly
    number = megabytes * FILES_PER_MB
    each = MB * megabytes // number
    body = io.BytesIO()
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for index in range(number):
            content = chance.randbytes(int(each * RANDOM_PART)).ljust(each, b" ")
            path = f"package_{index % 40}/module_{index}.py"
            archive.writestr(path, content)
            hashes[path] = sha256(content).hexdigest()
    name = version_of(hashes)
    objects.put(bucket_keys.environment(name), body.getvalue())
    return name


def installed(objects: MemoryObjects, requirements: list[str]) -> tuple[str, float]:
    """The archive's name, and the seconds that its build took."""
    recipe = Recipe(sources="bench", requirements=tuple(requirements), python="this one", pins=pins.digest())
    objects.put(bucket_keys.recipe(recipe.id), recipe.model_dump_json().encode())
    began = time.monotonic()
    built = build(objects, Build(recipe=recipe.id, file="requirements.txt"), Uv(patience=600), largest=10_000 * MB)
    if built.problem is not None:
        raise SystemExit(built.problem)
    return built.archive, time.monotonic() - began


def row(unpacking: Unpacking) -> str:
    return (
        f"{unpacking.size / MB:.0f} MB in {unpacking.files:,} files, {unpacking.packed / MB:.0f} MB packed; for each 100 MB "
        f"{unpacking.cold:.2f} s to unpack ({unpacking.cold_processor:.2f} s of a processor) and "
        f"{unpacking.warm * 1000:.0f} ms ({unpacking.warm_processor * 1000:.0f} ms) to check before a later try"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the files that are made up")
    parser.add_argument("requirements", nargs="*", help="packages to install instead")
    options = parser.parse_args()
    objects = MemoryObjects()
    if options.requirements:
        archive, seconds = installed(objects, options.requirements)
        print(f"built in {seconds:.1f} s", flush=True)
    else:
        archive = made_up(objects, options.megabytes)
    print(row(measure(objects, archive, repeat=options.repeat)))


if __name__ == "__main__":
    main()
