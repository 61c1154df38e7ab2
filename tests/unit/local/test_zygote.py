"""Functions of the local stack are forks of one process, and cannot tell."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gust.local import zygote
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(not zygote.is_possible(), reason="forking functions needs Linux")

WORLD = """
import gc, json, multiprocessing.process, os, signal, sys, threading
word = sys.stdin.readline().strip()
print("something for the log", file=sys.stderr)
print(json.dumps({
    "word": word,
    "name": __name__, "file": __file__,
    "environment": dict(os.environ), "seen from C": {k.decode(): v.decode() for k, v in os.environb.items()},
    "path": sys.path, "argv": sys.argv, "orig_argv": sys.orig_argv, "folder": os.getcwd(),
    "threads": threading.active_count(), "main thread": threading.current_thread() is threading.main_thread(),
    "signals": [str(signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)],
    "folder of spawned processes": multiprocessing.process.ORIGINAL_DIR,
    "collects": gc.isenabled(), "session": os.getsid(0),
    "streams": [[each.fileno(), each.encoding, each.errors] for each in (sys.stdin, sys.stdout, sys.stderr)],
    "descriptors": sorted(os.listdir("/proc/self/fd"), key=int)[:-1],
}))
"""

EMULATOR = """
import json, os, signal, subprocess, sys, time
from gust.local.zygote import Subprocess, Zygote
zygote = Zygote(["email.mime.text"], [])
told = {}
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)

def popen(script, *, forked=True, **environment):
    options = {"cwd": os.path.dirname(script), "env": {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "gust-api", **environment}}
    return Subprocess(zygote, lambda name: forked and name == "gust-api").Popen([sys.executable, script], **options, **pipes)
"""


def emulator(then: str, script: Path) -> Any:
    """Run the beginning of an emulator and `then`; returns what that leaves in `told`."""
    environment = of_a_user(PYTHONPATH=str(ROOT / "shared"), PYTHONUNBUFFERED="1", MARK="of the stack")
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"{EMULATOR}{then}\nprint(json.dumps(told))", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def script(folder: Path, text: str) -> Path:
    file = folder / "function.py"
    file.write_text(text)
    return file


def test_a_function_finds_the_world_of_an_interpreter_of_its_own(tmp_path: Path) -> None:
    then = """
for kind in (True, False):
    process = popen(sys.argv[1], forked=kind, ITS_OWN="one")
    process.stdin.write("hello\\n")
    process.stdin.flush()
    told[str(kind)] = json.loads(process.stdout.readline()), process.stderr.readline(), process.wait(20), process.poll()
"""
    told = emulator(then, script(tmp_path, WORLD))
    (forked, *ended), (own, *_) = told["True"], told["False"]
    assert {what: forked[what] for what in own if forked[what] != own[what]} == {}
    assert forked["environment"]["ITS_OWN"] == "one"
    assert ended == told["False"][1:] == ["something for the log\n", 0, 0]


def test_a_module_of_the_emulators_own_folder_is_not_a_functions(tmp_path: Path) -> None:
    """The emulator's command may lie in a package whose name a DAG folder has, too."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("WHOSE = 'the emulator'")
    code = f"import tests{EMULATOR}print(popen(sys.argv[1]).stdout.readline())"
    looks = script(
        tmp_path, "import sys; print([name for name in ('gust', 'tests') if name in sys.modules], flush=True)"
    )
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, str(looks)],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ended.stdout.strip() == "['gust']"


def test_a_function_knows_nothing_of_the_one_before(tmp_path: Path) -> None:
    then = """
for number in (1, 2):
    process = popen(sys.argv[1], **{f"SECRET_{number}": "x"})
    told[number] = [name for name in json.loads(process.communicate()[0]) if "SECRET" in name]
"""
    text = "import json, os, sys; print(json.dumps(sorted(os.environ)))"
    then = then.replace("process.communicate()[0]", "process.stdout.readline()")
    assert emulator(then, script(tmp_path, text)) == {"1": ["SECRET_1"], "2": ["SECRET_2"]}


def test_ps_shows_a_function_by_name_and_the_stack_s_mark(tmp_path: Path) -> None:
    """The next start finds processes by the mark that `kill -9` has left behind."""
    then = """
process = popen(sys.argv[1])
process.stdout.readline()
read = lambda pid, what: open(f"/proc/{pid}/{what}", "rb").read().decode()
told["shown"] = read(process.pid, "cmdline").strip("\\0"), "MARK=of the stack" in read(process.pid, "environ")
told["zygote"] = read(zygote.pid, "cmdline").strip("\\0")
"""
    told = emulator(then, script(tmp_path, "import sys; print(); sys.stdin.read()"))
    assert told == {"shown": ["gust-api", True], "zygote": zygote.TITLE}


def test_a_function_is_ended_as_a_child_is(tmp_path: Path) -> None:
    then = """
def started():
    process = popen(sys.argv[1])
    process.stdout.readline()
    return process

process = started()
told["lives"] = process.poll()
try:
    process.wait(0.01)
except subprocess.TimeoutExpired:
    told["waits"] = "no longer than asked"
process.terminate()
told["terminated"] = process.wait(10), process.returncode
process.terminate()
process = started()
process.kill()
told["killed"] = process.wait(10)
process = started()
process.stdin.close()
told["its input ended"] = process.wait(10), process.stdout.read()
"""
    told = emulator(then, script(tmp_path, "import sys; print(); sys.stdin.read(); print('end')"))
    assert told == {
        "lives": None,
        "waits": "no longer than asked",
        "terminated": [-15, -15],
        "killed": -9,
        "its input ended": [0, "end\n"],
    }


def test_without_its_zygote_a_function_ends_and_the_next_one_has_an_interpreter_of_its_own(tmp_path: Path) -> None:
    then = """
first = popen(sys.argv[1])
first.stdout.readline()
os.kill(zygote.pid, signal.SIGKILL)
told["first"] = first.wait(10)
second = popen(sys.argv[1])
second.stdout.readline()
told["second"] = type(second).__name__
second.kill()
"""
    told = emulator(then, script(tmp_path, "import sys; print(); sys.stdin.read()"))
    assert told == {"first": -9, "second": "Popen"}


def test_ministack_runs_its_functions_in_forks(tmp_path: Path) -> None:
    then = """
import io, zipfile
from gust.local import ministack
os.environ["GATEWAY_PORT"] = "1"
from ministack.core import lambda_runtime
ministack.fork_functions(zygote, lambda name: name == "gust-api")
package = io.BytesIO()
with zipfile.ZipFile(package, "w") as file:
    file.write(sys.argv[1], "app.py")
for name in ("gust-api", "a-dag-author-s"):
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    config = {"FunctionName": name, "FunctionArn": arn, "Handler": "app.answer", "Environment": {"Variables": {"A": name}}}
    worker = lambda_runtime.Worker(name, config, package.getvalue())
    answers = [worker.invoke({"question": number}, "an id") for number in (1, 2)]
    told[name] = type(worker._proc).__name__, [answer["result"] for answer in answers], answers[0]["log"]
    lambda_runtime.kill_workers([worker])
"""
    text = """
import os

def answer(event, context):
    print("asked", event["question"])
    return [os.environ["A"], event["question"], context.function_name]
"""
    assert emulator(then, script(tmp_path, text)) == {
        "gust-api": ["Function", [["gust-api", 1, "gust-api"], ["gust-api", 2, "gust-api"]], "asked 1"],
        "a-dag-author-s": [
            "Popen",
            [["a-dag-author-s", 1, "a-dag-author-s"], ["a-dag-author-s", 2, "a-dag-author-s"]],
            "asked 1",
        ],
    }


WATCHED = """
import json, os, sys, threading
asked = set()
kind = type(os.environ)
found, names = kind.__getitem__, kind.__iter__
kind.__getitem__ = lambda self, name: (asked.add(name), found(self, name))[1]
kind.__iter__ = lambda self: (asked.add("all of them"), names(self))[1]
noted = set()
for name in ("getcwd", "getpid", "getppid", "urandom"):
    def note(*arguments, call=getattr(os, name)):
        noted.add(sys._getframe(1).f_globals["__name__"])
        return call(*arguments)
    setattr(os, name, note)
import gust.local.emulator
from gust.local import zygote
for module in zygote.IMPORTED:
    __import__(module)
print(json.dumps({
    "asked": sorted(asked),
    "noted": sorted(noted),
    "threads": len(os.listdir("/proc/self/task")),
    "sockets": [each for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")
                and os.readlink(f"/proc/self/fd/{each}").startswith("socket")],
    "airflow": "airflow" in sys.modules,
}))
"""


KNOWN = {
    "logging",  # asks for each line anew
    "multiprocessing.process",  # `_become` sets both anew
    "psutil._pslinux",  # looks which files of /proc there are
    "rich",  # shortens paths in tracebacks
    "uuid",  # opentelemetry names its variables of a context so
}
"""Modules that ask for the process, its folder or random numbers while they are imported."""


def test_no_module_of_the_zygote_notes_what_is_different_in_each_function() -> None:
    """Such a module would hold what the zygote's environment says, in every function."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WATCHED],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(ended.stdout)
    assert set(told.pop("asked")) & variables_of_functions() == set()
    assert set(told.pop("noted")) <= KNOWN
    assert told == {"threads": 1, "sockets": [], "airflow": False}


def variables_of_functions() -> set[str]:
    """Names that template.yaml gives to functions, and names that MiniStack gives to each."""
    given = set(re.findall(r"^ {6,}([A-Z][A-Z0-9_]{3,}):", (ROOT / "template.yaml").read_text(), re.MULTILINE))
    from ministack.core import lambda_runtime

    every = set(re.findall(r'spawn_env(?:\[|\.setdefault\()"(\w+)"', Path(lambda_runtime.__file__).read_text()))
    assert {"GUST_TABLE", "POWERTOOLS_LOG_LEVEL", "AIRFLOW__API__BASE_URL"} <= given
    return given | every | set(lambda_runtime._RESERVED_RUNTIME_ENV_VARS) | {"all of them"}


def test_what_a_worker_imports_late_is_not_in_the_zygote() -> None:
    """A worker of the local stack then starts as one on AWS."""
    code = f"import importlib, sys; [importlib.import_module(name) for name in {zygote.IMPORTED}]; print(*sys.modules)"
    loaded = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared")),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not [name for name in loaded if name.partition(".")[0] in {"airflow", "sqlalchemy"}]
