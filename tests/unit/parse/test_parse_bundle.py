"""Bundles on disk: whole or not there, found again, and gone when long unused."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from gust.airflow_bridge.bundle import KEPT, UNUSED_FOR, BundleFolder
from gust.aws.memory import MemoryObjects
from gust.errors import NotFound
from gust.services.deployment_keys import bundle_key


@pytest.fixture
def bundles(tmp_path: Path) -> BundleFolder:
    objects = MemoryObjects()
    for version in ("v1", "v2", "v3", "v4", "v5"):
        body = BytesIO()
        with ZipFile(body, "w") as archive:
            archive.writestr("sub/a.py", f"# {version}")
        objects.put(bundle_key(version), body.getvalue())
    return BundleFolder(objects, tmp_path / "bundles")


def test_files_lie_under_the_version(bundles):
    assert (bundles.fetch("v1") / "sub/a.py").read_text() == "# v1"
    assert (bundles.fetch("v2") / "sub/a.py").read_text() == "# v2"


def test_a_version_is_fetched_once(bundles):
    bundles.fetch("v1")
    bundles.objects.delete([bundle_key("v1")])
    assert (bundles.fetch("v1") / "sub/a.py").exists()


def test_a_version_that_is_nowhere(bundles):
    with pytest.raises(NotFound):
        bundles.fetch("v9")


def test_many_at_once_find_one_folder(bundles):
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(bundles.fetch, ["v1"] * 16))
    assert folders == {bundles.root / "v1"}
    assert [path.name for path in bundles.root.iterdir()] == ["v1"]


def test_long_unused_versions_go_but_the_latest_stay(bundles):
    long_ago = time.time() - UNUSED_FOR - 10
    for number, version in enumerate(("v1", "v2", "v3", "v4")):
        folder = bundles.fetch(version)
        os.utime(folder, (long_ago + number, long_ago + number))
    bundles.fetch("v5")
    assert sorted(path.name for path in bundles.root.iterdir()) == ["v3", "v4", "v5"]
    assert KEPT == 3


def test_versions_in_use_elsewhere_stay(bundles):
    for version in ("v1", "v2", "v3", "v4", "v5"):
        bundles.fetch(version)
    assert len(list(bundles.root.iterdir())) == 5
