"""Keys: distinct things have distinct keys, keys read back, and text order is the order meant."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gust.errors import Invalid
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.store import keyspace
from gust.store.keyspace import Key

ids = st.text(max_size=40)
hostile = st.text(alphabet="#%a23TIR\x00\x7f\n-", max_size=12)
any_id = ids | hostile
map_indexes = st.integers(-1, 999_999)
instances = st.builds(TaskInstanceKey, any_id, any_id, any_id, map_indexes)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # naive bounds


@given(any_id)
def test_an_id_reads_back(text: str) -> None:
    escaped = keyspace.escape(text)
    assert keyspace.unescape(escaped) == text
    assert "#" not in escaped
    assert escaped.isprintable() or not text.isprintable()


@given(st.text(alphabet="abcXYZ019_.-+:é漢", max_size=60))
def test_usual_ids_stay_as_they_are(text: str) -> None:
    assert keyspace.escape(text) == text


@given(instances)
def test_run_and_instance_keys_read_back(key: TaskInstanceKey) -> None:
    its_key = keyspace.instance(key)
    assert keyspace.run_key(its_key.pk) == key.run
    assert keyspace.instance_key(its_key) == key
    assert keyspace.instance_key(keyspace.run(key.run)) is None


@given(instances, any_id)
def test_xcom_keys_read_back(key: TaskInstanceKey, name: str) -> None:
    its_key = keyspace.xcom(key, name)
    assert keyspace.xcom_name(its_key) == (key, name)
    assert keyspace.xcom_name(keyspace.instance(key)) is None


@given(st.tuples(any_id, any_id), st.tuples(any_id, any_id))
def test_different_pairs_have_different_keys(one: tuple[str, str], other: tuple[str, str]) -> None:
    assume(one != other)
    assert keyspace.run_partition(DagRunKey(*one)) != keyspace.run_partition(DagRunKey(*other))
    assert keyspace.asset(*one) != keyspace.asset(*other)
    assert keyspace.asset_uri(*one) != keyspace.asset_uri(*other)
    assert keyspace.warning(*one) != keyspace.warning(*other)
    assert keyspace.setting(*one) != keyspace.setting(*other)


@given(instances, instances)
def test_kinds_of_items_do_not_mix(key: TaskInstanceKey, other: TaskInstanceKey) -> None:
    """What belongs to one instance begins with its prefix and nothing else does; `decide` reads runs and instances."""
    beside = [
        keyspace.finished_try(key, 1).sk,
        keyspace.rendered_fields(key).sk,
        keyspace.xcom(key, "x").sk,
    ]
    assert not any(sk.startswith(keyspace.SCHEDULING) for sk in beside)
    assert keyspace.run(key.run).sk.startswith(keyspace.SCHEDULING)
    assert keyspace.instance(key).sk.startswith(keyspace.SCHEDULING)
    is_same = (key.task_id, key.map_index) == (other.task_id, other.map_index)
    assert beside[0].startswith(keyspace.finished_tries(other)) == is_same
    assert beside[2].startswith(keyspace.xcoms(other.task_id, other.map_index)) == is_same
    assert beside[2].startswith(keyspace.xcoms(other.task_id)) == (key.task_id == other.task_id)


@given(any_id, any_id)
def test_an_asset_is_found_by_its_uri(name: str, uri: str) -> None:
    pointer = keyspace.asset_uri(name, uri)
    assert keyspace.asset_of_uri(pointer.sk) == (name, uri)
    assert pointer.sk.startswith(keyspace.assets_at(uri))
    assert keyspace.asset(name, uri).sk.startswith(keyspace.assets_named(name))


@given(any_id, any_id)
def test_prefixes_of_names_are_prefixes_of_keys(prefix: str, rest: str) -> None:
    assert keyspace.setting("n", prefix + rest).sk.startswith(keyspace.escape(prefix))


@given(map_indexes, map_indexes)
def test_numbers_sort_as_numbers(one: int, other: int) -> None:
    assert (keyspace.number(one) < keyspace.number(other)) == (one < other)


@given(moments, moments)
def test_moments_sort_as_time(one: datetime, other: datetime) -> None:
    assert (keyspace.moment(one) < keyspace.moment(other)) == (one < other)
    assert len(keyspace.moment(one)) == 27
    assert keyspace.moment_from(keyspace.moment(one)) == one


def test_moments_are_utc() -> None:
    ist = datetime(2026, 3, 1, 10, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert keyspace.moment(ist) == "2026-03-01T04:30:00.000000Z"
    assert keyspace.moment_from("2026-03-01T04:30:00.000000Z").utcoffset() == timedelta(0)
    with pytest.raises(ValueError, match="time zone"):
        keyspace.moment(datetime(2026, 3, 1))  # noqa: DTZ001  # that is the point


@given(moments, any_id, moments, any_id)
def test_events_sort_by_time_first(at: datetime, event_id: str, later: datetime, other_id: str) -> None:
    assume(at < later)
    assert keyspace.event_order(at, event_id) < keyspace.event_order(later, other_id)
    assert keyspace.run_order(at, event_id) < keyspace.run_order(later, other_id)


@pytest.mark.parametrize("pk", ["DAG", "RUN", "RUN#a", "RUN#a#b#c", "VERSION#a#b", ""])
def test_other_partitions_are_no_runs(pk: str) -> None:
    assert keyspace.run_key(pk) is None
    assert keyspace.instance_key(Key(pk, "#TI#t#-1")) is None
    assert keyspace.xcom_name(Key(pk, "XCOM#t#-1#x")) is None


def test_a_key_that_is_too_long_is_refused() -> None:
    keyspace.xcom(TaskInstanceKey("d", "r", "t" * 250), "x" * 700)
    with pytest.raises(Invalid, match="too long"):
        keyspace.xcom(TaskInstanceKey("d", "r", "t" * 250), "ü" * 512)


def test_every_key_attribute_is_defined_and_used() -> None:
    definition = keyspace.TABLE_DEFINITION
    defined = {attribute["AttributeName"] for attribute in definition["AttributeDefinitions"]}
    schemas = [definition["KeySchema"], *(index["KeySchema"] for index in definition["GlobalSecondaryIndexes"])]
    assert defined == {key["AttributeName"] for schema in schemas for key in schema}
