"""A DAG file that is parsed once for many tasks: which files are, and that their tasks cannot tell. Nursery, preparers and
children are real."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import cast
from zipfile import ZipFile

import pytest

from gust.airflow_bridge import immortal, parse, parsed
from gust.airflow_bridge.nursery import Nursery
from gust.airflow_bridge.preparers import PARSED_FROM, Preparers, Subject
from gust.model.environment import OPTIONS_FILE, VARIABLES_FILE
from gust.model.same_parse import SameParse
from gust.model.state import DagRunState
from tests.environment import of_a_user
from tests.part import part_of
from tests.unit.worker.parsed_state import corpora, told
from tests.unit.worker.test_preparers import SLOW
from tests.unit.worker.whole import Whole

ROOT = Path(__file__).parents[3]

PLAIN = """
from airflow.sdk import DAG, task
{lines}
with DAG("d"):
    @task
    def t():
        pass
    t()
"""


PATIENCE_HERE = 120.0
"""Seconds. Preparers are forks of pytest here: among all tiers it holds millions of objects, which take long to mark."""


@pytest.fixture(scope="module", autouse=True)
def parser() -> None:
    """This process is the parser: it has imported all that Airflow's parse asks for, which a worker imports late."""
    parse.ready()


@pytest.fixture
def reason(tmp_path: Path) -> Callable[..., str | None]:
    """Why a file with these lines at its top is parsed in each task. `files`: others of the bundle."""
    bundle, workspace = tmp_path / "bundle", tmp_path / "workspace"
    bundle.mkdir()
    workspace.mkdir()

    def ask(lines: str, **files: str) -> str | None:
        (bundle / "d.py").write_text(PLAIN.format(lines=lines))
        for name, text in files.items():
            (bundle / name.replace("__", ".")).write_text(text)
        said = told(lambda: parse.proof_here(bundle, "d.py", workspace, None, ()).decode())
        found = json.loads(said) if isinstance(said, str) else "it ends the process"
        return found if isinstance(found, str) else None

    return ask


@pytest.mark.parametrize(
    "lines",
    {
        "constants": "import datetime\nSTART = datetime.datetime(2026, 1, 1) + datetime.timedelta(days=1)",
        "pendulum": "import pendulum\nSTART = pendulum.datetime(2026, 1, 1, tz='Europe/Paris')",
        "a helper's": "import helper\nfrom helper import STATE",
        "its own path": "import os, pathlib\nHERE = os.path.abspath(__file__), pathlib.Path(__file__).resolve()",
        "sys.path": "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))",
        "a file of the bundle": "import pathlib\nREAD = pathlib.Path(__file__).with_name('a.json').read_text()",
        "the bundle's folder": "import os\nNAMES = sorted(os.listdir(os.path.dirname(__file__)))",
        "a variable for all tasks": "import os\nSTAGE = os.environ.get('STAGE', 'dev')",
        "a logger": "import logging\nlog = logging.getLogger(__name__)",
        "a cron": "from airflow.sdk import CronTriggerTimetable\nT = CronTriggerTimetable('0 0 * * *', timezone='UTC')",
        "classes": "import dataclasses, enum\n@dataclasses.dataclass\nclass A:\n    b: int\nE = enum.Enum('E', 'a b')\nA(1)",
        "hashes": "import hashlib\nNAME = hashlib.sha256(b'x').hexdigest()",
        "its own caches": "import functools\n@functools.cache\ndef f(): return [1]\nf().append(2)",
    }.items(),
    ids=lambda each: each[0],
)
def test_a_file_that_asks_nothing_is_parsed_ahead(reason: Callable[..., str | None], lines: tuple[str, str]) -> None:
    assert reason(lines[1], helper__py="STATE = []\n", a__json="[1]") is None


HOSTILE = {
    "the time": "import time\nNOW = time.time()",
    "a clock by another name": "from time import perf_counter_ns as p\nNOW = p()",
    "the date": "import datetime\nTODAY = datetime.date.today()",
    "the time, in pendulum": "import pendulum\nNOW = pendulum.now('UTC')",
    "the time, in a helper's function": "import helper\nNOW = helper.now()",
    "the time, by a factory": "import dataclasses, time\n@dataclasses.dataclass\nclass A:\n    at: float = "
    "dataclasses.field(default_factory=time.time)\nA()",
    "the time, unseen": "import time\nNOW = list(map(lambda f: f(), [time.time]))",
    "the time, by map": "import time\nNOW = next(iter(time.time, None))",
    "the time, by partial": "import functools, time\nNOW = functools.partial(time.time)()",
    "the time, by defaultdict": "import collections, time\nNOW = collections.defaultdict(time.time)[0]",
    "the time, by getattr": "import time\nNOW = getattr(time, 'ti' + 'me')()",
    "the time, by exec": "exec('import time; NOW = time.time()')",
    "the time, by a metaclass": "import time\nclass M(type):\n    def __call__(cls): return time.time()\n"
    "class A(metaclass=M): pass\nA()",
    "the time, by an operator": "import os\nclass A:\n    __hash__ = os.getpid\nNUMBER = hash(A())",
    "the time, caught": "import time\ntry:\n    NOW = time.time()\nexcept BaseException:\n    NOW = 0",
    "the process": "import os\nPID = os.getpid()",
    "random numbers": "import random\nNUMBER = random.random()",
    "random numbers, seeded": "import random\nrandom.seed(1)",
    "a generator": "import random\nDICE = random.Random(1)",
    "an id": "import uuid\nID = uuid.uuid4()",
    "a secret": "import secrets\nID = secrets.token_hex()",
    "a file outside": "READ = open('/etc/hostname').read()",
    "a file outside, by its descriptor": "import os\nFD = os.open('/etc/hostname', os.O_RDONLY)",
    "whether a file is there": "import os\nIS = os.path.exists('/tmp/flag')",
    "what lies above the bundle": "import os\nNAMES = os.listdir(os.path.dirname(os.path.dirname(__file__)))",
    "when it was changed above the bundle": "import os\nAT = os.stat(os.path.dirname(os.path.dirname(__file__))).st_mtime",
    "when a file was changed": "import os\nAT = os.path.getmtime(__file__)",
    "a file of the bundle, kept open": "FILE = open(__file__)",
    "a file of the bundle, to write": "FILE = open(__file__, 'a')",
    "native code": "import ctypes\nLIBC = ctypes.CDLL(None)",
    "a thread": "import threading\nthreading.Thread(target=print).start()",
    "a process": "import subprocess\nsubprocess.run(['true'])",
    "a socket": "import socket\nSOCKET = socket.socket()",
    "what happens at the end": "import atexit\natexit.register(print)",
    "what happens at a fork": "import os\nos.register_at_fork(before=print)",
    "an environment variable of its own": "import os\nos.environ['OMP_NUM_THREADS'] = '1'",
    "all environment variables": "from os import environ as e\nALL = dict(e)",
    "the environment as bytes": "import os\nALL = list(os.environb)",
    "a task's credentials": "import os\nURI = os.getenv('AWS_CONTAINER_CREDENTIALS_FULL_URI')",
    "what it is parsed for": "from airflow.sdk import get_parsing_context\nASKED = get_parsing_context().dag_id",
    "a variable of Airflow": "from airflow.sdk import Variable\nV = Variable.get('v', default=None)",
    "a connection of Airflow": "from airflow.sdk import Connection\ntry: Connection.get('c')\nexcept Exception: pass",
    "output": "print('parsed')",
    "a line in the log": "import logging\nlogging.getLogger(__name__).warning('parsed')",
    "a line in Airflow's log": "import structlog\nstructlog.get_logger().info('parsed')",
    "a warning": "import warnings\nwarnings.warn('parsed')",
    "a handler": "import logging, sys\nlogging.getLogger('x').addHandler(logging.StreamHandler(sys.stdout))",
    "a level": "import logging\nlogging.getLogger('botocore').setLevel(logging.ERROR)",
    "a bound logger": "import structlog\nlog = structlog.get_logger().bind(a=1)",
    "stdout": "import sys\nOUT = sys.stdout",
    "a hook": "import sys\nsys.excepthook = print",
    "a signal": "import signal\nsignal.signal(signal.SIGTERM, print)",
    "the working folder": "import os\nos.chdir('/')",
    "Airflow's settings": "from airflow import settings\nsettings.DAGS_FOLDER = '/'",
    "Airflow's task runner": "from airflow.sdk.execution_time import task_runner\ntask_runner.parse = print",
    "a class of Airflow's": "from airflow.sdk.execution_time import comms\ncomms.CommsDecoder.send = print",
    "Python's own": "import builtins\nbuiltins.open = print",
    "its callers": "import sys\nBY = sys._getframe(1).f_code.co_name",
    "the stack": "import inspect\nBY = [each.function for each in inspect.stack()]",
    "the garbage": "import gc\ngc.disable()",
    "tracing": "import sys\nsys.settrace(None)",
    "a mistake": "1 / 0",
    "an end": "import os\nos._exit(0)",
    "a compiled module": "import _testcapi",
    "the time, by methodcaller": "import datetime, operator\nNOW = operator.methodcaller('now')(datetime.datetime)",
    "the time, by call": "import operator, time\nNOW = list(map(operator.call, [time.time]))",
    "the time, by reduce": "import functools, operator, time\nNOW = functools.reduce(operator.call, [time.ctime, None])",
    "the time, by groupby": "import itertools, time\nNOW = [key for key, _ in itertools.groupby([None], time.ctime)]",
    "its names, by structlog's variables": "import structlog\n"
    "NAMES = [each.get() for each in structlog.contextvars._CONTEXT_VARS.values()]",
    "its names in Airflow's log": "import structlog\nTASK = structlog.contextvars.get_contextvars().get('task_id')",
    "its names in the context": "import contextvars\nNAMES = [each.name for each in contextvars.copy_context()]",
    "the way to its supervisor": "from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS",
    "what the way to its supervisor is": "from airflow.sdk.execution_time import task_runner\n"
    "IS = type(task_runner.SUPERVISOR_COMMS).__name__",
    "whether its supervisor can be asked, unseen": "from airflow.sdk.execution_time import task_runner\n"
    "try:\n    IS = task_runner.finalize.__globals__['SUPERVISOR_COMMS'].socket\nexcept BaseException: IS = None",
    "the name of stdout": "import sys\nNAME = sys.stdout.name",
    "the encoding of stderr, caught": "import sys\ntry:\n    CODE = sys.stderr.encoding\nexcept BaseException: CODE = ''",
    "Python's own stdout": "import sys\nOUT = sys.__stdout__",
    "Python's own stderr, in a text": "import sys\nERR = f'{sys.__stderr__}'",
    "a variable, below os": "import posix\nURI = posix.environ.get(b'AWS_CONTAINER_AUTHORIZATION_TOKEN')",
    "a variable, below os, unseen": "import posix\nIS = b'AWS_CONTAINER_AUTHORIZATION_TOKEN' in posix.environ",
    "all variables, unseen": "import posix\nALL = {**posix.environ}",
    "a task's variable, caught": "import os\ntry:\n    URI = os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI']\n"
    "except BaseException: URI = None",
    "how many handlers a log has": "import logging\nNUMBER = len(logging.getLogger().handlers)",
    "the stream of a log": "import logging\nNAME = logging.root.handlers[0].stream.name",
    "structlog's configuration": "import structlog\nIS = structlog.get_config()['cache_logger_on_first_use']",
    "the number of its thread": "import threading\nNUMBER = threading.main_thread().native_id",
}


@pytest.mark.parametrize("lines", HOSTILE.items(), ids=lambda each: each[0])
def test_a_file_that_asks_or_does_what_differs_is_parsed_in_each_task(
    reason: Callable[..., str | None], lines: tuple[str, str]
) -> None:
    found = reason(lines[1], helper__py="import datetime\ndef now():\n    return datetime.datetime.now()\n")
    assert found, found


def test_a_file_is_stopped_before_it_does_what_others_notice(
    reason: Callable[..., str | None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    left = tmp_path / "left"
    lines = f"try:\n    open({str(left)!r}, 'w').close()\nexcept BaseException:\n    print('caught')\n"
    assert reason(lines) == "it calls _io.open"
    assert not left.exists()
    assert capfd.readouterr().out == ""


def said_of(
    bundle: Path, file: str, workspace: Path, environment: Path | None = None, modules: Sequence[str] = ()
) -> object:
    return json.loads(str(told(lambda: parse.proof_here(bundle, file, workspace, environment, modules).decode())))


def test_what_runs_beside_the_file_keeps_it_from_being_parsed_ahead(tmp_path: Path) -> None:
    """Plugins, a zip's importer, native code of packages, which Python calls unseen for an operator."""
    bundle, workspace, environment = (tmp_path / name for name in ("bundle", "workspace", "environment"))
    (environment / "pack").mkdir(parents=True)
    bundle.mkdir()
    workspace.mkdir()
    (bundle / "d.py").write_text(PLAIN.format(lines=""))
    with ZipFile(bundle / "d.zip", "w") as archive:
        archive.writestr("d.py", PLAIN.format(lines=""))
    native = Path(str(importlib.util.find_spec("_bisect").origin))  # type: ignore[union-attr]
    shutil.copy(native, environment / "pack")

    assert isinstance(said_of(bundle, "d.py", workspace, environment), dict)
    assert said_of(bundle, "d.zip", workspace) == "it is a zip"
    assert said_of(bundle, "d.py", workspace, environment, ["pack._bisect"]) == "its packages have native code"
    (bundle / "plugins").mkdir()
    assert said_of(bundle, "d.py", workspace) == "plugins run before it is parsed"


@pytest.mark.parametrize(
    "changed",
    [
        {"d.py": "# another\n"},
        {"helper.py": "# another\n"},
        {"new.py": ""},
        {OPTIONS_FILE: "{}"},
        {VARIABLES_FILE: "{}"},
    ],
    ids=lambda each: next(iter(each)),
)
def test_a_proof_holds_for_the_files_that_were_watched(tmp_path: Path, changed: dict[str, str]) -> None:
    bundle, workspace = tmp_path / "bundle", tmp_path / "workspace"
    (bundle / ".gust").mkdir(parents=True)
    workspace.mkdir()
    (bundle / "d.py").write_text(PLAIN.format(lines="import helper"))
    (bundle / "helper.py").write_text("")
    (bundle / "unread.py").write_text("")
    proof = SameParse.model_validate_json(told(lambda: parse.proof_here(bundle, "d.py", workspace, None, ()).decode()))

    def ahead() -> str | None:
        return cast("str | None", told(lambda: parsed.parse_ahead(bundle, "d.py", workspace, None, proof)))

    assert proof.files == ("helper.py",)
    (bundle / "unread.py").write_text("# another\n")
    assert ahead() is None
    for name, more in changed.items():
        with (bundle / name).open("a") as file:
            file.write(more)
    assert ahead() == "the parser has watched another one"


def test_a_proof_holds_for_the_variables_that_were_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, workspace = tmp_path / "bundle", tmp_path / "workspace"
    bundle.mkdir()
    workspace.mkdir()
    (bundle / "d.py").write_text(PLAIN.format(lines="import os\nSTAGE = os.environ.get('STAGE')"))
    proof = SameParse.model_validate_json(told(lambda: parse.proof_here(bundle, "d.py", workspace, None, ()).decode()))

    def ahead() -> str | None:
        return cast("str | None", told(lambda: parsed.parse_ahead(bundle, "d.py", workspace, None, proof)))

    monkeypatch.setenv("OTHER", "of this process")
    assert ahead() is None
    monkeypatch.setenv("STAGE", "of this process")
    assert ahead() == "the parser has watched another one"


# --- on a worker ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nursery() -> Nursery:
    """With a stdout like a worker's; pytest's is a file that a fork closes."""
    with open(1, "w", buffering=1, closefd=False) as stdout, redirect_stdout(stdout):
        return Nursery()


@pytest.fixture
def gust(whole: Whole, nursery: Nursery) -> Iterator[Whole]:
    whole.children = nursery
    whole.preparers = Preparers(nursery, say=SAID.append, worth_parse=0, patience=PATIENCE_HERE)
    whole.is_watched = True
    SAID.clear()
    yield whole
    whole.preparers._end_parsed()
    for each in list(whole.preparers._ready):
        if each in whole.preparers._ready:
            whole.preparers._forget(each)


SAID: list[str] = []
"""For the operator."""

DAG = """
from airflow.sdk import DAG, task
{lines}
with DAG("{dag}", user_defined_macros={{"twice": lambda x: x * 2}}):
    @task
    def t(x):
        import os
        print("said", os.getppid())
        print("said", x, STATE)
        STATE.append(x)
    t.override(task_id="u")("{{{{ twice(21) }}}}")
    t.expand(x=[1, 2])
    for number in range(3):
        t.override(task_id=f"n{{number}}")(number)
"""


TASKS = 6

SOME = [
    *("benches/dags/mesh.py", "examples/dags/currency_rates.py", "tests/system/dags/mapping.py", "random/0.py"),
    *("tests/system/operators/glue.py", "airflow.example_dags/example_asset_alias.py"),
]


def parents(gust: Whole) -> list[int]:
    return [int(line) for line in gust.said("said ")[0::2]]


def run(gust: Whole, dag: str = "d") -> None:
    assert gust.work(gust.trigger(dag, f"r{os.urandom(4).hex()}")).state is DagRunState.SUCCESS, gust.log.lines


def test_tasks_of_a_file_come_from_a_process_that_has_parsed_it_until_another_file_has_a_task(gust: Whole) -> None:
    gust.upload(d=DAG.format(lines="import helper\nfrom helper import STATE", dag="d"), helper="STATE = []\n")
    gust.upload(e=DAG.format(lines="STATE = []", dag="e"))
    run(gust)
    nursery, of_parse = gust.children.pid, gust.preparers._parsed[1]._process.pid  # type: ignore[attr-defined, union-attr, index]
    assert parents(gust) == [nursery] * (PARSED_FROM - 1) + [of_parse] * (TASKS - PARSED_FROM + 1)
    assert sorted(gust.said("said ")[1::2]) == ["0 []", "1 []", "1 []", "2 []", "2 []", "42 []"]
    assert [line.partition(" (")[0] for line in SAID] == ["Parsed before tasks: d.py"]

    run(gust, "e")
    assert not os.path.exists(f"/proc/{of_parse}")
    assert of_parse not in parents(gust)[TASKS:]
    assert [line.partition(" (")[0] for line in SAID[1:]] == ["Parsed before tasks: e.py"]


OF_OBJECTS = """
import gc, os, slow, weakref
from airflow.sdk import DAG, task
class A: ...
ONE, RING = A(), A()
RING.itself = RING
REFS = weakref.ref(ONE), weakref.ref(RING)
with DAG("d"):
    @task
    def t(x):
        del globals()["ONE"], globals()["RING"]
        before = [ref() is None for ref in REFS]
        gc.collect()
        print("said", os.getppid())
        print("said", before, [ref() is None for ref in REFS])
    t.expand(x=list(range(6)))
"""


def test_objects_of_a_file_die_in_each_task_as_in_airflow(gust: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the process has run many tasks, and what was imported before the parse becomes immortal."""
    monkeypatch.setattr(immortal, "IMMORTALIZE_AFTER_TASKS", 3)
    gust.environments = {"": {"slow.py": SLOW}}
    gust.upload(d=OF_OBJECTS)
    run(gust)
    assert gust.said("said ")[1::2] == ["[True, False] [True, True]"] * 6
    assert [line.partition(" (")[0] for line in SAID] == [
        "Imported before tasks of d.py: slow",
        *["Parsed before tasks: d.py"] * 2,
    ]
    of_imports, *of_parse = parents(gust)
    assert [each == of_parse[0] for each in of_parse] == [True] * 3 + [False] * 2
    assert of_imports not in of_parse


def test_a_message_is_hidden_again_before_its_file_is_parsed(tmp_path: Path, nursery: Nursery) -> None:
    """The imports before may have taken nearly the minute."""
    bundle, workspace = tmp_path / "bundle", tmp_path / "workspace"
    bundle.mkdir()
    workspace.mkdir()
    (bundle / "d.py").write_text(PLAIN.format(lines=""))
    proof = SameParse.model_validate_json(told(lambda: parse.proof_here(bundle, "d.py", workspace, None, ()).decode()))
    subject, preparers, hidden = (
        Subject(bundle, "d.py", "t", None, proof),
        Preparers(nursery, worth_parse=0, patience=PATIENCE_HERE),
        list[str](),
    )
    for _ in range(PARSED_FROM + 1):
        preparers.count(subject)
        preparers.children_of(subject, workspace, lambda: hidden.append("before" if not preparers._parsed else "after"))
    preparers._end_parsed()
    assert hidden == ["before"]


def test_a_file_whose_imports_have_died_is_parsed_ahead_at_a_later_try(tmp_path: Path, nursery: Nursery) -> None:
    """Not blamed for an import that a dead process had made."""
    bundle, environment, workspace = (tmp_path / name for name in ("bundle", "environment", "workspace"))
    for folder in (bundle, environment, workspace):
        folder.mkdir()
    (bundle / "d.py").write_text(PLAIN.format(lines="import slow"))
    (environment / "slow.py").write_text(SLOW)
    proof = SameParse.model_validate_json(
        told(lambda: parse.proof_here(bundle, "d.py", workspace, environment, ("slow",)).decode())
    )
    said: list[str] = []
    preparers = Preparers(nursery, say=said.append, worth_parse=0, patience=PATIENCE_HERE)
    subject = Subject(bundle, "d.py", "t", environment, proof)
    preparers.hear(subject, ("slow",))

    def kill() -> None:
        (made,) = preparers._ready.values()
        if len(said) == 1:
            made._process.send_signal(signal.SIGKILL)
            made._process.wait(60)

    for _ in range(PARSED_FROM + 1):
        preparers.count(subject)
        preparers.children_of(subject, workspace, kill)
    preparers._end_parsed()
    for key in list(preparers._ready):
        preparers._forget(key)
    assert [line.partition(" (")[0] for line in said] == [
        *["Imported before tasks of d.py: slow"] * 2,
        "Parsed before tasks: d.py",
    ]


def test_the_log_of_a_task_says_the_same(gust: Whole) -> None:
    """Line by line, with the places in Airflow's code that they come from."""
    gust.upload(d=DAG.format(lines="STATE = []", dag="d"))
    run(gust)
    logs: dict[str, list[tuple[object, ...]]] = {}
    for line in gust.log.lines:
        if "ti_id" in line and not str(line["event"]).startswith("said"):
            told = tuple(str(line.get(name)) for name in ("event", "logger", "level", "filename", "lineno", "dag_file"))
            logs.setdefault(str(line["ti_id"]), []).append(told)
    assert len(logs) == TASKS
    assert len({tuple(each) for each in logs.values()}) == 1
    fillings = [line for line in gust.log.lines if str(line["event"]).startswith("Filling up the DagBag from /")]
    assert len(fillings) == TASKS
    assert (
        len(
            {tuple(str(line[name]) for name in ("event", "level", "logger", "filename", "lineno")) for line in fillings}
        )
        == 1
    )


def test_a_file_that_must_not_be_is_parsed_in_each_task_and_the_operator_is_told_why(
    gust: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gust.upload(d=DAG.format(lines="import time\nSTATE, NOW = [], time.time()", dag="d"))
    run(gust)
    assert set(parents(gust)) == {gust.children.pid}  # type: ignore[attr-defined]
    assert "Each task parses d.py: it calls time.time" in caplog.messages
    assert SAID == []


def test_each_task_parses_its_file_where_an_option_says_so(gust: Whole) -> None:
    gust.options = {parsed.OPTION: "False"}
    gust.upload(d=DAG.format(lines="STATE = []", dag="d"))
    run(gust)
    assert set(parents(gust)) == {gust.children.pid}  # type: ignore[attr-defined]
    assert SAID == []


# --- the corpora ------------------------------------------------------------------------------------------------------


DIFFERS = "|".join(
    [
        # the trial refuses each use
        r"posix\.environ",
        r"airflow\.sdk\.execution_time\.task_runner\.SUPERVISOR_COMMS(\..*)?",
        r"structlog\._config\._CONFIG\..*",
        # private names, which only a read without a call can tell
        *(r".*\._pid", r".*\.stats\._backend", r"logging\._handlerList", r"dill\.logger\..*"),
        *(r"airflow\.sdk\..*\.log\._cache", r"airflow\.sdk\..*\.log\.bind"),
    ]
)
"""What lies in the namespaces of modules during the parse, and is another in a process that parses for its children."""


def test_a_process_that_has_parsed_is_like_one_that_parses_itself(request: pytest.FixtureRequest) -> None:
    """During the parse: what lies in the namespaces of modules. After it, of each file that is parsed ahead:
    modules, loggers, the process itself, the DAGs and their log lines. Among all tiers it is a part of the corpora;
    `parsed_state.py` looks at all of them."""
    is_alone = not hasattr(request.config, "workerinput")
    names = SOME if is_alone else part_of(corpora(), request.config, 48, "shared/gust/airflow_bridge")
    answer = subprocess.run(  # noqa: S603
        [sys.executable, str(Path(__file__).with_name("parsed_state.py")), *names],
        env=of_a_user(PYTHONPATH=f"{ROOT}/shared:{ROOT}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    found = json.loads(answer.stdout.splitlines()[-1])
    assert {name: each for name, each in found["during"].items() if not re.fullmatch(DIFFERS, name)} == {}
    assert {name: each for name, each in found["differences"].items() if each} == {}
    assert len(found["differences"]) > len(found["not_ahead"])
