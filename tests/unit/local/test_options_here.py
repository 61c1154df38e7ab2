"""Airflow's options from a file or the shell: `./gust local --config`, `./gust configure`."""

from pathlib import Path
from typing import Any

import pytest

from gust.cli.__main__ import main
from gust.cli.aws import AwsError
from gust.cli.configuration import configure, options_here
from tests.unit.cli.cloud import CloudFormation


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
    missing = tmp_path / "missing.cfg"
    assert main(["local", "--config", str(missing)]) == 2
    assert capsys.readouterr().err == f"gust: {missing} cannot be read: No such file or directory\n"


class Ssm:
    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []

    def put_parameter(self, **asked: Any) -> None:
        self.put.append(asked)


def test_configure_checks_and_then_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, ssm = tmp_path / "options.json", Ssm()
    file.write_text('{"core.default_timezone": "Europe/Berlin", "core.parallelism": 8}')
    assert main(["configure", str(file)]) == 0
    assert capsys.readouterr().out == "Without effect in Gust: core.parallelism.\nThe file is valid: 2 options.\n"

    clients = {"ssm": ssm, "cloudformation": CloudFormation(status="UPDATE_COMPLETE")}.__getitem__
    assert configure(file, "prod", clients) == 0
    (put,) = ssm.put
    assert (put["Name"], put["Value"]) == ("/gust/prod/configuration", file.read_text())

    file.write_text('{"core.default_timezone": "Mars"}')
    assert configure(file, "prod", clients) == 1
    assert len(ssm.put) == 1


def test_configure_writes_nothing_for_a_stack_that_is_not_there(tmp_path: Path) -> None:
    file, ssm = tmp_path / "options.json", Ssm()
    file.write_text('{"core.default_timezone": "Europe/Berlin"}')
    clients = {"ssm": ssm, "cloudformation": CloudFormation()}
    with pytest.raises(
        AwsError, match="there is no stack prdo in eu-west-1; --stack and --region say which one you mean"
    ):
        configure(file, "prdo", clients.__getitem__)
    assert ssm.put == []


def test_configure_counts_a_single_option_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "options.json"
    file.write_text('{"core.default_timezone": "Europe/Berlin"}')
    assert main(["configure", str(file)]) == 0
    assert capsys.readouterr().out == "The file is valid: 1 option.\n"


def test_configure_names_a_file_that_cannot_be_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, binary = tmp_path / "missing.json", tmp_path / "options.zip"
    binary.write_bytes(b"\xff")
    for file, why in ((missing, "No such file or directory"), (binary, "'utf-8' codec can't decode byte 0xff")):
        assert main(["configure", str(file)]) == 1
        assert capsys.readouterr().err.startswith(f"gust: {file} cannot be read: {why}")
