"""Bundles on disk: whole or not there, found again, and gone when long unused."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from multiprocessing import Pipe
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest

from gust.airflow_bridge.bundle import KEPT, BundleFolder
from gust.aws.memory import MemoryObjects
from gust.errors import Unopenable
from gust.model import bucket_keys
from gust.model.bundle import version_of


@pytest.fixture
def bundles(tmp_path: Path) -> BundleFolder:
    objects = MemoryObjects()
    for version in ("v1", "v2", "v3", "v4", "v5"):
        body = BytesIO()
        with ZipFile(body, "w") as archive:
            archive.writestr("sub/a.py", f"# {version}")
        objects.put(bucket_keys.bundle(version), body.getvalue())
    return BundleFolder(objects, tmp_path / "bundles")


def test_files_lie_under_the_version(bundles):
    assert (bundles.fetch("v1") / "sub/a.py").read_text() == "# v1"
    assert (bundles.fetch("v2") / "sub/a.py").read_text() == "# v2"


def test_a_version_is_fetched_once(bundles):
    bundles.fetch("v1")
    bundles.objects.delete([bucket_keys.bundle("v1")])
    assert (bundles.fetch("v1") / "sub/a.py").exists()


def test_a_version_that_is_nowhere(bundles):
    with pytest.raises(Unopenable, match=r"Version v9 of the DAGs cannot be read: no object 'bundles/v9\.zip'"):
        bundles.fetch("v9")


def test_what_is_no_archive(bundles):
    bundles.objects.put(bucket_keys.bundle("v9"), b"no archive")
    with pytest.raises(Unopenable, match="cannot be unpacked: BadZipFile"):
        bundles.fetch("v9")
    assert folders(bundles) == []


@pytest.mark.parametrize("name", ["n" * 300, "../outside"], ids=["long", "outside"])
def test_names_that_cannot_be_unpacked(bundles, name):
    bundles.objects.put(bucket_keys.bundle("v9"), zipped({name: "x", "a": "x"}))
    with pytest.raises(Unopenable, match="Version v9 of the DAGs cannot be unpacked: "):
        bundles.fetch("v9")
    assert folders(bundles) == []
    assert not (bundles.root.parent / "outside").exists()


def test_a_content_that_is_not_what_the_name_says(bundles):
    version = version_of({"a": sha256(b"x").hexdigest()})
    bundles.objects.put(bucket_keys.bundle(version), zipped({"a": "y"}))
    with pytest.raises(Unopenable, match="its content is another one than its name says"):
        bundles.fetch(version)
    bundles.objects.put(bucket_keys.bundle(version), zipped({"a": "x"}))
    assert (bundles.fetch(version) / "a").read_text() == "x"


def test_many_at_once_find_one_folder(bundles):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(bundles.fetch, ["v1"] * 16))
    assert found == {bundles.root / "v1"}
    assert folders(bundles) == ["v1"]


def test_unused_versions_go_but_the_latest_stay(bundles):
    for number, version in enumerate(("v1", "v2", "v3", "v4")):
        os.utime(bundles.fetch(version), (number, number))
    bundles.fetch("v5")
    assert folders(bundles) == ["v3", "v4", "v5"]
    assert KEPT == 3


def test_versions_in_use_elsewhere_stay(bundles):
    with elsewhere(bundles, "v1"):
        for version in ("v2", "v3", "v4", "v5"):
            bundles.fetch(version)
        assert folders(bundles) == ["v1", "v3", "v4", "v5"]
    bundles.fetch("v2")
    assert "v1" not in folders(bundles)


def test_a_full_disk_forgets_what_is_unused_before_it_says_so(bundles):
    """The bundle says that it takes more than any disk has."""
    for version in ("v1", "v2"):
        bundles.fetch(version)
    body = bytearray(zipped({"a": "x" * 1000}, compression=ZIP_DEFLATED))
    directory = body.rindex(b"PK\x01\x02")
    body[directory + 24 : directory + 28] = (0xFFFF_FFF0).to_bytes(4, "little")
    bundles.objects.put(bucket_keys.bundle("v9"), bytes(body))
    full = Full(bundles.objects, bundles.root)
    with pytest.raises(Unopenable, match=r"is full \(4,312 MB are needed, 100 MB are free\)"):
        full.fetch("v9")
    assert folders(bundles) == []


class Full(BundleFolder):
    def _free(self) -> int:
        return 100_000_000


def zipped(files: dict[str, str], compression: int = ZIP_STORED) -> bytes:
    body = BytesIO()
    with ZipFile(body, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return body.getvalue()


def folders(bundles: BundleFolder) -> list[str]:
    return sorted(path.name for path in bundles.root.glob("*") if path.is_dir())


@contextmanager
def elsewhere(bundles: BundleFolder, version: str) -> Iterator[None]:
    """Another process uses the version."""
    ready, done = Pipe(), Pipe()
    pid = os.fork()
    if pid == 0:
        bundles.fetch(version)
        ready[1].send(True)
        done[0].recv()
        os._exit(0)
    ready[0].recv()
    try:
        yield
    finally:
        done[1].send(True)
        os.waitpid(pid, 0)
