"""A running stack with an emulator that answers late, is full, or has room again."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gust.errors import ServiceUnavailable
from gust.local.stack import LocalStack


class Folder:
    """The DAG folder; what a look does is up to the test."""

    def __init__(self, look: Callable[[], bool]) -> None:
        self.look = look
        self.aligned = 0
        self.is_unsettled = False

    def align(self) -> None:
        self.aligned += 1


class AtOnce(threading.Event):
    """Nothing happens between two looks."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Running(LocalStack):
    """A stack whose emulator is played by `answers`, for as many looks as there are."""

    def __init__(self, tmp_path: Path, answers: list[dict[str, Any]], folder: Folder) -> None:
        self.lines: list[str] = []
        super().__init__(root=tmp_path, data=tmp_path, dags=None, on_progress=self.lines.append)
        self.outputs = {"TaskQueueUrl": "http://localhost/tasks"}
        self._answers = answers
        self._folder = folder  # type: ignore[assignment]
        self._parsing = Parsing()  # type: ignore[assignment]

    def _control(self, what: str) -> dict[str, Any]:
        if what != "storage":
            return {"number": 0, "seconds": 0, "busy": 0}
        self._look_at_disk_at = 0.0
        answer = self._answers.pop(0)
        if not self._answers:
            self.stopped.set()
        return {"full": False, "needed": 48_000_000, "unsaved": 0.0} | answer

    def lives(self) -> list[str]:
        self.stopped = AtOnce()
        self.run(self.stopped)
        return self.lines


class Parsing:
    def expect(self) -> None: ...
    def look(self) -> None: ...


def unavailable() -> bool:
    raise ServiceUnavailable("S3 put_object: connection reset")


def test_trouble_with_the_emulator_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    assert Running(tmp_path, [{}, {}, {}], Folder(unavailable)).lives() == [
        "Trying again: S3 put_object: connection reset"
    ]


def test_a_full_disk_is_told_once_and_the_folder_is_aligned_when_there_is_room(tmp_path: Path) -> None:
    folder = Folder(lambda: False)
    told = Running(tmp_path, [{}, {"full": True}, {"full": True}, {}, {}], folder).lives()
    assert told == [
        f"The disk is full where {tmp_path} lies. What was acknowledged is stored; no change is accepted and no task begun "
        "until 48 MB are free.",
        "There is room on the disk again: going on.",
    ]
    assert folder.aligned == 1


@pytest.mark.parametrize(("unsaved", "lines"), [([10, 59], 0), ([61, 63, 122], 2), ([61, 0, 61], 2)])
def test_a_state_that_is_not_saved_is_told_each_minute(tmp_path: Path, unsaved: list[int], lines: int) -> None:
    stack = Running(tmp_path, [{"unsaved": seconds} for seconds in unsaved], Folder(lambda: False))
    assert len(stack.lives()) == lines


class Recorded(AtOnce):
    """Remembers how long the stack would wait between two looks."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return super().wait(timeout)


def test_an_uploaded_change_is_deployed_at_once_and_an_incomplete_one_is_looked_at_soon(tmp_path: Path) -> None:
    looks = iter([(False, True), (True, False), (False, False)])

    def look() -> bool:
        uploaded, folder.is_unsettled = next(looks)
        return uploaded

    folder = Folder(look)
    stack = Running(tmp_path, [{}, {}, {}], folder)
    deployed: list[str] = []
    stack._deploy = deployed.append
    stack.stopped = Recorded()
    stack.run(stack.stopped)
    assert [name.partition("-")[0] for name in deployed] == ["saved"]
    assert stack.stopped.pauses == [0.25, 0.2, 0.25, 0.25]
