"""`./gust run`: a DAG or a task in the terminal, with a debugger. Each test starts the command as a person does."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gust.model.dag_spec import DagSpec, ExpandedKwarg, Expansion, TaskSpec, TimetableSpec, XComLength
from gust.workbench.run import Wanted, WorkbenchError, kept
from gust.workbench.terminal import NoDebugger, debugger_of
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "gust.cli", "run"]

DAGS = {
    "etl.py": """
from datetime import timedelta
from airflow.sdk import DAG, Param, Variable, task
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("etl", schedule=None, params={"rows": Param(2, type="integer")}):

    @task
    def extract(params, logical_date=None):
        print("of", logical_date and logical_date.date())
        return list(range(params["rows"]))

    @task(retries=1, retry_delay=timedelta(hours=1), pool="no_such_pool", queue="fargate")
    def load(row, ti=None):
        if ti.try_number == 1:
            raise ConnectionError("once")
        print("row", row, Variable.get("where"))

    load.expand(row=extract()) >> EmptyOperator(task_id="done")
""",
    "broken.py": "from airflow.sdk import DAG\n1 / 0\n",
    "sums.py": """
from airflow.sdk import DAG, task

with DAG("sums", schedule=None):

    @task
    def numbers():
        return [1, 2]

    @task
    def total(found):
        return sum(found)

    total(numbers())
""",
    "stops.py": """
from airflow.sdk import DAG, task

with DAG("stops", schedule=None):

    @task
    def look():
        x = 41
        breakpoint()
        print("x is", x)
        return x

    look()
""",
}


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    for name, text in DAGS.items():
        (folder / name).write_text(text)
    return folder


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [*COMMAND, *words],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared"), **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_a_dag_runs_to_its_end_and_retries_do_not_wait(dags: Path) -> None:
    ended = run(
        *("etl", "--dags", str(dags), "--param", "rows=3", "--logical-date", "2026-03-01"), AIRFLOW_VAR_WHERE="here"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "of 2026-03-01" in ended.stdout
    for row in range(3):
        assert f"gust: etl.load[{row}], try 2" in ended.stdout
        assert f"row {row} here" in ended.stdout
    assert f'File "{dags}/etl.py", line 16, in load\n    raise ConnectionError("once")' in ended.stdout
    assert ended.stdout.splitlines()[-1].endswith(": success")
    assert "broken.py" not in ended.stdout, "a file that does not name the DAG is not parsed"
    assert sorted(path.name for path in dags.iterdir()) == sorted(DAGS), "nothing is written into the folder"


def test_a_failed_task_gives_an_exit_code_and_needs_nothing_after_it(dags: Path) -> None:
    failed = run("etl", "load", "--upstream", "--no-retries", "--dags", str(dags), "--conf", '{"rows": 1}')
    assert failed.returncode == 1
    assert "try 2" not in failed.stdout
    assert " done" not in failed.stdout
    assert "ConnectionError: once" in failed.stdout
    assert failed.stdout.splitlines()[-1].endswith(": failed")


def test_a_task_that_runs_alone_and_lacks_an_xcom_leads_to_upstream(dags: Path) -> None:
    """The supervisor of a task that runs alone does not find the XCom of the one before it."""
    failed = run("sums", "total", "--dags", str(dags))
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if "XCom not found" in line]
    assert "[error    ] XCom not found" in line
    assert "loc=client.py:" in line
    assert "gust: total asked for XComs of numbers, which did not run: give --upstream, too.\n" in failed.stdout
    assert failed.stdout.splitlines()[-1].endswith(": failed")


def test_what_cannot_be_run_is_told_in_a_line(dags: Path) -> None:
    unknown = run("nothing", "--dags", str(dags))
    assert unknown.returncode == 1
    assert f"gust: {dags} defines no DAG nothing; it defines: etl, stops, sums.\n" in unknown.stderr
    assert "import error: broken.py:2: ZeroDivisionError: division by zero" in unknown.stderr


def test_a_mapped_task_alone_is_asked_for_what_it_is_mapped_over() -> None:
    mapped = Expansion(kwargs=(ExpandedKwarg(kwarg="row", length=XComLength(task_id="extract")),))
    tasks = {
        "extract": TaskSpec(task_id="extract"),
        "load": TaskSpec(task_id="load", upstream_task_ids=("extract",), expansion=mapped),
    }
    spec = DagSpec(dag_id="etl", timetable=TimetableSpec(type="made.up"), tasks=tasks)
    with pytest.raises(
        WorkbenchError, match="What extract returns decides how many instances load has: give --upstream"
    ):
        kept(spec, Wanted("etl", "load"))
    assert kept(spec, Wanted("etl", "load", with_upstream=True)) == {"extract", "load"}
    assert kept(spec, Wanted("etl", "extract")) == {"extract"}
    with pytest.raises(WorkbenchError, match="etl has no task lode; it has: extract, load"):
        kept(spec, Wanted("etl", "lode"))


def test_breakpoint_stops_in_the_persons_own_file_and_reads_the_terminal(dags: Path) -> None:
    shown, code = at_a_terminal(["stops", "--dags", str(dags)], answers=["p x + 1", "x = 99", "c"])
    assert f"> {dags}/stops.py(" in shown
    assert "\r\n42\r\n" in shown
    assert "x is 99" in shown
    assert code == 0, shown


def test_without_a_terminal_breakpoint_warns_and_the_task_goes_on(dags: Path) -> None:
    ended = run("stops", "--dags", str(dags))
    (warning,) = [line for line in ended.stdout.splitlines() if "[warning  ]" in line]
    told = f"The task goes on at {dags}/stops.py:9: a debugger needs a terminal, and ./gust run has none here."
    assert told in warning
    assert "x is 41" in ended.stdout
    assert ended.returncode == 0, ended.stdout


def test_a_shell_that_has_closed_stdin_has_no_terminal() -> None:
    assert isinstance(debugger_of(None, sys.stdout), NoDebugger)


def at_a_terminal(words: list[str], answers: list[str]) -> tuple[str, int]:
    """Run the command at a terminal of its own, and answer the debugger's prompts. Returns what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(COMMAND[0], [*COMMAND, *words], of_a_user(PYTHONPATH=str(ROOT / "shared"), NO_COLOR="1"))  # noqa: S606
    shown, read, until = b"", 0, time.monotonic() + 120
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux: the last process has closed it
            break
        shown += part
        if answers and (prompt := shown.find(b"(Pdb) ", read)) >= 0:
            read = prompt + 1
            os.write(terminal, f"{answers.pop(0)}\n".encode())
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
