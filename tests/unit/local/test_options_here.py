"""Airflow's options from a file or the shell: `./gust local --config`, `./gust configure`."""

from pathlib import Path
from typing import Any

import pytest

from gust.cli.__main__ import main
from gust.cli.configuration import options_here


def test_variables_win_over_the_file_and_refused_ones_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "airflow.cfg"
    file.write_text("[core]\ndefault_task_retries = 2\n[email]\nfrom_email = a@example.com\n")
    environment = {
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "3",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://",
        "AIRFLOW__CORE__SQL_ALCHEMY_CONN": "postgresql://",
        "AIRFLOW_CONN_X": "http://x",
        "HOME": "/",
    }
    said: list[str] = []

    checked = options_here(file, environment, said.append)
    assert checked.options == {"core.default_task_retries": "3", "email.from_email": "a@example.com"}
    assert said == [
        "AIRFLOW__CORE__EXECUTOR is left out: cannot be set: tasks name their place themselves (docs/workers.md).",
        "AIRFLOW__CORE__SQL_ALCHEMY_CONN is left out: Airflow has no such option; did you mean database.sql_alchemy_conn?",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN is left out: cannot be set: there is no database.",
    ]


def test_a_mistake_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "airflow.cfg"
    file.write_text("[core]\ndefault_timezone = Europe/Berlinn\nexecutor = LocalExecutor\n")

    assert main(["local", "--config", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "gust: core.default_timezone: there is no time zone 'Europe/Berlinn'.",
        "gust: core.executor: cannot be set: tasks name their place themselves (docs/workers.md).",
    ]
    assert main(["local", "--config", str(tmp_path / "missing.cfg")]) == 2


class Ssm:
    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []

    def put_parameter(self, **asked: Any) -> None:
        self.put.append(asked)


def test_configure_checks_and_then_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gust.cli.configuration import configure

    file, ssm = tmp_path / "options.json", Ssm()
    file.write_text('{"core.default_timezone": "Europe/Berlin", "core.parallelism": 8}')
    assert main(["configure", str(file)]) == 0
    assert capsys.readouterr().out == "Without effect in Gust: core.parallelism.\nThe file is valid: 2 options.\n"

    assert configure(file, "prod", {"ssm": ssm}.__getitem__) == 0
    (put,) = ssm.put
    assert (put["Name"], put["Value"]) == ("/gust/prod/configuration", file.read_text())

    file.write_text('{"core.default_timezone": "Mars"}')
    assert configure(file, "prod", {"ssm": ssm}.__getitem__) == 1
    assert len(ssm.put) == 1
