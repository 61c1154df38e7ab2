"""One holder of a data directory, and plain words for the second."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gust.local import processes
from tests.environment import of_a_user


def test_the_second_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    with processes.hold(tmp_path, url="http://127.0.0.1:8080"):
        with pytest.raises(processes.InUseError) as refused, processes.hold(tmp_path):
            pass
        assert f"process {os.getpid()}, http://127.0.0.1:8080" in str(refused.value)


def test_the_lock_is_free_again_after_its_holder(tmp_path: Path) -> None:
    with processes.hold(tmp_path):
        pass
    with processes.hold(tmp_path):
        pass


def test_a_lock_that_a_dead_process_left_does_not_hold(tmp_path: Path) -> None:
    holder = (
        "import os, pathlib; from gust.local import processes\n"
        f"with processes.hold(pathlib.Path({str(tmp_path)!r})): os._exit(1)"
    )
    paths = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", holder], env=of_a_user(PYTHONPATH=paths), check=False)  # noqa: S603

    with processes.hold(tmp_path):
        pass


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(processes.InUseError, match=f"Port {port} is taken"):
            processes.require_free(port)
        assert processes.free_port(port) != port


def test_what_carries_the_mark_is_ended_and_nothing_else(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    marked, other = (
        subprocess.Popen(sleep, env=of_a_user(**{processes.MARK: mark}), stdout=subprocess.PIPE)  # noqa: S603
        for mark in (str(tmp_path), f"{tmp_path}-other")
    )
    try:
        for process in (marked, other):
            assert process.stdout
            process.stdout.readline()

        assert processes.end_left_over(tmp_path) == 1

        assert not psutil.pid_exists(marked.pid)
        assert other.poll() is None
    finally:
        marked.kill()
        other.kill()
