"""An answer of a function comes with all that the function printed before it, at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gust.local.output import PAUSE, Output
from tests.environment import of_a_user


@contextmanager
def a_function(code: str) -> Iterator[tuple[subprocess.Popen[str], Output]]:
    """A process that answers each line of its stdin, as `code` says."""
    with subprocess.Popen(  # noqa: S603 - of this test
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=of_a_user(),
    ) as process:
        assert process.stderr is not None
        output = Output(process.stderr)
        thread = threading.Thread(target=output.keep_taking, daemon=True)
        thread.start()
        yield process, output
        process.kill()
        process.wait()
        thread.join(10)
        assert not thread.is_alive()


def ask(process: subprocess.Popen[str], question: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{question}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


PRINTS_FIRST = """
import sys
for line in sys.stdin:
    for number in range(int(line)):
        print("line", number, file=sys.stderr, flush=True)
    print("answer", flush=True)
"""


def test_an_answer_comes_with_what_was_printed_before_it_and_with_nothing_else() -> None:
    with a_function(PRINTS_FIRST) as (process, output):
        for count in (3, 0, 1, 500, 0, 2) * 20:
            assert ask(process, str(count)) == "answer"
            assert output.take() == "\n".join(f"line {number}" for number in range(count))


def test_nothing_is_waited_for() -> None:
    """MiniStack waited 50 ms where a function prints nothing, and 5 where it does."""
    with a_function(PRINTS_FIRST) as (process, output):
        ask(process, "1")
        took = []
        for count in "01" * 20:
            ask(process, count)
            began = time.perf_counter()
            output.take()
            took.append(time.perf_counter() - began)
        assert min(took) < 0.004, "the quickest, however busy the machine is"


def test_a_function_that_prints_more_than_a_pipe_holds_is_not_held_up() -> None:
    with a_function("import sys\nsys.stdin.readline()\nprint('ä' * 1_000_000, file=sys.stderr)\nprint('answer')") as (
        process,
        output,
    ):
        assert ask(process, "") == "answer"
        assert output.take() == "ä" * 1_000_000


def test_a_process_that_prints_without_end_holds_up_no_answer() -> None:
    """What was printed before the answer is no more than a pipe holds."""
    endless = "import os\nwhile True: os.write(2, b'x' * 4096)"
    command = [sys.executable, "-c", endless]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=of_a_user()) as process:  # noqa: S603
        assert process.stderr is not None
        output = Output(process.stderr)
        for _ in range(100):
            assert len(output.take()) <= 2**16
        process.kill()


def test_what_is_no_text_is_shown_as_far_as_it_is() -> None:
    with a_function("import os, sys\nsys.stdin.readline()\nos.write(2, b'a\\xff\\n\\nb\\n')\nprint('answer')") as (
        process,
        output,
    ):
        assert ask(process, "") == "answer"
        assert output.take() == "a\N{REPLACEMENT CHARACTER}\n\nb"


def test_a_process_that_has_ended_leaves_its_last_words() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"last words\n")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        output = Output(pipe)
        time.sleep(PAUSE)
        output.keep_taking()
        assert output.take() == "last words"
        assert output.take() == ""
