"""A disk that gets full, and has room again."""

import asyncio
import errno
import json
import os
import resource
import traceback
from pathlib import Path
from typing import Any

import pytest

from gust.local.checkpoint import NO_ROOM, Checkpoints
from gust.local.emulator import Emulator
from gust.local.storage import LEAST_FREE, Storage, is_no_room

MB = 1_000_000


class Disk:
    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self) -> int:
        return self.free


def test_a_reserve_is_set_aside_while_there_is_room(tmp_path: Path) -> None:
    storage = Storage(tmp_path, free=Disk(500 * MB))
    storage.look(checkpoint=MB)
    assert not storage.is_full
    assert (tmp_path / "reserve").stat().st_size == LEAST_FREE + 2 * MB


def test_the_reserve_is_given_free_before_the_disk_is_full(tmp_path: Path) -> None:
    disk = Disk(500 * MB)
    storage = Storage(tmp_path, free=disk)
    storage.look()
    disk.free = LEAST_FREE - 1
    assert storage.look()
    assert storage.is_full
    assert not (tmp_path / "reserve").exists()


def test_it_heals_when_there_is_room_for_the_reserve_and_more(tmp_path: Path) -> None:
    disk = Disk(0)
    storage = Storage(tmp_path, free=disk)
    storage.look()
    disk.free = storage.needed - 1
    assert not storage.look()
    disk.free = storage.needed
    assert storage.look()
    assert not storage.is_full
    assert (tmp_path / "reserve").exists()


def test_only_a_lack_of_room_counts_as_one() -> None:
    assert is_no_room(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_no_room(OSError(errno.EACCES, "Permission denied"))
    assert not is_no_room(ValueError())


def test_a_checkpoint_that_finds_no_room_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: no file may have more than four bytes."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        saving = Checkpoints(tmp_path).save_in_fork()
        _, status = os.waitpid(saving, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == NO_ROOM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [True, False])
def test_an_object_is_acknowledged_where_its_file_was_written(tmp_path: Path, room: bool) -> None:
    """In a process of its own, which a limit is set to."""
    child = os.fork()
    if not child:
        try:
            os._exit(_put_an_object(tmp_path, room) // 100)
        except BaseException:
            traceback.print_exc()
            os._exit(100)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (2 if room else 5)


def _put_an_object(folder: Path, room: bool) -> int:
    from ministack.services import s3

    from gust.local.ministack import refuse_what_cannot_be_stored

    s3.S3_PERSIST, s3.DATA_DIR = True, str(folder / "s3")
    storage = Storage(folder)
    refuse_what_cannot_be_stored(storage)
    assert _put(s3, "/bucket", b"") == 200
    if not room:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    status = _put(s3, "/bucket/specs/1.json", b"more than four bytes")
    assert storage.is_full is not room
    assert ("specs/1.json" in s3._buckets["bucket"]["objects"]) is room
    return status


def _put(s3: Any, path: str, body: bytes) -> int:
    try:
        return int(asyncio.run(s3.handle_request("PUT", path, {}, body, {}))[0])
    except OSError:  # MiniStack's server makes that a 500
        return 500


PUBLIC, OWN = 8080, 4566


def _asked(storage: Storage, method: str, path: str, *, port: int = PUBLIC) -> tuple[int, bytes]:
    """What the emulator answers; 299 where it hands the request on."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def keep(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        raise AssertionError("no body is read")

    emulator = Emulator(application, Checkpoints(storage.folder), restored=None, public_port=PUBLIC, storage=storage)
    emulator._api = "api"
    server = ("127.0.0.1", port)
    scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"localhost")], "server": server}
    asyncio.run(emulator.handle(scope, nothing, keep))
    return sent[0]["status"], sent[1]["body"]


def test_nothing_is_accepted_while_the_disk_is_full_and_everything_is_shown(tmp_path: Path) -> None:
    disk = Disk(0)
    storage = Storage(tmp_path, free=disk)
    storage.look()
    status, body = _asked(storage, "POST", "/api/v2/dags/etl/dagRuns")
    assert (status, json.loads(body)["detail"]) == (507, "The disk is full: nothing is accepted until 48 MB are free")
    assert _asked(storage, "GET", "/api/v2/dags") == (299, b"")
    health = json.loads(_asked(storage, "GET", "/api/v2/monitor/health")[1])
    assert {part["status"] for part in health.values()} == {"unhealthy"}
    assert _asked(storage, "PUT", "/bucket/dags/etl.py", port=OWN)[0] == 503
    assert _asked(storage, "POST", "/", port=OWN)[0] == 299, "what runs reports its end"
    disk.free = 500 * MB
    storage.look()
    assert _asked(storage, "POST", "/api/v2/dags/etl/dagRuns")[0] == 299
