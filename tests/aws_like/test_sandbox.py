"""The sandbox is as narrow as Lambda's: what these functions try fails there, too."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.aws_like.artefacts import Artefacts, what_this_machine_lacks
from tests.aws_like.sandbox import Function, InitFailedError, Sandbox, what_this_machine_refuses

LACKING: Final = what_this_machine_lacks() or what_this_machine_refuses()
pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))

MB: Final = 1024 * 1024

PROBE: Final = '''
import multiprocessing, os, subprocess, sys, time

def tried(what):
    try:
        return what() or "done"
    except BaseException as problem:
        return type(problem).__name__

def handler(event, context):
    match event:
        case {"write": path}:
            return tried(lambda: open(path, "w").close())
        case {"fill": megabytes}:
            return tried(lambda: open("/tmp/filled", "wb").write(bytes(megabytes * 1024 * 1024)))
        case {"allocate": megabytes}:
            return len(bytearray(b"x" * (megabytes * 1024 * 1024)))
        case {"answer": size}:
            return "x" * size
        case {"sleep": seconds}:
            time.sleep(seconds)
            return "slept"
        case {"count": seconds}:
            subprocess.Popen([sys.executable, "-c", COUNT.format(seconds)], start_new_session=True)
            while not os.path.exists("/tmp/counted") or not os.path.getsize("/tmp/counted"):
                time.sleep(0.01)
            return "counting"
        case {"counted": _}:
            began, counted = time.monotonic(), [0.0]
            while counted[-1] < began:
                time.sleep(0.01)
                counted = [float(line) for line in open("/tmp/counted")]
            return counted
        case "lock":
            return tried(multiprocessing.Lock)
        case "who":
            pids = [each for each in os.listdir("/proc") if each.isdigit()]
            return {"uid": os.getuid(), "home": os.path.expanduser("~"), "groups": os.getgroups(), "pids": len(pids)}
        case "raise":
            raise KeyError("no such thing")
        case "exit":
            os._exit(3)
        case "context":
            return [context.function_name, context.memory_limit_in_mb, context.get_remaining_time_in_millis() > 1000]

COUNT = """
import time
end = time.monotonic() + {}
while time.monotonic() < end:
    print(time.monotonic(), file=open("/tmp/counted", "a"))
    time.sleep(0.01)
"""
'''

Make = Callable[..., Sandbox]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Artefacts(tmp_path_factory.mktemp("runtime")).runtime()


@pytest.fixture
def make(tmp_path: Path, runtime: Path) -> Iterator[Make]:
    made: list[Sandbox] = []

    def sandbox(code: str = PROBE, *, timeout: float = 20, memory: int = 128, **environment: str) -> Sandbox:
        task, opt = tmp_path / "task", tmp_path / "opt"
        for folder in (task, opt):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        (task / "app.py").write_text(code)
        function = Function("probe", "app.handler", task, opt, memory, 64, timeout, environment)
        made.append(Sandbox(function, runtime, endpoint="http://127.0.0.1:9", log=tmp_path / "log"))
        return made[-1]

    yield sandbox
    for each in made:
        each.end()


def answer(sandbox: Sandbox, event: Any) -> Any:
    given = sandbox.invoke(event)
    assert given.error is None, given
    return given.payload


def test_only_tmp_can_be_written_to_and_it_has_a_size(make: Make) -> None:
    sandbox = make()

    for path in ("/x", "/opt/x", "/var/task/x", "/usr/x", "/etc/x"):
        assert answer(sandbox, {"write": path}) == "OSError"
    assert answer(sandbox, {"write": "/tmp/x"}) == "done"
    assert answer(sandbox, {"fill": 40}) == 40 * MB
    assert answer(sandbox, {"fill": 80}) == "OSError"


def test_there_is_no_shared_memory_no_home_and_no_other_process(make: Make) -> None:
    sandbox = make()

    assert answer(sandbox, "lock") == "FileNotFoundError"
    assert answer(sandbox, "who") == {"uid": 993, "home": "/home/sbx_user1051", "groups": [], "pids": 2}
    assert answer(sandbox, "context") == ["probe", "128", True]


def test_a_function_that_needs_too_much_memory_dies(make: Make) -> None:
    sandbox = make()

    assert answer(sandbox, {"allocate": 30}) == 30 * MB
    given = sandbox.invoke({"allocate": 300})

    assert given.error in ("Runtime.ExitError", "MemoryError")


def test_between_invocations_nothing_runs(make: Make) -> None:
    sandbox = make()
    answer(sandbox, {"count": 60})

    until = time.monotonic() + 10  # a busy machine stops a process when it gives it its next turn
    while {each.status() for each in sandbox.processes()} != {psutil.STATUS_STOPPED}:
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.5)  # in which fifty would have been counted, if anything ran
    counted = answer(sandbox, {"counted": True})
    assert max(later - earlier for earlier, later in itertools.pairwise(counted)) >= 0.5


def test_at_its_time_limit_a_function_is_killed_with_its_children(make: Make) -> None:
    sandbox = make(timeout=2)
    answer(sandbox, {"count": 60})
    processes = sandbox.processes()

    given = sandbox.invoke({"sleep": 30})

    assert given.error == "Sandbox.Timedout"
    assert "timed out after 2.00 seconds" in given.payload["errorMessage"]
    psutil.wait_procs(processes, timeout=5)
    assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_payloads_have_a_size(make: Make) -> None:
    sandbox = make()

    assert len(answer(sandbox, {"answer": 6_000_000})) == 6_000_000
    assert sandbox.invoke({"answer": 7_000_000}).error == "Function.ResponseSizeTooLarge"
    assert sandbox.invoke({"write": "x" * 7_000_000}).error == "Request.TooLarge"


def test_errors_are_told_as_lambda_tells_them(make: Make) -> None:
    sandbox = make()

    raised = sandbox.invoke("raise")
    assert (raised.error, raised.payload["errorMessage"]) == ("KeyError", "'no such thing'")
    assert sandbox.invoke("exit").error == "Runtime.ExitError"
    with pytest.raises(InitFailedError, match="no_such_module"):
        make("import no_such_module")


def test_environment_variables_take_four_kilobytes_together(make: Make) -> None:
    with pytest.raises(ValueError, match="Lambda takes 4096"):
        make(LONG="x" * 4093)
