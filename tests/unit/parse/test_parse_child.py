"""The parent notices every end of a child in time, and no process of it survives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gust.airflow_bridge.child import OUTPUT_KEPT, run_in_child
from gust.airflow_bridge.questions import FD
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]
MEMORY = 256 * 1024 * 1024


def run(work, timeout=20.0):
    return run_in_child(work, timeout=timeout, memory=MEMORY)


def test_the_answer_comes_back():
    ended = run(lambda: b"x" * 5_000_000)
    assert ended.answer == b"x" * 5_000_000


def test_the_end_of_the_output_is_kept():
    def work():
        sys.stdout.write("to stdout\n")
        sys.stderr.write("to stderr\n")
        os.write(1, b"past Python")
        return b""

    assert run(work).output == "to stdout\nto stderr\npast Python"


def test_an_exception_is_no_answer_and_its_trace_is_output():
    ended = run(lambda: b"%d" % (1 // 0))
    assert ended.answer is None
    assert "ZeroDivisionError" in ended.output


@pytest.mark.parametrize(
    ("work", "how"),
    [
        (lambda: os._exit(0), "The process ended itself with exit code 0."),
        (lambda: os._exit(3), "The process ended itself with exit code 3."),
        (lambda: sys.exit(3), "The process ended itself with exit code 70."),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "The process was ended by SIGKILL."),
        (os.abort, "The process was ended by SIGABRT."),
    ],
    ids=["exit 0", "exit 3", "sys.exit", "killed", "aborted"],
)
def test_how_it_ended(work, how):
    ended = run(work)
    assert (ended.answer, ended.how) == (None, how)


def test_a_hang_that_ignores_signals_is_killed():
    def work():
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            signal.pause()

    ended = run(work, timeout=0.3)
    assert (ended.answer, ended.how) == (None, "It did not end within 0.3 seconds and was killed.")


def test_output_without_end_is_cut():
    def work():
        while True:
            os.write(1, b"y" * 60_000)

    ended = run(work, timeout=0.5)
    assert ended.answer is None
    assert ended.output == "y" * OUTPUT_KEPT


def test_eating_memory_is_an_error_of_the_child():
    def work():
        eaten = []
        while True:
            eaten.append(bytearray(10_000_000))

    ended = run(work)
    assert ended.answer is None
    assert "MemoryError" in ended.output


def test_what_a_child_started_ends_with_it(tmp_path: Path):
    pid_file = tmp_path / "pid"

    def work():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=of_a_user())
        pid_file.write_text(str(process.pid))
        return b"done"

    assert run(work).answer == b"done"
    assert gone(int(pid_file.read_text()))


def gone(pid: int) -> bool:
    """Whether the process ends within a moment; a zombie that nobody has collected yet has ended."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in ("Z", "X"):
            return True
        time.sleep(0.01)
    return False


def test_the_parents_files_are_closed_to_it(tmp_path: Path):
    secret = tmp_path / "secret"
    with secret.open("w") as file:
        number = file.fileno()

        def work():
            os.write(number, b"written by the child")
            return b"wrote"

        assert run(work).answer is None
    assert secret.read_text() == ""


def test_a_daemon_ends_with_the_child_that_started_it(tmp_path: Path):
    pid_file = tmp_path / "pid"

    def work():
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                pid_file.write_text(str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        while not pid_file.exists():
            time.sleep(0.01)
        return b"done"

    assert run(work).answer == b"done"
    assert gone(int(pid_file.read_text()))


@pytest.mark.parametrize("name", ["alone", "of_a_large_parent", "with_three_more"])
def test_memory_is_limited_that_the_kernel_does_not_count(name: str) -> None:
    """Memory that processes share, whether their parent is large, and that of all descendants together."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "tests.unit.parse.large_children", name],
        env=of_a_user(PYTHONPATH=f"{ROOT / 'shared'}:{ROOT}"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == (
        "None False It took more than 256 MB of memory, with all that it started, and was killed.\n"
    )


def test_an_answer_has_a_size():
    ended = run_in_child(lambda: b"x" * 2_000, timeout=20.0, memory=MEMORY, largest=1_000)
    assert (ended.answer, ended.how) == (None, "It gave 2,002 bytes; 1,000 are possible.")


def test_an_answer_that_was_not_written_to_its_end_is_none():
    def work():
        os.write(FD + 1, b"half of it")
        os._exit(0)

    assert run(work).answer is None


def test_where_it_hangs_is_told():
    def hang_in_here():
        while True:
            time.sleep(1)

    def work():
        hang_in_here()
        return b""

    ended = run(work, timeout=1.0)
    assert ended.took_too_long
    assert "in hang_in_here" in ended.output
