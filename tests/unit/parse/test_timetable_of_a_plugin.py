"""A timetable that a bundle's plugin brings is asked in a child of the parser, and answers what Airflow's class answers."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gust.airflow_bridge.timetable import ask
from gust.aws.memory import MemoryObjects
from gust.aws.timetables import ParserTimetables
from gust.errors import BadRequest
from gust.model.dag_spec import TimetableSpec
from gust.scheduling.timetable import DataInterval, Restriction

PLUGIN = """
from datetime import timedelta
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

class EveryThirdDay(Timetable):
    def infer_manual_data_interval(self, *, run_after):
        return DataInterval(run_after.subtract(days=3), run_after)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if last_automated_data_interval is None:
            return None if restriction.earliest is None else self.covering(restriction.earliest)
        return self.covering(last_automated_data_interval.end)

    def covering(self, start):
        if start.year > 2026:
            raise ValueError("the world ends in 2026")
        return DagRunInfo.interval(start=start, end=start + timedelta(days=3))

class ThirdDayPlugin(AirflowPlugin):
    name = "third_day"
    timetables = [EveryThirdDay]
"""
SPEC = TimetableSpec(type="third_day.EveryThirdDay")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def timetables(tmp_path: Path) -> ParserTimetables:
    objects = MemoryObjects()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("plugins/third_day.py", PLUGIN)
    objects.put("bundles/v1.zip", archive.getvalue())
    return ParserTimetables(lambda question: ask(objects, dict(question), tmp_path))


def test_the_next_run(timetables: ParserTimetables) -> None:
    first = timetables.next_run(SPEC, "v1", last=None, allowed=Restriction(earliest=MARCH))
    assert first is not None
    assert first.run_after == datetime(2026, 3, 4, tzinfo=UTC)
    second = timetables.next_run(SPEC, "v1", last=first, allowed=Restriction(earliest=MARCH))
    assert second is not None
    assert second.data_interval == DataInterval(datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 7, tzinfo=UTC))


def test_no_next_run(timetables: ParserTimetables) -> None:
    assert timetables.next_run(SPEC, "v1", last=None, allowed=Restriction()) is None


def test_the_interval_of_a_manual_run(timetables: ParserTimetables) -> None:
    interval = timetables.manual_interval(SPEC, "v1", run_after=MARCH)
    assert interval == DataInterval(datetime(2026, 2, 26, tzinfo=UTC), MARCH)


def test_what_it_raises_reaches_the_person(timetables: ParserTimetables) -> None:
    late = datetime(2027, 1, 1, tzinfo=UTC)
    with pytest.raises(BadRequest, match="the world ends in 2026"):
        timetables.next_run(SPEC, "v1", last=None, allowed=Restriction(earliest=late))
