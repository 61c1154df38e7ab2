"""A partition mapper or window that a bundle's plugin brings is asked in a child of the parser."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gust.airflow_bridge import parse
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.timetable import answer_for_plugin
from gust.aws.memory import MemoryObjects
from gust.aws.timetables import ParserTimetables
from gust.errors import BadRequest, ServiceUnavailable
from gust.model.asset import AssetKey
from gust.model.dag_spec import DagSpec
from gust.scheduling.partition_mapper import AssetMapper, Mappers, mappers_of

PLUGIN = """
from datetime import datetime, timezone
from airflow.partition_mappers.base import PartitionMapper
from airflow.partition_mappers.window import Window
from airflow.plugins_manager import AirflowPlugin

class Upper(PartitionMapper):
    def __init__(self, times=1, **kwargs):
        super().__init__(**kwargs)
        self.times = times
    def to_downstream(self, key):
        if key == "bad":
            raise ValueError("no such key")
        return key.upper() if self.times == 1 else [f"{key.upper()}{n}" for n in range(self.times)]
    def to_partition_date(self, downstream_key):
        return datetime(2026, 3, 1, tzinfo=timezone.utc) if downstream_key == "EU" else None
    def carry_partition_date(self, source_partition_date):
        return source_partition_date
    def serialize(self):
        return {**super().serialize(), "times": self.times}
    @classmethod
    def deserialize(cls, data):
        return cls(times=data["times"], max_downstream_keys=data.get("max_downstream_keys"))

class Pair(Window):
    expected_decoded_type = str
    def to_upstream(self, decoded_downstream):
        return [f"{decoded_downstream}-1", f"{decoded_downstream}-2"]
    def serialize(self):
        return {}
    @classmethod
    def deserialize(cls, data):
        return cls()

class Mine(AirflowPlugin):
    name = "mine"
    partition_mappers = [Upper]
    windows = [Pair]
"""

DAG = """
from airflow.sdk import DAG, Asset, FixedKeyMapper, PartitionedAssetTimetable, RollupMapper
from airflow import plugins_manager
plugins_manager.get_partition_mapper_plugins()
from mine import Pair, Upper

a, b, c = Asset("a"), Asset("b"), Asset("c")
with DAG("d", schedule=PartitionedAssetTimetable(
    assets=a & b & c,
    partition_mapper_config={
        a: Upper(),
        b: Upper(times=3, max_downstream_keys=2),
        c: RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=Pair()),
    },
)):
    pass
"""

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def objects() -> MemoryObjects:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("plugins/mine.py", PLUGIN)
        files.writestr("d.py", DAG)
    objects = MemoryObjects()
    objects.put("bundles/v1.zip", archive.getvalue())
    return objects


@pytest.fixture
def mappers(objects: MemoryObjects, tmp_path: Path) -> Mappers:
    outcome = parse.parse_file(objects, BundleFolder(objects, tmp_path).fetch("v1"), "d.py", "dags-folder")
    assert not outcome.import_errors, outcome.import_errors
    spec = DagSpec.model_validate_json(objects.get(outcome.dags[0].spec_key))
    timetables = ParserTimetables(lambda question: answer_for_plugin(objects, dict(question), tmp_path))
    return mappers_of(spec.timetable, lambda mapper, asked: timetables.partition_mapper(mapper, "v1", asked))


def mapper_of(mappers: Mappers, name: str) -> AssetMapper:
    return mappers.of_asset(AssetKey(name, name))


def test_it_maps_and_dates_keys(mappers: Mappers) -> None:
    mapper = mapper_of(mappers, "a")
    assert mapper.downstream_keys("eu") == ["EU"]
    assert mapper.date_of("EU") == MARCH
    assert mapper.date_of("US") is None
    assert mapper.carried_date(MARCH) == MARCH
    assert mapper.carried_date(None) is None
    assert mapper.is_satisfied("EU", {"eu"})


def test_it_may_make_several_keys_of_one_and_say_how_many(mappers: Mappers) -> None:
    mapper = mapper_of(mappers, "b")
    assert mapper.downstream_keys("eu") == ["EU0", "EU1", "EU2"]
    assert mapper.max_downstream_keys == 2


def test_a_rollup_of_airflows_over_a_plugins_window(mappers: Mappers) -> None:
    mapper = mapper_of(mappers, "c")
    assert mapper.downstream_keys("x") == ["all"]
    assert not mapper.is_satisfied("all", {"all-1"})
    assert mapper.is_satisfied("all", {"all-1", "all-2"})


def test_what_it_raises_reaches_who_asks(mappers: Mappers) -> None:
    with pytest.raises(BadRequest, match="no such key"):
        mapper_of(mappers, "a").downstream_keys("bad")


def test_where_it_cannot_be_asked_now_nothing_is_decided() -> None:
    def unavailable(*_: Any) -> Any:
        raise ServiceUnavailable("throttled")

    mapper = AssetMapper({"__type": "mine.Upper", "__var": {"times": 1}}, unavailable)
    for asked in (
        lambda: mapper.downstream_keys("eu"),
        lambda: mapper.is_satisfied("EU", {"eu"}),
        lambda: mapper.carried_date(MARCH),
        lambda: mapper.date_of("EU"),
    ):
        with pytest.raises(ServiceUnavailable):
            asked()
