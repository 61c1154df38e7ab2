"""The bucket follows the folder."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from gust.local.dag_folder import DagFolder


class Bucket:
    """As much of S3 as the folder uses."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803  boto3's names
        self.objects[Key] = Body
        self.puts.append(Key)

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> None:  # noqa: N803
        for entry in Delete["Objects"]:
            self.objects.pop(entry["Key"], None)

    def get_paginator(self, name: str) -> "Bucket":
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803
        found = [
            {"Key": key, "ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
            for key, body in self.objects.items()
            if key.startswith(Prefix)
        ]
        return [{"Contents": found}] if found else [{}]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    (tmp_path / "etl.py").write_text("etl")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text("helper")
    return tmp_path


def test_everything_goes_up_at_the_start(dags: Path, bucket: Bucket) -> None:
    DagFolder(dags, bucket, "b").align()

    assert bucket.objects == {"dags/etl.py": b"etl", "dags/lib/helper.py": b"helper"}


def test_what_is_there_already_is_not_sent_again(dags: Path, bucket: Bucket) -> None:
    bucket.objects["dags/etl.py"] = b"etl"

    DagFolder(dags, bucket, "b").align()

    assert bucket.puts == ["dags/lib/helper.py"]


def test_what_went_while_nobody_looked_is_deleted_at_the_start(dags: Path, bucket: Bucket) -> None:
    bucket.objects["dags/old.py"] = b"old"
    bucket.objects["bundles/1.zip"] = b"not ours"

    DagFolder(dags, bucket, "b").align()

    assert "dags/old.py" not in bucket.objects
    assert "bundles/1.zip" in bucket.objects


def test_a_change_goes_up_once_two_looks_saw_the_same(dags: Path, bucket: Bucket) -> None:
    folder = DagFolder(dags, bucket, "b")
    folder.align()
    (dags / "etl.py").write_text("an edit")

    assert [folder.look(), folder.look(), folder.look()] == [False, True, False]
    assert bucket.objects["dags/etl.py"] == b"an edit"


def test_a_file_that_never_rests_goes_up_after_a_while(dags: Path, bucket: Bucket) -> None:
    folder = DagFolder(dags, bucket, "b")
    folder.align()
    looks = []
    for number in range(12):
        (dags / "etl.py").write_text("x" * (10 + number))
        looks.append(folder.look())
        assert looks[-1] or folder.is_unsettled

    assert True in looks
    assert bucket.objects["dags/etl.py"].startswith(b"x")


def test_an_edit_that_comes_while_another_is_sent_is_not_lost(dags: Path, bucket: Bucket) -> None:
    folder = DagFolder(dags, bucket, "b")
    folder.align()
    (dags / "etl.py").write_text("first edit")
    folder.look()
    folder.look()
    (dags / "etl.py").write_text("second one")
    folder.look()
    folder.look()

    assert bucket.objects["dags/etl.py"] == b"second one"


def test_a_deleted_file_goes(dags: Path, bucket: Bucket) -> None:
    folder = DagFolder(dags, bucket, "b")
    folder.align()
    (dags / "etl.py").unlink()
    folder.look()
    folder.look()

    assert bucket.objects == {"dags/lib/helper.py": b"helper"}


@pytest.mark.parametrize("name", ["__pycache__/etl.pyc", ".git/config", ".etl.py.swp", "etl.py~", ".venv/lib/x.py"])
def test_an_editors_and_pythons_own_files_stay(dags: Path, bucket: Bucket, name: str) -> None:
    (dags / name).parent.mkdir(parents=True, exist_ok=True)
    (dags / name).write_text("")

    DagFolder(dags, bucket, "b").align()

    assert f"dags/{name}" not in bucket.objects


def test_airflowignore_counts_although_it_is_hidden(dags: Path, bucket: Bucket) -> None:
    (dags / ".airflowignore").write_text("lib")

    DagFolder(dags, bucket, "b").align()

    assert bucket.objects["dags/.airflowignore"] == b"lib"


def test_links_are_followed_and_circles_end(dags: Path, bucket: Bucket) -> None:
    (dags / "lib" / "again").symlink_to(dags, target_is_directory=True)
    (dags / "gone.py").symlink_to(dags / "nowhere.py")

    DagFolder(dags, bucket, "b").align()

    assert set(bucket.objects) == {"dags/etl.py", "dags/lib/helper.py"}


def test_a_name_that_is_not_utf8_is_left_out_and_told_once(dags: Path, bucket: Bucket) -> None:
    (dags / os.fsdecode(b"caf\xe9.py")).write_text("")
    told: list[str] = []
    folder = DagFolder(dags, bucket, "b", on_progress=told.append)

    folder.align()
    for _ in range(4):
        folder.look()

    assert set(bucket.objects) == {"dags/etl.py", "dags/lib/helper.py"}
    assert told == [
        "left out caf\\xe9.py: its name is not UTF-8, which names in the bucket are",
        "uploaded etl.py, lib/helper.py",
    ]


def test_a_pipe_is_not_read(dags: Path, bucket: Bucket) -> None:
    """Reading one that no process writes to never ends."""
    os.mkfifo(dags / "pipe.py")
    (dags / "linked.py").symlink_to(dags / "pipe.py")

    DagFolder(dags, bucket, "b").align()

    assert set(bucket.objects) == {"dags/etl.py", "dags/lib/helper.py"}


def test_a_file_that_cannot_be_read_is_told_once_and_taken_when_it_can(dags: Path, bucket: Bucket) -> None:
    """`/proc/self/mem` refuses root, too."""
    told: list[str] = []
    folder = DagFolder(dags, bucket, "b", on_progress=told.append)
    folder.align()
    (dags / "secret.py").symlink_to("/proc/self/mem")
    told.clear()

    looks = [folder.look() for _ in range(6)]
    assert True not in looks
    assert told == ["left out secret.py: Input/output error"]

    (dags / "secret.py").unlink()
    (dags / "secret.py").write_text("mine")
    looks = [folder.look() for _ in range(3)]
    assert True in looks
    assert bucket.objects["dags/secret.py"] == b"mine"
    assert told[1:] == ["uploaded secret.py"]


def test_what_lies_beside_the_folder_lies_at_the_buckets_root(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/requirements.txt").write_text("inside")
    (tmp_path / "requirements.txt").write_text("beside")
    (tmp_path / "other.txt").write_text("not ours")
    bucket.objects["requirements.txt.bak"] = b"somebody else's"
    folder = DagFolder(tmp_path / "dags", bucket, "b")
    folder.align()

    assert bucket.objects == {
        "requirements.txt": b"beside",
        "dags/requirements.txt": b"inside",
        "requirements.txt.bak": b"somebody else's",
    }

    (tmp_path / "requirements.txt").unlink()
    folder.align()

    assert set(bucket.objects) == {"dags/requirements.txt", "requirements.txt.bak"}
