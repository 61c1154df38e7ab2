"""The disk that one child leaves to the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gust.airflow_bridge import leftovers
from gust.airflow_bridge.leftovers import Leftovers


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """As a worker has it when it is ready."""
    (tmp_path / "airflow/plugins").mkdir(parents=True)
    (tmp_path / "airflow/airflow.cfg").write_text("[core]\n")
    (tmp_path / "bundles/v1").mkdir(parents=True)
    return tmp_path


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_a_child_left_is_gone_and_what_was_there_is_as_it_was(tmp: Path) -> None:
    before = everything(tmp)
    guard = Leftovers(tmp, kept=[tmp / "bundles"])
    (tmp / "secret.txt").write_text("of team a")
    (tmp / "deep/er").mkdir(parents=True)
    (tmp / "link").symlink_to("/etc")
    (tmp / "airflow/airflow.cfg").write_text("[core]\nsecurity = off\n")
    (tmp / "airflow/plugins/evil.py").write_text("import this")
    (tmp / "bundles/v2").mkdir()
    guard.remove()
    assert everything(tmp) == before | {"bundles/v2"}
    assert (tmp / "airflow/airflow.cfg").read_text() == "[core]\n"
    assert Path("/etc").is_dir()
    guard.remove()
    assert everything(tmp) == before | {"bundles/v2"}


def test_a_file_with_another_content_and_the_old_times_is_put_back(tmp: Path) -> None:
    guard = Leftovers(tmp)
    file = tmp / "airflow/airflow.cfg"
    times = file.stat()
    file.write_text("[evil]\n")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    guard.remove()
    assert file.read_text() == "[core]\n"


def test_nothing_is_touched_after_a_child_that_left_nothing(tmp: Path) -> None:
    guard = Leftovers(tmp)
    inode = (tmp / "airflow/airflow.cfg").stat().st_ino
    guard.remove()
    assert (tmp / "airflow/airflow.cfg").stat().st_ino == inode


def test_a_folder_that_was_closed_is_deleted_too(tmp: Path) -> None:
    closed = tmp / "closed"
    (closed / "in").mkdir(parents=True)
    (closed / "in/secret").write_text("s")
    (closed / "in").chmod(0)
    closed.chmod(0)
    leftovers.remove(closed)
    assert not closed.exists()


def test_a_worker_that_starts_deletes_what_a_dead_one_left(tmp: Path) -> None:
    leftovers.clear(tmp)
    assert everything(tmp) == set()
