"""A timetable that a bundle's plugin brings is asked in a child of the parser, and answers what Airflow's class answers."""

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from gust.airflow_bridge.timetable import answer_for_plugin
from gust.aws.memory import MemoryObjects
from gust.aws.timetables import ParserTimetables
from gust.errors import BadRequest
from gust.model import bucket_keys
from gust.model.bundle import version_of
from gust.model.dag_spec import TimetableSpec
from gust.model.environment import ENVIRONMENTS_FILE, Environments
from gust.model.state import DagRunType
from gust.scheduling.timetable import DataInterval, NextRun, Restriction

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

    def generate_run_id(self, *, run_type, run_after, data_interval, **extra):
        return f"{run_type.value}__day_{run_after.day}"

class Moons(EveryThirdDay):
    partitioned = True

    def next_dagrun_info_v2(self, *, last_dagrun_info, restriction):
        at = restriction.earliest if last_dagrun_info is None else last_dagrun_info.run_after.add(days=28)
        return DagRunInfo(run_after=at, data_interval=None, partition_date=at, partition_key=f"moon {at.month}")

    def iter_partition_dagrun_infos(self, *, earliest, latest):
        yield DagRunInfo(run_after=earliest, data_interval=None, partition_date=earliest, partition_key="moon")

class ThirdDayPlugin(AirflowPlugin):
    name = "third_day"
    timetables = [EveryThirdDay, Moons]
"""
SPEC = TimetableSpec(type="third_day.EveryThirdDay")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


PACKAGE = {
    "third_day.py": PLUGIN,
    "third_day-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: third-day\nVersion: 1.0\n",
    "third_day-1.0.dist-info/entry_points.txt": "[airflow.plugins]\nthird_day=third_day:ThirdDayPlugin\n",
}


def packed(files: Mapping[str, str]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return body.getvalue()


@pytest.fixture
def timetables(tmp_path: Path) -> ParserTimetables:
    objects = MemoryObjects()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("plugins/third_day.py", PLUGIN)
    objects.put("bundles/v1.zip", archive.getvalue())
    return ParserTimetables(lambda question: answer_for_plugin(objects, dict(question), tmp_path))


def test_the_next_run(timetables: ParserTimetables) -> None:
    first = timetables.next_run(SPEC, "v1", last=None, allowed=Restriction(earliest=MARCH))
    assert first is not None
    assert first.run_after == datetime(2026, 3, 4, tzinfo=UTC)
    second = timetables.next_run(SPEC, "v1", last=first, allowed=Restriction(earliest=MARCH))
    assert second is not None
    assert second.data_interval == DataInterval(datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 7, tzinfo=UTC))


def test_it_names_its_runs_itself(timetables: ParserTimetables) -> None:
    first = timetables.next_run(SPEC, "v1", last=None, allowed=Restriction(earliest=MARCH))
    assert first is not None
    assert first.run_id == "scheduled__day_4"
    named = timetables.run_id(SPEC, "v1", run_type=DagRunType.MANUAL, run=NextRun(MARCH))
    assert named == "manual__day_1"


def test_its_runs_between_end_where_it_raises_as_in_airflow(timetables: ParserTimetables) -> None:
    near_the_end = datetime(2026, 12, 26, tzinfo=UTC)
    runs = timetables.runs_between(SPEC, "v1", earliest=near_the_end, latest=datetime(2027, 1, 9, tzinfo=UTC))
    assert [run.run_after.day for run in runs] == [29, 1]


def test_partitions(timetables: ParserTimetables) -> None:
    moons = TimetableSpec(type="third_day.Moons", partitioned=True)
    first = timetables.next_run(moons, "v1", last=None, allowed=Restriction(earliest=MARCH))
    assert first is not None
    assert (first.data_interval, first.partition_date, first.partition_key) == (None, MARCH, "moon 3")
    second = timetables.next_run(moons, "v1", last=first, allowed=Restriction(earliest=MARCH))
    assert second is not None
    assert second.partition_key == "moon 3"
    assert [run.partition_key for run in timetables.runs_between(moons, "v1", earliest=MARCH, latest=MARCH)] == ["moon"]


def test_no_next_run(timetables: ParserTimetables) -> None:
    assert timetables.next_run(SPEC, "v1", last=None, allowed=Restriction()) is None


def test_the_interval_of_a_manual_run(timetables: ParserTimetables) -> None:
    interval = timetables.manual_interval(SPEC, "v1", run_after=MARCH)
    assert interval == DataInterval(datetime(2026, 2, 26, tzinfo=UTC), MARCH)


def test_what_it_raises_reaches_the_person(timetables: ParserTimetables) -> None:
    late = datetime(2027, 1, 1, tzinfo=UTC)
    with pytest.raises(BadRequest, match="the world ends in 2026"):
        timetables.next_run(SPEC, "v1", last=None, allowed=Restriction(earliest=late))


def test_a_package_of_the_dags_folder_may_bring_it(tmp_path: Path) -> None:
    name = version_of({path: sha256(text.encode()).hexdigest() for path, text in PACKAGE.items()})
    objects = MemoryObjects()
    objects.put(bucket_keys.environment(name), packed(PACKAGE))
    named = Environments(of={"team": name}).model_dump_json()
    objects.put(bucket_keys.bundle("v1"), packed({ENVIRONMENTS_FILE: named}))
    timetables = ParserTimetables(lambda question: answer_for_plugin(objects, dict(question), tmp_path / "bundles"))

    run = timetables.next_run(SPEC, "v1", file="team/etl.py", last=None, allowed=Restriction(earliest=MARCH))

    assert run is not None
    assert run.run_after == datetime(2026, 3, 4, tzinfo=UTC)
    with pytest.raises(BadRequest, match=r"third_day\.EveryThirdDay"):
        timetables.next_run(SPEC, "v1", file="other/etl.py", last=None, allowed=Restriction(earliest=MARCH))
