"""Log streams in files, in the place of MiniStack's lists."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ministack.services import cloudwatch_logs

from gust.local.log_files import FileEvents, LogFiles, LogFolder, saved
from gust.local.ministack import keep_logs_in_files


def event(at: int, message: str = "") -> dict[str, Any]:
    return {"timestamp": at, "message": message or str(at), "ingestionTime": at, "eventId": str(at)}


def times(events: FileEvents) -> list[int]:
    return [each["timestamp"] for each in events[:]]


def test_it_is_a_sequence_by_time(tmp_path: Path) -> None:
    events = FileEvents(tmp_path / "a.jsonl")
    events.extend([event(1), event(5), event(5, "second")])
    assert events[0]["message"] == "1"
    events.extend([event(3), event(7)])
    assert times(events) == [1, 3, 5, 5, 7]
    assert [each["message"] for each in events[2:4]] == ["5", "second"]
    assert events[1]["message"] == "3"
    assert events[-1]["timestamp"] == 7
    with pytest.raises(IndexError):
        events[5]


def test_another_process_reads_what_was_written(tmp_path: Path) -> None:
    FileEvents(tmp_path / "a.jsonl").extend([event(5), event(1)])
    assert times(FileEvents(tmp_path / "a.jsonl")) == [1, 5]


def test_a_line_that_was_cut_off_is_written_over(tmp_path: Path) -> None:
    FileEvents(tmp_path / "a.jsonl").extend([event(1)])
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"timestamp": 2, "mess')
    events = FileEvents(tmp_path / "a.jsonl")
    events.extend([event(3, "a line that is longer than what was cut off")])
    assert times(events) == [1, 3]
    assert times(FileEvents(tmp_path / "a.jsonl")) == [1, 3]


def test_a_checkpoint_holds_no_lines_and_an_older_ones_are_taken_over(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    stream: dict[str, Any] = {"events": [event(1), event(2)]}
    files.adopt({"tasks": {"streams": {"worker-1": stream}}})
    assert times(stream["events"]) == [1, 2]
    assert json.dumps(stream, default=saved) == '{"events": []}'

    restored: dict[str, Any] = {"events": []}
    files.adopt({"tasks": {"streams": {"worker-1": restored}}})
    assert times(restored["events"]) == [1, 2]


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Any]:
    """MiniStack's service, with its lines in files."""
    put = cloudwatch_logs._put_log_events
    keep_logs_in_files(tmp_path)
    yield ask
    cloudwatch_logs._put_log_events = put
    cloudwatch_logs._log_groups._data.clear()


def ask(action: str, **body: Any) -> dict[str, Any]:
    headers = {"x-amz-target": f"Logs_20140328.{action}"}
    body = {"logGroupName": "tasks", **body}
    status, _, answer = asyncio.run(cloudwatch_logs.handle_request("POST", "/", headers, json.dumps(body).encode(), {}))
    return {"status": status, **json.loads(answer)}


def test_clients_see_no_difference(logs: Any) -> None:
    logs("CreateLogGroup")
    logs("CreateLogStream", logStreamName="w")
    assert logs("PutLogEvents", logStreamName="x", logEvents=[])["__type"] == "ResourceNotFoundException"
    for start in range(0, 1000, 100):
        lines = [{"timestamp": at, "message": f"line {at}"} for at in range(start, start + 100)]
        assert logs("PutLogEvents", logStreamName="w", logEvents=lines)["status"] == 200

    page = logs("GetLogEvents", logStreamName="w", startFromHead=True, limit=300, startTime=50)
    assert [each["message"] for each in page["events"]] == [f"line {at}" for at in range(50, 350)]
    page = logs("GetLogEvents", logStreamName="w", limit=900, startTime=50, nextToken=page["nextForwardToken"])
    assert len(page["events"]) == 650
    found = logs("FilterLogEvents", filterPattern="line", startTime=990)
    assert [each["message"] for each in found["events"]] == [f"line {at}" for at in range(990, 1000)]
    (stream,) = logs("DescribeLogStreams")["logStreams"]
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (0, 999)
    assert stream["storedBytes"] == sum(len(f"line {at}") for at in range(1000))


def test_lines_are_not_in_memory(logs: Any) -> None:
    logs("CreateLogGroup")
    logs("CreateLogStream", logStreamName="w")
    logs("PutLogEvents", logStreamName="w", logEvents=[{"timestamp": 1, "message": "x"}])
    assert not cloudwatch_logs._log_records._data
    assert isinstance(next(iter(cloudwatch_logs._log_groups._data.values()))["streams"]["w"]["events"], FileEvents)


def test_a_log_moves_aside_when_it_is_large_and_begins_anew_when_it_is_not_there(tmp_path: Path) -> None:
    logs, path = LogFolder(tmp_path, largest=10, most_open=2), tmp_path / "api.log"

    for text in ("one two three\n", "four\n"):
        logs.append("api", text)
    assert (tmp_path / "api.log.1").read_text() == "one two three\n"
    assert path.read_text() == "four\n"
    assert path.stat().st_mode & 0o777 == 0o600

    path.rename(tmp_path / "of_a_person.log")
    for text in ("five, too long\n", "six\n"):
        logs.append("api", text)
    assert (tmp_path / "of_a_person.log").read_text() == "four\n"
    assert path.read_text() == "six\n"

    path.unlink()
    logs.append("api", "seven\n")
    assert path.read_text() == "seven\n"


def open_below(folder: Path) -> list[str]:
    """Files of the folder that this process has open. Others of its threads open and close what they like."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [path for path in found if path.startswith(f"{folder}/")]


def test_logs_of_any_number_of_functions_leave_few_files_open(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path, largest=1_000, most_open=2)

    for number in range(3):
        for name in ("a", "b", "c", "d"):
            logs.append(name, f"{number}\n")

    assert 1 <= len(open_below(tmp_path)) <= 2
    assert [(tmp_path / f"{name}.log").read_text() for name in "abcd"] == ["0\n1\n2\n"] * 4


def test_a_log_that_cannot_move_aside_keeps_its_file_and_moves_when_it_can(tmp_path: Path) -> None:
    logs, aside = LogFolder(tmp_path, largest=10), tmp_path / "api.log.1"
    logs.append("api", "one two three\n")
    before = len(os.listdir("/proc/self/fd"))

    aside.mkdir()
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            logs.append("api", "four\n")
    assert len(os.listdir("/proc/self/fd")) == before

    aside.rmdir()
    logs.append("api", "five\n")
    assert (aside.read_text(), (tmp_path / "api.log").read_text()) == ("one two three\n", "five\n")
    assert len(os.listdir("/proc/self/fd")) == before
