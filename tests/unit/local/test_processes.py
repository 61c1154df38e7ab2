"""One holder of a data directory, and plain words for the second."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
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

        before = time.monotonic()
        assert processes.end_left_over(tmp_path, grace=20) == 1

        assert not is_alive(marked.pid)
        assert time.monotonic() < before + 10, "it waited for a process that its parent has not waited for"
        assert other.poll() is None
    finally:
        marked.kill()
        other.kill()


def is_alive(pid: int) -> bool:
    try:
        return processes._lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


LEADER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
time.sleep(60)
"""
WITH_A_TITLE = """
import os, subprocess, sys, time, setproctitle
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
own = subprocess.Popen(sleep, env={"PATH": os.environ["PATH"]}, start_new_session=True)
setproctitle.setproctitle("airflow worker -- " + 200 * "x")
print(os.getpid(), own.pid, flush=True)
time.sleep(60)
"""


def test_a_task_whose_title_covers_its_mark_is_ended_and_what_it_started_too(tmp_path: Path) -> None:
    """Airflow's workers and tasks give themselves titles. Everything above them was killed."""
    leader = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", LEADER.format(child=WITH_A_TITLE)],
        env=os.environ | {processes.MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout
    pids = [int(pid) for pid in leader.stdout.readline().split()]
    try:
        assert processes.MARK not in psutil.Process(pids[0]).environ()
        processes.remember_session(tmp_path, leader.pid)
        leader.kill()
        leader.wait()

        assert processes.end_left_over(tmp_path, grace=0.5) == 2

        assert not [pid for pid in pids if is_alive(pid)]
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_session_number_that_was_given_to_somebody_else_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "session").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    assert processes._session(tmp_path) is None
    assert processes.end_left_over(tmp_path) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_no_other_user_looks_into_what_the_stack_makes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with processes.hold(data):
        assert mode(data) == 0o700
        assert mode(data / "lock") == 0o600
    (data / "logs").mkdir(mode=0o755)
    processes.private_folder(data / "logs")
    assert mode(data / "logs") == 0o700


def test_a_folder_that_a_person_named_keeps_its_rights(tmp_path: Path) -> None:
    """It may hold more than ours: `--data /tmp`."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    with processes.hold(shared):
        assert mode(shared) == 0o755
        assert mode(shared / "lock") == 0o600
