"""Bundles and environments on a disk that is too small for all of them, and archives that arrive damaged."""

import errno
import io
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import pytest

from gust.airflow_bridge.bundle import SPARE, BundleFolder, SealedBundleFolder
from gust.aws.memory import MemoryObjects
from gust.errors import Unopenable
from gust.model import bucket_keys
from gust.model.bundle import version_of
from gust.model.environment import ENVIRONMENTS_FILE, Environments

MB = 10**6


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


class Disk:
    """Of so many bytes, beside the files in `folder`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    def free(self, _: Path) -> int:
        return self.size - size_of(self.folder)


class Bucket(MemoryObjects):
    """One whose downloads need room on the disk."""

    disk: Disk | None = None

    def __init__(self) -> None:
        super().__init__()
        self.downloads: list[str] = []
        self.damaged = 0

    def download(self, key: str, file: BinaryIO) -> None:
        self.downloads.append(key)
        body = self.get(key)
        if self.disk is not None and self.disk.free(Path()) < len(body):
            file.write(body[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.damaged:
            self.damaged -= 1
            body = body[: len(body) // 2]
        file.write(body)

    def pack(self, files: dict[str, bytes], key: str | None = None) -> str:
        """Stores a zip, an environment's by default; returns its hash."""
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        name = version_of({path: sha256(content).hexdigest() for path, content in files.items()})
        self.put(key or bucket_keys.environment(name), body.getvalue())
        return name


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def bundle_naming(bucket: Bucket, of: dict[str, str], version: str = "v") -> str:
    bucket.pack({ENVIRONMENTS_FILE: Environments(of=of).model_dump_json().encode()}, bucket_keys.bundle(version))
    return version


def packages(letter: str, size: int = 10 * MB) -> dict[str, bytes]:
    return {f"{letter}.bin": letter.encode() * size}


@pytest.mark.parametrize("kind", [BundleFolder, SealedBundleFolder])
def test_a_full_disk_forgets_the_environment_that_was_used_longest_ago(
    bucket: Bucket, tmp_path: Path, kind: type[BundleFolder]
) -> None:
    of = {letter: bucket.pack(packages(letter)) for letter in "abc"}
    disk = Disk(tmp_path, 25 * MB + SPARE)  # two of them
    bundles = kind(bucket, tmp_path / "bundles", free=disk.free)
    bundle = bundles.fetch(bundle_naming(bucket, of))

    for letter in "aab":
        assert bundles.fetch_environment(bundle, f"{letter}/etl.py") is not None
    folder = bundles.fetch_environment(bundle, "c/etl.py")

    assert folder is not None
    assert (folder / "c.bin").stat().st_size == 10 * MB
    assert [letter for letter in "abc" if bundles.has_environment(bundle, f"{letter}/etl.py")] == ["b", "c"]
    again = bundles.fetch_environment(bundle, "a/etl.py")
    assert again is not None
    assert (again / "a.bin").read_bytes() == b"a" * 10 * MB


def test_an_environment_takes_the_place_of_an_old_bundle(bucket: Bucket, tmp_path: Path) -> None:
    of = {"": bucket.pack(packages("a"))}
    for version in ("old", "older"):
        bucket.pack(packages("x", 20 * MB), bucket_keys.bundle(version))
    disk = Disk(tmp_path, 62 * MB + SPARE)
    bundles = BundleFolder(bucket, tmp_path / "bundles", free=disk.free)
    bundles.fetch("older")
    bundles.fetch("old")
    bundle = bundles.fetch(bundle_naming(bucket, of))
    disk.size = 45 * MB + SPARE

    assert bundles.fetch_environment(bundle, "etl.py") is not None
    assert [version for version in ("v", "old", "older") if bundles.has(version)] == ["v", "old"]


def test_an_archive_that_the_disk_has_no_room_for_takes_the_place_of_others(bucket: Bucket, tmp_path: Path) -> None:
    of = {letter: bucket.pack(packages(letter, size * MB)) for letter, size in {"a": 30, "b": 30, "c": 18}.items()}
    disk = bucket.disk = Disk(tmp_path, 200 * MB)
    bundles = BundleFolder(bucket, tmp_path / "bundles", free=disk.free)
    bundle = bundles.fetch(bundle_naming(bucket, of))
    for letter in "ab":
        bundles.fetch_environment(bundle, f"{letter}/etl.py")
    disk.size = 60 * MB + SPARE + 100_000  # enough to begin, too little for the archive

    assert bundles.fetch_environment(bundle, "c/etl.py") is not None
    assert not bundles.has_environment(bundle, "a/etl.py")


def test_what_no_disk_takes_is_told_and_leaves_nothing_behind(bucket: Bucket, tmp_path: Path) -> None:
    of = {"": bucket.pack(packages("a", 50 * MB))}
    bundles = BundleFolder(bucket, tmp_path / "bundles", free=Disk(tmp_path, 40 * MB + SPARE).free)
    bundle = bundles.fetch(bundle_naming(bucket, of))

    with pytest.raises(
        Unopenable, match=r"Environment .* cannot be unpacked: the disk at .* is full \(.* MB are needed"
    ):
        bundles.fetch_environment(bundle, "etl.py")
    assert size_of(tmp_path) < MB


def test_an_archive_that_arrives_damaged_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    of = {"": bucket.pack(packages("a"))}
    bundles = SealedBundleFolder(bucket, tmp_path / "bundles")
    bundle = bundles.fetch(bundle_naming(bucket, of))
    bucket.damaged = 1

    folder = bundles.fetch_environment(bundle, "etl.py")

    assert folder is not None
    assert (folder / "a.bin").read_bytes() == b"a" * 10 * MB
    assert len(bucket.downloads) == 3


@pytest.mark.parametrize(
    "spoiled",
    [b"no zip", b"", lambda bucket: bucket.get(bucket_keys.environment(bucket.pack({"other.py": b"import evil"})))],
)
def test_a_damaged_archive_is_told_and_is_no_poison(bucket: Bucket, tmp_path: Path, spoiled: object) -> None:
    name = bucket.pack(packages("a"))
    good = bucket.get(bucket_keys.environment(name))
    bundles = SealedBundleFolder(bucket, tmp_path / "bundles")
    bundle = bundles.fetch(bundle_naming(bucket, {"": name}))
    bucket.put(bucket_keys.environment(name), spoiled(bucket) if callable(spoiled) else spoiled)

    for _ in range(2):
        with pytest.raises(Unopenable, match=rf"Environment {name} .* cannot be unpacked: .* \(fetched twice\)"):
            bundles.fetch_environment(bundle, "etl.py")
        assert not bundles.has_environment(bundle, "etl.py")
    assert bucket.downloads.count(bucket_keys.environment(name)) == 4

    bucket.put(bucket_keys.environment(name), good)
    folder = bundles.fetch_environment(bundle, "etl.py")
    assert folder is not None
    assert [path.name for path in folder.iterdir()].count("a.bin") == 1
