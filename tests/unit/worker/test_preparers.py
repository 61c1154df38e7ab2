"""What tasks find imported before them, and that nothing else tells them so. Nursery, preparers and children are real."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from gust.airflow_bridge import imports, orphans, preparers
from gust.airflow_bridge.nursery import Nursery, Process
from gust.airflow_bridge.preparer import import_installed
from gust.airflow_bridge.preparers import ATTEMPTS, PATIENCE, Preparers, Subject
from gust.aws.queues import HIDDEN_FOR
from gust.model.state import DagRunState
from tests.environment import of_a_user
from tests.unit.worker.whole import Whole

SLOW = """
import os, time
until = time.process_time() + 0.03
while time.process_time() < until: pass
PID, STATE, FOLDER = os.getpid(), [], os.getcwd()
"""
"""A package whose import is worth a preparer. It knows the process that imported it."""

HEAD = "import os\nfrom airflow.sdk import DAG, task\n"

SAYS = """
with DAG("{dag}"):
    @task
    def t():
        {lines}
    t()
"""


@pytest.fixture(scope="module")
def nursery() -> Nursery:
    """With a stdout like a worker's; pytest's is a file that a fork closes."""
    with open(1, "w", buffering=1, closefd=False) as stdout, redirect_stdout(stdout):
        return Nursery()


@pytest.fixture
def gust(whole: Whole, nursery: Nursery) -> Iterator[Whole]:
    whole.children = nursery
    whole.preparers = Preparers(nursery, patience=120)  # pytest, which is large, is forked here
    yield whole
    for each in list(whole.preparers._ready):
        if each in whole.preparers._ready:
            whole.preparers._forget(each)


def file(imported: str, *lines: str, dag: str = "d") -> str:
    return HEAD + imported + SAYS.format(dag=dag, lines="\n        ".join(lines))


def run(gust: Whole, times: int = 1, *, dag: str = "d") -> list[str]:
    """Run the DAG so often; what it has said this time."""
    before = len(gust.said("said "))
    for _ in range(times):
        number = len(gust.queues.wakes) + before + _
        key = gust.trigger(dag, f"r{number}_{os.urandom(4).hex()}")
        assert gust.work(key).state is DagRunState.SUCCESS, [line["event"] for line in gust.log.lines]
    return gust.said("said ")[before:]


def is_prepared(module: str) -> str:
    return f"print('said', {module}.PID != os.getpid())"


def test_a_file_imports_once_for_all_its_later_tasks_and_its_author_cannot_tell(gust: Whole) -> None:
    """Installed modules come from the preparer; what a task changed in them is gone. The DAG folder's own run anew."""
    gust.environments = {"": {"slow.py": SLOW}}
    gust.upload(
        d=file(
            "import slow, random, helper\n",
            "print('said', slow.PID != os.getpid(), helper.PID == os.getpid(), slow.STATE, helper.STATE)",
            "print('said', slow.FOLDER == os.getcwd() == os.environ['TMPDIR'], os.listdir(), random.random())",
            "slow.STATE.append(1), helper.STATE.append(1), open('left', 'w').close()",
        ),
        helper="import os\nPID, STATE = os.getpid(), []\n",
    )
    said = run(gust, 2)
    assert said[0::2] == ["True True [] []"] * 2
    assert [line.rsplit(" ", 1)[0] for line in said[1::2]] == ["True []"] * 2
    assert len({line.rsplit(" ", 1)[1] for line in said[1::2]}) == 2


def test_what_a_task_imports_is_there_for_that_task_alone(gust: Whole) -> None:
    gust.environments = {"": {"slow.py": SLOW, "other.py": SLOW}}
    source = file("import slow, sys\n", "import other", is_prepared("slow"), is_prepared("other"))
    source += (
        "    @task\n    def u():\n        print('said', slow.PID != os.getpid(), 'other' in sys.modules)\n    u()\n"
    )
    gust.upload(d=source)
    assert sorted(run(gust)) == ["False", "True", "True False"]
    assert sorted(run(gust)) == ["True", "True", "True False"]


def test_environments_do_not_mix(gust: Whole) -> None:
    """Two versions of a package, one after the other and back."""
    gust.environments = {"a": {"slow.py": f"{SLOW}VERSION = 1\n"}, "b": {"slow.py": f"{SLOW}VERSION = 2\n"}}
    says = ("print('said', slow.VERSION, slow.PID != os.getpid())",)
    gust.upload(
        a__d=file("import slow\n", *says, dag="a"),
        b__d=file("import slow\n", *says, dag="b"),
        c=file("", "import importlib.util", "print('said', importlib.util.find_spec('slow'))", dag="c"),
    )
    assert [run(gust, dag=dag) for dag in "abcab"] == [["1 True"], ["2 True"], ["None"], ["1 True"], ["2 True"]]


def provider(name: str, *, module: str = "") -> dict[str, str]:
    """The files of an installed provider. What it tells Airflow of itself is the process that it tells it in."""
    return {
        f"{name}.py": f"import os\n{module}\ndef info():\n"
        f"    return {{'package-name': '{name}', 'name': '{name}', 'description': str(os.getpid())}}\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/entry_points.txt": f"[apache_airflow_provider]\nprovider_info = {name}:info\n",
    }


LOOKS = (
    "from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as Manager",
    "known = {name: about.data for name, about in Manager().providers.items() if name in ('acme', 'umbrella', 'vendored')}",
    "print('said', *(f'{name}:{about[\"description\"] != str(os.getpid())}' for name, about in known.items()))",
)


def test_airflow_looks_for_an_environments_providers_once_for_all_its_later_tasks(gust: Whole) -> None:
    """A task sees those of its own environment, and no child has to look again."""
    gust.environments = {"a": {"slow.py": SLOW, **provider("acme")}, "b": {"slow.py": SLOW, **provider("umbrella")}}
    files = {f"{dag}__d": file("import slow\n", *LOOKS, dag=dag) for dag in "ab"}
    gust.upload(**files, c=file("", *LOOKS, dag="c"))

    of_a, of_b = ["acme:True"], ["umbrella:True"]
    assert [run(gust, dag=dag) for dag in "abcab"] == [of_a, of_b, [], of_a, of_b]


def test_a_provider_among_the_dag_files_is_found_from_the_version_that_brings_it(gust: Whole) -> None:
    """The environment is the same one before and after."""
    gust.environments = {"": {"slow.py": SLOW, **provider("acme")}}
    source = file("import slow\n", *LOOKS, is_prepared("slow"))
    gust.upload(d=source)
    assert run(gust, 2) == ["acme:True", "True"] * 2

    gust.others = {f"plugins/{path}": text for path, text in provider("vendored").items()}
    gust.upload(d=source)
    assert run(gust, 2) == ["acme:False vendored:False", "True"] * 2


def test_no_package_of_another_environment_runs_beside_a_task(gust: Whole) -> None:
    """A hostile one could read and change the task's files. What it has started and left is a child of the worker."""
    gust.environments = {"a": {"slow.py": SLOW}, "b": {"slow.py": f"{SLOW}B = 1\n"}}
    gust.upload(a__d=file("import slow\n", "print('said', slow.PID)", dag="a"))
    of_a = {*run(gust, 2, dag="a")}
    left = subprocess.Popen(["sleep", "300"], start_new_session=True, env=of_a_user())  # noqa: S607
    of_a.add(str(left.pid))
    looks = f"print('said', 'none', *[pid for pid in {sorted(of_a)} if os.path.exists('/proc/' + pid)])"
    gust.upload(b__d=file("import slow\n", looks, dag="b"))
    assert run(gust, dag="b") == ["none"]
    left.wait(10)


def test_a_preparer_that_does_not_tell_of_its_forks_delays_no_other_team(gust: Whole) -> None:
    gust.environments = {"a": {"slow.py": SLOW, "other.py": SLOW}}
    gust.upload(a__d=file("import slow\n", "import other", is_prepared("other"), dag="a"))
    assert run(gust, 2, dag="a") == ["False", "True"]
    assert gust.preparers is not None
    above, below = gust.preparers._ready.values()
    assert below.above is above
    above._process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert gust.preparers.leave(None)
    assert time.monotonic() - began < PATIENCE, "for which it would wait for an answer"


@pytest.mark.parametrize("said", [b"=1\n", b"=1 -2\n", b"=one two\n", b"=" + b"9" * 100 + b" 1\n"])
def test_a_preparer_that_answers_with_anything_else_is_not_ready(said: bytes) -> None:
    worker, theirs = socket.socketpair()
    with worker, theirs:
        theirs.sendall(said)
        assert preparers._figures(preparers._Answer(worker, time.monotonic() + 5).outcome()) is None


def test_a_preparer_that_talks_without_end_stays_out() -> None:
    worker, theirs = socket.socketpair()
    with worker, theirs:
        theirs.sendall(b"x" * 2 * imports.LARGEST)  # less than the socket holds
        assert preparers._Answer(worker, time.monotonic() + 5).outcome().endswith(b"it talks to the worker")


def test_a_preparer_that_forks_without_a_word_runs_no_task_beside_the_nurserys() -> None:
    """It is too late, or its environment's package answers in its place."""
    worker, theirs = socket.socketpair()
    told, tell = os.pipe()
    kept = orphans.children()
    orphans.adopt()
    pid = os.fork()
    if pid == 0:
        theirs.recv(1)
        os.write(tell, b"%d" % (os.fork() or os.getpid()))
        signal.pause()
    process = Process(pid, os.pidfd_open(pid), None)

    class Instead:
        def fork(self, *_: object, **__: object) -> str:
            return "the nursery's"

    made = preparers.Preparer(worker, process, 1, Instead(), None, kept=kept, patience=0.5)  # type: ignore[arg-type]
    try:
        assert made.fork(time.time, []) == "the nursery's"  # type: ignore[comparison-overlap]
        assert os.read(told, 100)
        assert orphans.children() <= kept
        assert made.has_ended
    finally:
        orphans.leave_to_parent()
        for end in (worker, theirs):
            end.close()
        for descriptor in (told, tell):
            os.close(descriptor)


def test_another_bundle_learns_anew(gust: Whole) -> None:
    """The same name may be another module there."""
    gust.environments = {"": {"slow.py": SLOW}}
    gust.upload(d=file("import slow\n", is_prepared("slow")))
    assert run(gust) == ["True"]
    gust.upload(
        d=file(
            "import sys\nsys.path.insert(0, os.path.dirname(__file__) + '/own')\nimport slow\n",
            "print('said', slow.__file__.endswith('own/slow.py'))",
        ),
        own__slow=SLOW,
    )
    assert run(gust, 2) == ["True", "True"]


@pytest.mark.parametrize(
    "before",
    [
        "os.environ['THREADS_OF_LIBRARY'] = '1'",
        "os.environ.pop('PATH')",
        "import sys; sys.path.insert(0, '/tmp')",
        "import telling; telling.set_it()",
    ],
)
def test_an_import_that_may_depend_on_the_authors_code_stays_behind_it(gust: Whole, before: str) -> None:
    gust.environments = {
        "": {"slow.py": SLOW, "first.py": SLOW, "telling.py": "def set_it():\n import os\n os.environ['X'] = '1'"}
    }
    gust.upload(d=file(f"import first\n{before}\nimport slow\n", is_prepared("first"), is_prepared("slow")))
    assert run(gust, 2) == ["True", "False"] * 2


def test_modules_see_the_variables_that_the_bundle_exports(gust: Whole) -> None:
    gust.environments = {"": {"slow.py": f"{SLOW}MODE = os.environ.get('MODE')\n"}}
    for mode in ("fast", "safe"):
        gust.variables = {"MODE": mode}
        gust.upload(d=file("import slow\n", is_prepared("slow"), "print('said', slow.MODE)"))
        assert run(gust) == ["True", mode]


def test_modules_see_the_file_of_their_own_bundle_that_an_option_names(gust: Whole) -> None:
    gust.environments = {"": {"slow.py": f"{SLOW}PLACE = os.environ['AIRFLOW__EMAIL__HTML_CONTENT_TEMPLATE']\n"}}
    gust.options = {"email.html_content_template": "/usr/local/airflow/dags/mail.html"}
    says = "print('said', slow.PLACE == os.path.dirname(__file__) + '/mail.html')"
    for _ in range(2):
        gust.upload(d=file("import slow\n", is_prepared("slow"), says))
        assert run(gust) == ["True", "True"]


def test_a_preparer_leaves_the_files_of_the_environment_alone(gust: Whole) -> None:
    """The worker extracts one anew that has changed."""
    gust.environments = {"": {"slow.py": SLOW}}
    lists = "print('said', *sorted(os.listdir(os.path.dirname(slow.__file__))))"
    gust.upload(d=file("", "import slow", is_prepared("slow"), lists))
    assert run(gust, 2) == ["False", "bin slow.py", "True", "bin slow.py"]


UNFIT = {
    "it starts threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "it keeps files or sockets open": "import socket\nkept = socket.socket()",
    "it starts processes": "import subprocess\nsubprocess.run(['/bin/true'], check=True)",
    "it changes environment variables": "os.environ['SET_BY_UNFIT'] = '1'",
    "it changes the working folder": "os.chdir('/')",
    "it changes signal handlers": "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)",
    "it changes how Python runs": "import sys\nsys.path.append('/of/unfit')",
    "it looks for AWS credentials, or for other variables of a task": "import boto3\n"
    "try: S3 = boto3.client('s3', 'eu-west-1')\nexcept Exception: pass",
    "it looks for AWS credentials, or for other variables of a task ": "DAG = os.environ.get('AIRFLOW_CTX_DAG_ID')",
    "it asks for a variable or a connection": "from airflow.sdk import Variable\nMODE = Variable.get('mode', default='')",
    "it asks for a variable or a connection ": "from airflow.sdk import Connection\n"
    "try: Connection.get('c')\nexcept Exception: pass",
    "it configures logging": "import logging\nlogging.getLogger().setLevel(logging.ERROR)",
    "it asks for the time, or for a name of its own": "import datetime\nTODAY = datetime.date.today()",
    "it asks for the time, or for a name of its own ": "from uuid import uuid4\nclass Run: ID = uuid4()",
    "it draws random numbers": "import random\nrandom.random()",
    "it draws random numbers ": "import random\nof_its_own = random.Random()",
    "it prints, warns or logs": "print('told')",
    "it prints, warns or logs ": "import logging\nlogging.getLogger('unfit').error('told')",
    "it writes files": "open('written', 'w').close()",
    "it cannot be imported: ImportError": "if not hasattr(os, 'in_child'): raise ImportError",
    "it ends the process": "if not hasattr(os, 'in_child'): os._exit(0)",
    "its import takes too long": "import time\nif not hasattr(os, 'in_child'): time.sleep(60)",
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_module_that_children_could_tell_apart_stays_out(gust: Whole, why: str) -> None:
    """The others of the file do not."""
    assert gust.preparers is not None
    lines: list[str] = []
    gust.preparers.say = lines.append
    gust.preparers.patience = 5 if "too long" in why else 60
    gust.environments = {"": {"slow.py": SLOW, "unfit.py": f"{SLOW}import sys\n{UNFIT[why]}\n"}}
    gust.upload(d=file("os.in_child = True\nimport unfit, slow\n", is_prepared("slow"), is_prepared("unfit")))
    assert run(gust) == ["True", "False"]
    assert f"unfit is not imported before tasks of d.py: {why.strip()}" in lines


@pytest.mark.parametrize(
    "why",
    [
        "it asks for a variable or a connection",
        "it changes environment variables",
        "it draws random numbers ",
        "it keeps files or sockets open",
        "it prints, warns or logs",
        "it starts threads",
    ],
)
def test_a_provider_that_children_could_tell_apart_is_imported_by_each(gust: Whole, why: str) -> None:
    """Airflow imports the packages of all providers when it looks for them; the file's other imports stay prepared."""
    unfit = provider("unfit", module=f"{SLOW}import sys\n{UNFIT[why]}\n")
    gust.environments = {"": {"slow.py": SLOW, **unfit}}
    gust.upload(d=file("os.in_child = True\nimport unfit, slow\n", is_prepared("slow"), is_prepared("unfit")))
    assert run(gust, 2) == ["True", "False"] * 2


def test_a_module_that_holds_up_a_try_does_so_once(gust: Whole) -> None:
    """Each file imports it after another module."""
    assert gust.preparers is not None
    lines: list[str] = []
    gust.preparers.say = lines.append
    gust.preparers.patience = 5
    slow, ends = "its import takes too long", "it ends the process"
    unfit = {"stuck.py": f"import os\n{UNFIT[slow]}\n", "gone.py": f"import os\n{UNFIT[ends]}\n"}
    gust.environments = {"": {"slow.py": SLOW, "other.py": SLOW, **unfit}}
    gust.upload(
        a=file("os.in_child = True\nimport slow, stuck, gone\n", is_prepared("slow"), dag="a"),
        b=file("os.in_child = True\nimport other, stuck, gone\n", is_prepared("other"), dag="b"),
    )
    run(gust, dag="a")
    assert run(gust, dag="b") == ["True"]
    assert [line for line in lines if "is not imported" in line] == [
        f"stuck is not imported before tasks of a.py: {slow}",
        f"gone is not imported before tasks of a.py: {ends}",
    ]


def test_an_environment_that_starts_a_thread_at_each_start_of_python_is_left_to_children(gust: Whole) -> None:
    assert gust.preparers is not None
    lines: list[str] = []
    gust.preparers.say = lines.append
    starts = (
        "import threading, time\nTHREAD = threading.Thread(target=time.sleep, args=(60,), daemon=True)\nTHREAD.start()"
    )
    gust.environments = {"": {"slow.py": SLOW, "starts.pth": "import starts\n", "starts.py": starts}}
    gust.upload(d=file("import slow, starts\n", is_prepared("slow"), "print('said', starts.THREAD.is_alive())"))
    assert run(gust, 2) == ["False", "True"] * 2
    assert lines == [
        "Nothing is imported before tasks of d.py: a .pth file of the environment starts threads or processes"
    ]


def test_what_a_module_registers_for_the_end_is_called_at_the_end_of_each_task(gust: Whole) -> None:
    """A client sends what it has gathered."""
    at_end = "import atexit\natexit.register(print, 'said', 'at the end', flush=True)\n"
    gust.environments = {"": {"slow.py": SLOW + at_end}}
    gust.upload(d=file("import slow\n", is_prepared("slow")))
    assert run(gust, 2) == ["True", "at the end"] * 2


def test_a_module_that_keeps_stdout_prints_into_the_log(gust: Whole) -> None:
    """`sys.__stdout__` is what such a module keeps, but under pytest. It is buffered where PYTHONUNBUFFERED is not set."""
    gust.environments = {"": {"slow.py": f"{SLOW}import sys\nOUT = sys.__stdout__\n"}}
    gust.upload(d=file("import slow\n", is_prepared("slow"), "print('said', 'kept', file=slow.OUT)"))
    assert run(gust) == ["True", "kept"]


def test_a_message_stays_hidden_while_its_try_waits_for_preparers() -> None:
    assert ATTEMPTS * PATIENCE + 10 < HIDDEN_FOR


NUMPY = {
    "numpy/__init__.py": f"{SLOW}from numpy import random\n",
    "numpy/random/__init__.py": """
from numpy.random import mtrand
from numpy.random.mtrand import *
class _State(bytes):
    tobytes = lambda self: self
    __getitem__ = lambda self, number: mtrand._rand.first
get_state = lambda: ("", _State(mtrand._rand.drawn))
""",
    "numpy/random/mtrand.py": """
import os
class Generator: ...
class RandomState:
    def seed(self, value=None): self.drawn, self.first = os.urandom(8), 0x80000000 if value is None else value
    def random(self): return self.drawn
_rand = RandomState()
seed = _rand.seed
random = _rand.random
seed()
""",
}


def test_numpy_draws_other_numbers_in_each_child(gust: Whole) -> None:
    """numpy seeds its generator when it is imported, once for all children of a preparer."""
    gust.environments = {"": NUMPY}
    says = "print('said', numpy.random.mtrand._rand.drawn)"
    gust.upload(d=file("import numpy\n", is_prepared("numpy"), says))
    said = run(gust, 2)
    assert said[0::2] == ["True", "True"]
    assert said[1] != said[3]


def test_a_module_that_seeds_numpy_does_so_in_each_child(gust: Whole) -> None:
    gust.environments = {"": {**NUMPY, "slow.py": f"{SLOW}import numpy\nnumpy.random.seed(42)\n"}}
    gust.upload(d=file("import slow\n", is_prepared("slow"), "print('said', slow.numpy.random.mtrand._rand.first)"))
    assert run(gust, 2) == ["False", "42"] * 2


def test_what_a_hostile_child_reports_is_not_run(gust: Whole, tmp_path: Path) -> None:
    """It finds the pipe and names modules of its bundle, of ours, and what is none. Only installed modules are imported."""
    ran = tmp_path / "ran"
    names = [
        "evil",
        "d",
        "gust.bootstrap",
        "os; evil",
        "../evil",
        "a" * 300,
        7,
        None,
        "slow",
        *[f"x{n}" for n in range(500)],
    ]
    gust.environments = {"": {"slow.py": SLOW}}
    gust.upload(
        d=file(
            "import json, stat, time\n",
            "for fd in range(3, 64):",
            "    try:",
            "        if stat.S_ISFIFO(os.fstat(fd).st_mode):",
            f"            os.write(fd, json.dumps([{names!r}, []]).encode()); os.close(fd)",
            "    except OSError: pass",
            "print('said', 'slow' in __import__('sys').modules)",
        ),
        evil=f"import os\nopen({str(ran)!r}, 'a').write(str(os.getpid()))\n",
    )
    ran.unlink(missing_ok=True)  # the parser has parsed evil.py, as every file of a bundle
    assert run(gust, 2) == ["False", "True"]
    assert not ran.exists()


def test_only_installed_modules_are_imported(tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    for folder, name in ((installed, "fine"), (elsewhere, "alien")):
        folder.mkdir()
        (folder / f"{name}_of_test.py").write_text("")
    (installed / "linked_of_test.py").symlink_to(elsewhere / "alien_of_test.py")
    import sys

    sys.path[:0] = [str(installed), str(elsewhere)]
    try:
        trees = [f"{installed}/"]
        names = ("fine_of_test", "alien_of_test", "linked_of_test", "fine_of_test.deeper")
        assert [import_installed(name, trees) for name in names[:3]] == [True, False, False]
        assert "alien_of_test" not in sys.modules
    finally:
        del sys.path[:2]


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"[1, 2]", b"[[], [], []]", b"{}", b"null", b"[" * 30_000, b"\xff"])
def test_a_report_that_is_none_names_nothing(said: bytes) -> None:
    assert imports.report_of(said) == imports.Imports()


def test_reports_are_bounded() -> None:
    names = imports.bounded([f"m{number}" for number in range(1000)] + ["x" * 201])
    assert len(names) == imports.MOST


def test_what_a_task_leaves_running_is_ended(gust: Whole) -> None:
    """Its supervisor finds it, as without a preparer."""
    gust.environments = {"": {"slow.py": SLOW}}
    leaves = "p = subprocess.Popen(['sleep', '300'], start_new_session=True)"
    gust.upload(d=file("import slow, subprocess\n", is_prepared("slow"), leaves, "print('said', p.pid)"))
    was_prepared, pid = run(gust)
    assert was_prepared == "True"
    assert not Path(f"/proc/{pid}").exists()


def test_what_a_worker_learns_later_is_imported_beside_what_is_imported(gust: Whole) -> None:
    """The parser knows the environment's modules of the file alone: the others do not cost the first ones again."""
    gust.environments = {"": {"slow.py": SLOW, "other.py": SLOW}}
    gust.upload(d=file("import slow, wave\n", "import other", "print('said', slow.PID)"))
    assert gust.preparers is not None
    pids = run(gust, 3)
    assert len(set(pids)) == 1
    assert [names for _, names in gust.preparers._ready] == [("slow",), ("slow", "wave", "other")]
    for each in [each for each in gust.preparers._ready.values() if each.above is None]:
        each._process.send_signal(signal.SIGKILL)
        each._process.wait(10)
    after = run(gust, 3)
    assert after[0] != after[1] == after[2] != pids[0]


def test_a_preparer_that_was_killed_is_replaced(gust: Whole) -> None:
    gust.environments = {"": {"slow.py": SLOW}}
    gust.upload(d=file("import slow\n", is_prepared("slow")))
    assert run(gust) == ["True"]
    assert gust.preparers is not None
    (known,) = gust.preparers._ready.values()
    known._process.send_signal(signal.SIGKILL)
    known._process.wait(10)
    assert run(gust, 2) == ["False", "True"]


def test_preparers_hold_no_more_memory_than_they_may(gust: Whole, nursery: Nursery) -> None:
    """Of two files that need 20 MB, the one that runs has its preparer."""
    gust.preparers = Preparers(nursery, megabytes=8 * 15)
    large = f"{SLOW}LARGE = bytearray(b'x') * 20_000_000\n"
    gust.environments = {"": {"slow.py": large, "also.py": large}}
    gust.upload(
        a=file("import slow\n", is_prepared("slow"), dag="a"),
        b=file("import also\n", is_prepared("also"), dag="b"),
    )
    assert [run(gust, dag=dag) for dag in "ab"] == [["True"], ["True"]]
    (known,) = gust.preparers._ready.values()
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 19_000 < known.memory < ours, "with the pages of the test process whose reference counts it has changed"


def test_preparers_are_few_however_little_memory_they_hold(gust: Whole, nursery: Nursery) -> None:
    """A file whose tasks name other modules each takes no worker's processes and descriptors from other files."""
    gust.preparers = Preparers(nursery, most=2)
    gust.environments = {"": {f"slow_{each}.py": SLOW for each in "abcd"}}
    gust.upload(**{each: file(f"import slow_{each}\n", is_prepared(f"slow_{each}"), dag=each) for each in "abcd"})
    assert [run(gust, dag=dag) for dag in "abcd"] == [["True"]] * 4
    assert len(gust.preparers._ready) == 2


def test_imports_that_take_no_time_get_no_process(gust: Whole) -> None:
    """Nor one beside those that are imported already."""
    gust.upload(d=file("import colorsys\n", "print('said', 'ran')"))
    assert run(gust, 2) == ["ran"] * 2
    assert gust.preparers is not None
    assert not gust.preparers._ready
    gust.environments = {"": {"slow.py": SLOW, "quick.py": "import os\nPID = os.getpid()\n"}}
    gust.upload(e=file("import slow\n", "import quick", is_prepared("slow"), is_prepared("quick"), dag="e"))
    assert run(gust, 2, dag="e") == ["True", "False"] * 2
    assert [names for _, names in gust.preparers._ready] == [("slow",)]


def test_a_module_that_is_unfit_in_one_file_stays_prepared_for_others(gust: Whole) -> None:
    """A file may import first what spoils another module, and a folder may set variables that do."""
    spoilt = f"{SLOW}import sys\nif hasattr(sys, 'spoils') or 'SPOILS' in os.environ: print('told')\n"
    gust.environments = {"": {"slow.py": spoilt, "first.py": f"{SLOW}import sys\nsys.spoils = True\n"}}
    gust.upload(
        a=file("import first, slow\n", is_prepared("slow"), dag="a"),
        b=file("import slow\n", is_prepared("slow"), dag="b"),
    )
    assert [run(gust, dag=dag) for dag in "ab"] == [["False"], ["True"]]
    gust.variables = {"SPOILS": "1"}
    gust.upload(c=file("import slow\n", is_prepared("slow"), dag="c"))
    assert run(gust, 2, dag="c") == ["False", "False"]
    gust.variables = {}
    gust.upload(e=file("import slow\n", is_prepared("slow"), dag="e"))
    assert run(gust, dag="e") == ["True"]


def test_a_package_can_blame_only_itself_and_what_comes_after_it() -> None:
    for said in (b"+boto3\n+slow\n+boto3\n-\n", b"+boto3\n+slow\n+slow\n-\n"):
        worker, theirs = socket.socketpair()
        with worker, theirs:
            theirs.sendall(said)
            answer = preparers._Answer(worker, time.monotonic() + 5, ["boto3", "slow"])
            assert answer.outcome().endswith(b"it talks to the worker")
            assert answer.begun == 2, "slow runs then, and is out"


def test_the_first_task_of_a_worker_finds_what_the_parser_saw(gust: Whole, nursery: Nursery) -> None:
    """Of the environment's modules, in the DagSpec and the message; the rest of the installed ones the worker learns."""
    gust.environments = {"": {"slow.py": SLOW, "pack/__init__.py": SLOW, "pack/part.py": SLOW}}
    gust.upload(
        d=file("import slow, helper\n", is_prepared("slow"), is_prepared("helper.pack")),
        helper="import csv, pack.part, pack\n",
    )
    assert gust.specs["d"].modules == ("slow", "pack.part")
    assert run(gust) == ["True", "True"]


def test_a_preparer_is_made_of_the_modules_that_the_nursery_lacks(gust: Whole, tmp_path: Path) -> None:
    assert gust.preparers is not None
    subject = Subject(tmp_path, "d.py", "t", None)
    gust.preparers.hear(subject, ("slow", "gust.errors", "not a name", "airflow.sdk"))
    assert gust.preparers.modules_for(subject) == ("slow",)
