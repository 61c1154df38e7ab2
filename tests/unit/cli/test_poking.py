"""`./gust poking` says by DAG what sensors cost that hold a worker."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

import pytest

from gust.cli import poking
from gust.cli.aws import AwsError

NOW = datetime(2026, 3, 8, tzinfo=UTC)


class Account:
    """CloudFormation and Logs as far as the command calls them."""

    def __init__(self, *statuses: str, rows: list[dict[str, str]] | None = None) -> None:
        self.statuses = [*statuses]
        self.rows = rows or []
        self.asked: dict[str, Any] = {}
        self.stopped: list[str] = []

    def __call__(self, service: str) -> Any:
        return self

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        parameters = [{"ParameterKey": "WorkerMemory", "ParameterValue": "1769"}]
        return {"Stacks": [{"StackName": "gust", "StackStatus": "UPDATE_COMPLETE", "Parameters": parameters}]}

    def get_paginator(self, _: str) -> Any:
        resource = {
            "LogicalResourceId": "TaskLogs",
            "PhysicalResourceId": "gust-TaskLogs-1",
            "ResourceType": "AWS::Logs::LogGroup",
        }
        pages = [{"StackResourceSummaries": [resource]}]
        return type("Pages", (), {"paginate": staticmethod(lambda **_: pages)})

    def start_query(self, **asked: Any) -> dict[str, str]:
        self.asked = asked
        return {"queryId": "q"}

    def get_query_results(self, **_: Any) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        results = [[{"field": name, "value": value} for name, value in row.items()] for row in self.rows]
        return {"status": status, "results": results, "statistics": {"bytesScanned": 2.5e9}}

    def stop_query(self, *, queryId: str) -> None:  # noqa: N803 - boto3's
        self.stopped.append(queryId)


def test_it_prints_a_table_by_dag() -> None:
    rows = [
        {"dag_id": "nightly_load", "hours": "12.5", "dollars": "1.0364", "tries": "3"},
        {"dag_id": "etl", "hours": "0.25", "dollars": "0.0207", "tries": "15"},
        {"hours": "0.02", "dollars": "0.0017", "tries": "1"},
    ]
    account, pauses = Account("Scheduled", "Running", "Complete", rows=rows), list[float]()
    assert list(poking.poking(account, "gust", days=7, now=NOW, pause=pauses.append)) == [
        "DAG              hours    tries  dollars",
        "nightly_load     12.50        3     1.04",
        "etl               0.25       15     0.02",
        "?                 0.02        1     0.00",
        'With deferrable=True or mode="reschedule" a sensor holds no worker (docs/waiting.md).',
        "Priced as Lambda in us-east-1 with 1769 MB (WorkerMemory), also tries in worker groups, in containers and "
        "on hosts. The query has read 2.50 GB of logs ($0.0125).",
    ]
    assert pauses == [1, 1]
    week = 7 * 86_400
    assert account.asked == {
        "logGroupName": "gust-TaskLogs-1",
        "queryString": poking.query("1769"),
        "startTime": int(NOW.timestamp()) - week,
        "endTime": int(NOW.timestamp()),
    }


def test_it_says_so_where_no_sensor_holds_a_worker() -> None:
    first, _ = poking.poking(Account("Complete"), "gust", days=1, now=NOW)
    assert first == "No sensor has held a worker for a minute or longer within 1 day."


def test_an_answer_without_what_was_asked_says_what_is_missing() -> None:
    """An emulator answers with the lines themselves; CloudWatch Logs leaves out the sum of texts."""
    lines = [{"@timestamp": "", "@message": ""}, {"@timestamp": "", "@message": ""}]
    with pytest.raises(
        AwsError,
        match=r"^the answer of CloudWatch Logs has no hours, tries, dollars: an emulator may not compute them\.$",
    ):
        list(poking.poking(Account("Complete", rows=lines), "gust", days=7, now=NOW))
    rows = [{"dag_id": "etl", "hours": "0.25", "dollars": "0.0207", "tries": "15"}, {"dag_id": "odd", "tries": "1"}]
    told = list(poking.poking(Account("Complete", rows=rows), "gust", days=7, now=NOW))
    assert told[:3] == [
        "DAG     hours    tries  dollars",
        "etl      0.25       15     0.02",
        "Left out: 1 of 2 rows of the answer, without hours, dollars.",
    ]


def test_an_answer_of_empty_rows_tells_of_no_sensor() -> None:
    first, _ = poking.poking(Account("Complete", rows=[{}]), "gust", days=2, now=NOW)
    assert first == "No sensor has held a worker for a minute or longer within 2 days."


def test_a_query_that_fails_or_does_not_end_is_an_error_in_one_line() -> None:
    with pytest.raises(AwsError, match="ended as Failed"):
        list(poking.poking(Account("Failed"), "gust", days=7, now=NOW))
    account = Account("Running")
    with pytest.raises(AwsError, match="fewer --days"):
        list(poking.poking(account, "gust", days=7, now=NOW, pause=lambda _: None))
    assert account.stopped == ["q"]


def test_it_counts_what_a_sensor_writes_into_its_log() -> None:
    """The names of the fields are those of the line (`airflow_bridge/sensors.py`)."""
    from gust.airflow_bridge.sensors import TOLD_FROM, tell_if_long

    sensors = pytest.importorskip("airflow.sdk.bases.sensor")
    told: list[dict[str, Any]] = []
    log = type("Log", (), {"info": staticmethod(lambda _, **fields: told.append(fields))})
    sensor = sensors.BaseSensorOperator(task_id="wait")
    tell_if_long(sensor, TOLD_FROM, log)
    (fields,) = told
    assert all(name in poking.query("1769") for name in fields)


@pytest.mark.parametrize("days", ["0", "3651", "-1", "seven", ""])
def test_a_number_of_days_that_is_none_is_named(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser(prog="gust poking")
    poking.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--days={days}"])
    assert capsys.readouterr().err.endswith(f"argument --days: a number from 1 to 3650, not {days}\n")
