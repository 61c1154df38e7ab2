"""A try's changes to an unpacked bundle do not reach the next try; and a worker's memory is closed to tasks."""

import compileall
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gust.airflow_bridge.bundle import SealedBundleFolder
from gust.aws.memory import MemoryObjects
from tests.unit.worker.control_plane import Site

Poison = Callable[[Path], object]

FILES = {"d.py": "ONE = 1\n", "lib/helper.py": "TWO = 2\n", "lib/data.txt": "three\n"}


@pytest.fixture
def bundles(tmp_path: Path) -> SealedBundleFolder:
    site = Site(tmp_path, objects=MemoryObjects())
    site.upload("v", FILES)
    return SealedBundleFolder(site.objects, tmp_path / "bundles")


def overwrite_in_secret(folder: Path) -> None:
    """The same size, and the same time of modification."""
    file = folder / "lib/helper.py"
    before = file.stat()
    file.write_text("TWO = 9\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_the_folder(folder: Path) -> None:
    folder.rename(folder.with_name("hidden"))
    folder.mkdir()
    (folder / "d.py").write_text("import evil\n")


POISONS: dict[str, Poison] = {
    "overwritten": overwrite_in_secret,
    "added": lambda folder: (folder / "lib/json.py").write_text("import evil\n"),
    "added as a link": lambda folder: (folder / "json.py").symlink_to("/etc/passwd"),
    "taken away": lambda folder: (folder / "lib/data.txt").unlink(),
    "made executable": lambda folder: (folder / "lib/data.txt").chmod(0o777),
    "bytecode overwritten": lambda folder: next(folder.rglob("helper*.pyc")).write_bytes(b"evil"),
    "bytecode added": lambda folder: (folder / "__pycache__" / "e.cpython-312.pyc").write_bytes(b"evil"),
    "the folder replaced": replace_the_folder,
}


def found_in(folder: Path) -> dict[str, str]:
    texts = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path.relative_to(folder)): path.read_text() for path in texts}


@pytest.mark.parametrize("poison", POISONS)
def test_a_bundle_that_was_changed_is_unpacked_again(bundles: SealedBundleFolder, poison: str) -> None:
    folder = bundles.fetch("v")
    clean = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    POISONS[poison](folder)

    assert bundles.fetch("v") == folder
    assert found_in(folder) == FILES
    assert {path.name for path in folder.rglob("*.pyc")} == {path.name for path in clean if path.suffix == ".pyc"}
    assert b"evil" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_one_that_was_not_is_left_as_it_is(bundles: SealedBundleFolder) -> None:
    folder = bundles.fetch("v")
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    bundles.fetch("v")
    assert {path: path.stat().st_ino for path in folder.rglob("*")} == before


def test_one_that_was_there_before_this_process_is_not_believed(bundles: SealedBundleFolder) -> None:
    (bundles.root / "v").mkdir(parents=True)
    (bundles.root / "v" / "d.py").write_text("import evil\n")
    assert found_in(bundles.fetch("v")) == FILES


def test_a_task_leaves_no_bytecode_and_may_look_into_itself_but_not_into_its_worker(
    site: Site, run: Callable[..., int]
) -> None:
    """As root, which tests may be, it can look everywhere: what the kernel is told is what is compared."""
    of_other_tests = set(site.root.rglob("d.*.pyc"))
    run(
        "from airflow.sdk import dag, task\n@dag(schedule=None)\ndef d():\n    @task\n    def t():\n"
        f"        import ctypes\n        return ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0)\n    t()\nd()\n"
    )
    assert site.control_plane.returned == 1
    assert ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    assert set(site.root.rglob("d.*.pyc")) <= of_other_tests


def test_what_compiles_a_bundle_is_as_closed_as_its_worker(
    bundles: SealedBundleFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a fork of the worker, and on a host other tries run beside it."""
    noted = tmp_path / "dumpable"

    def note(*_: object, **__: object) -> bool:
        noted.write_text(str(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)))
        return True

    monkeypatch.setattr(compileall, "compile_dir", note)  # it runs in the child
    bundles.fetch("v")
    assert noted.read_text() == "0"


PR_GET_DUMPABLE = 3
