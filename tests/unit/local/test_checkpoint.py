"""Checkpoints on disk: the newest whole one counts."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from gust.local import emulator
from gust.local.checkpoint import Checkpoints, move_port


def given_checkpoint(folder: Path, name: str, *, whole: bool = True) -> Path:
    checkpoint = folder / name
    checkpoint.mkdir(parents=True)
    if whole:
        (checkpoint / "manifest.json").write_text(json.dumps({"at": 0}))
    return checkpoint


def test_nothing_is_the_newest_of_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state")

    assert checkpoints.newest() is None


def test_the_newest_whole_one_counts(tmp_path: Path) -> None:
    given_checkpoint(tmp_path, "00000009")
    newest = given_checkpoint(tmp_path, "00000010")
    given_checkpoint(tmp_path, "00000011", whole=False)

    checkpoints = Checkpoints(tmp_path)

    assert checkpoints.newest() == newest


def test_what_was_cut_off_while_it_was_written_goes(tmp_path: Path) -> None:
    kept = given_checkpoint(tmp_path, "00000001")
    cut_off = given_checkpoint(tmp_path, "00000002.partial")

    assert Checkpoints(tmp_path).newest() == kept
    assert not cut_off.exists()


def test_moving_the_port_rewrites_addresses_and_nothing_else(tmp_path: Path) -> None:
    queues = {"http://localhost:5000/000000000000/tasks": {"at": "http://127.0.0.1:5000", "count": 5000, "id": ":5000"}}
    (tmp_path / "sqs.json").write_text(json.dumps(queues))

    move_port(tmp_path, 5000, 6000)

    assert json.loads((tmp_path / "sqs.json").read_text()) == {
        "http://localhost:6000/000000000000/tasks": {"at": "http://127.0.0.1:6000", "count": 5000, "id": ":5000"}
    }


def child(work: Callable[[], None]) -> int:
    number = os.fork()
    if not number:
        work()
        os._exit(0)
    return number


def busy_for(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_child_that_gets_on_is_waited_for() -> None:
    """Longer than the patience, of which it uses the processor all the time."""
    assert emulator._wait_for(child(lambda: busy_for(1.5)), patience=1) == 0


def test_a_child_that_waits_for_a_lock_is_given_up() -> None:
    assert emulator._wait_for(child(lambda: time.sleep(60)), patience=0.2) == 1
