"""`./gust check`: the errors of a folder, as a stack would find them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gust.workbench.check import Finding, Report, written
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]

SOUND = "from airflow.sdk import DAG\nwith DAG('sound', schedule='@daily'): ...\n"
CYCLE = """from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
with DAG("cycle"):
    a, b = EmptyOperator(task_id="a"), EmptyOperator(task_id="b")
    a >> b >> a
"""
FOLDER = {
    "a.py": SOUND,
    "b.py": SOUND,
    "cycle.py": CYCLE,
    "syntax.py": "from airflow.sdk import DAG\n\ndef f(:\n",
    "team/settings.py": "from airflow.sdk import DAG, Variable\n\nVariable.get('no_such_variable')\n",
    "team/helper.py": "def f():\n    raise RuntimeError('from a helper')\n",
    "team/uses.py": "from airflow.sdk import DAG\nfrom team.helper import f\nf()\n",
    "notes.txt": "no DAG file",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    for name, text in FOLDER.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    """As the command gives it to programs, in a process of its own: files are parsed in forks."""
    ended = gust("check", str(folder), "--format", "json")
    assert ended.returncode == 1, ended.stderr
    told = json.loads(ended.stdout)
    findings = {kind: [Finding(**each) for each in told.pop(kind)] for kind in ("import_errors", "warnings")}
    return Report(**told, **findings)


def test_each_error_is_at_the_line_of_the_folder_that_caused_it(report: Report, folder: Path) -> None:
    places = {finding.place.removeprefix(f"{folder}/"): finding.message for finding in report.import_errors}
    assert places == {
        "b.py": "AirflowDagDuplicatedIdException: Ignoring DAG sound from b.py - also found in a.py",
        "cycle.py": "AirflowDagCycleException: Cycle detected in Dag: cycle. Faulty task: b",
        "syntax.py:3": "SyntaxError: invalid syntax",
        "team/helper.py:2": "RuntimeError: from a helper (imported by team/uses.py)",
        "team/settings.py:3": places["team/settings.py:3"],
    }
    assert "no_such_variable" in places["team/settings.py:3"]
    assert report.dags == {"sound": f"{folder}/a.py"}
    assert "1 DAG in " in report.summary()
    assert "5 import errors" in report.summary()


def test_the_text_shows_a_trace_from_the_persons_own_file_on(report: Report, folder: Path) -> None:
    text = written(report, "text")
    shown = text[text.index(f"{folder}/team/helper.py:2") :].splitlines()[:5]
    assert shown[1:3] == ["    Traceback (most recent call last):", '      File "team/uses.py", line 3, in <module>']
    assert "python_importer" not in text


def test_github_finds_file_and_line(report: Report, folder: Path) -> None:
    lines = written(report, "github").splitlines()
    (syntax,) = [line for line in lines if "syntax.py" in line]
    assert syntax.startswith(
        f"::error file={folder}/syntax.py,line=3,title=Import error::SyntaxError: invalid syntax%0A"
    )
    assert len(lines) == 6


def test_the_command_ends_with_an_exit_code_for_ci(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "dags"
    alone.mkdir()
    (alone / "a.py").write_text("from airflow.sdk import DAG, Variable\nwith DAG(Variable.get('name')): ...\n")
    (tmp_path / ".env").write_text('# for tests\nexport AIRFLOW_VAR_NAME="from_the_file"\n')
    sound = gust("check", str(alone), "--format", "json", "--env-file", str(tmp_path / ".env"))
    assert sound.returncode == 0, sound.stderr
    assert list(json.loads(sound.stdout)["dags"]) == ["from_the_file"]
    broken = gust("check", str(alone))
    assert broken.returncode == 1
    assert broken.stdout.startswith(f"{alone}/a.py:2: ")
    assert broken.stderr == ""


def gust(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gust.cli", *words],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared"), **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_file_of_ones_own_has_what_a_package_index_wants(tmp_path: Path) -> None:
    """On AWS a secret has it. Nobody answers at the index, and its token is not told."""
    folder, file = tmp_path / "dags", tmp_path / "index.json"
    folder.mkdir()
    (folder / "d.py").write_text(SOUND)
    (folder / "requirements.txt").write_text("--index-url https://u:${TOKEN}@127.0.0.1:9/simple\nno-such-package\n")

    def told(text: str) -> str:
        file.write_text(text)
        ended = gust("check", str(folder), GUST_PACKAGE_INDEX_FILE=str(file), UV_HTTP_RETRIES="0")
        assert ended.returncode == 1, ended.stderr
        return ended.stdout

    assert "there is no variable TOKEN" in told('{"USER": "me"}')
    assert f"The file {file} that GUST_PACKAGE_INDEX_FILE names is no JSON object of names and texts" in told(
        "hush-hush"
    )
    failed = told('{"TOKEN": "hush-hush"}')
    assert "127.0.0.1:9/simple/no-such-package" in failed
    assert "hush-hush" not in failed


def test_airflows_options_count(tmp_path: Path) -> None:
    folder, file = tmp_path / "dags", tmp_path / "airflow.cfg"
    folder.mkdir()
    (folder / "d.py").write_text(
        "from airflow.sdk import DAG\nfrom airflow.configuration import conf\ndag = DAG(conf.get('mine', 'id'))\n"
    )
    file.write_text("[mine]\nid = named\n")
    checked = gust("check", str(folder), "--format", "json", "--config", str(file))
    assert checked.returncode == 0, checked.stderr
    assert list(json.loads(checked.stdout)["dags"]) == ["named"]

    file.write_text("[core]\ndefault_task_retries = many\n")
    refused = gust("check", str(folder), "--config", str(file))
    assert refused.returncode == 2
    assert refused.stderr == "gust: core.default_task_retries: 'many' is not a whole number.\n"


def test_mistakes_in_a_file_of_events_are_at_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOUND)
    events = tmp_path / "events.yaml"
    events.write_text("- {source: x, dag_id: sound}\n- source: y\n  config: {}\n  dag_id: z\n- source: z\n")
    broken = gust("check", str(tmp_path))
    assert broken.returncode == 1
    places = [line.rpartition(": ")[0] for line in broken.stdout.splitlines() if "events.yaml" in line]
    assert [place.split(": ")[0] for place in places] == [f"{events}:3", f"{events}:5"]
    events.write_text("- {source: x, dag_id: sound}\n")
    assert gust("check", str(tmp_path)).returncode == 0
