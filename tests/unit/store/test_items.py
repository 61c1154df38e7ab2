"""Items: every model value reads back as it was written, and defaults take no space."""

from collections.abc import Collection
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gust.errors import Invalid
from gust.model.asset import Asset, AssetEvent
from gust.model.bundle import Bundle, DagWarning, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.task_instance import TaskInstance
from gust.store import items

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(max_size=5), json_values, max_size=3)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds
names = st.lists(st.text(min_size=1, max_size=5), max_size=3)


def values_of(model: type[Any], chosen: Collection[Field[Any]] = ()) -> st.SearchStrategy[Any]:
    """Values with these fields drawn and the others at their defaults; without, all are drawn."""
    hints = get_type_hints(model)
    return st.builds(model, **{field.name: _values(field.name, hints[field.name]) for field in chosen or fields(model)})


def _values(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    if get_origin(annotation) in (Union, UnionType):
        return st.one_of(*(_values(name, option) for option in get_args(annotation)))
    if name == "pushed_keys":  # a set that the model shows in order
        return names.map(lambda found: tuple(sorted(set(found))))
    if get_origin(annotation) is tuple:
        return names.map(tuple)
    if get_origin(annotation) is dict:
        inner = _values(name, get_args(annotation)[1])
        return st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3)
    if is_dataclass(annotation):
        return values_of(cast("type[Any]", annotation))
    known: dict[Any, st.SearchStrategy[Any]] = {
        Any: json_values,
        datetime: moments,
        float: st.floats(-1e9, 1e9),
        int: st.integers(-(10**15), 10**15),
        str: st.text(max_size=9),
    }
    return known[annotation] if annotation in known else st.from_type(annotation)


MODELS: dict[type[Any], items.Codec[Any]] = {
    DagRun: items.DAG_RUN,
    Dag: items.DAG,
    DagVersion: items.DAG_VERSION,
    SourceFile: items.SOURCE_FILE,
    ImportProblem: items.IMPORT_PROBLEM,
    DagWarning: items.DAG_WARNING,
    Bundle: items.BUNDLE,
    Asset: items.ASSET,
    AssetEvent: items.ASSET_EVENT,
    TaskInstance: items.TASK_INSTANCE,
}

KEYED: dict[type[Any], tuple[str, ...]] = {
    DagRun: ("dag_id", "run_id"),
    Dag: ("dag_id",),
    DagVersion: ("dag_id", "version_number"),
    TaskInstance: ("dag_id", "run_id", "task_id", "map_index"),
}
"""Fields that the key tells."""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_value_reads_back(model: type[Any], data: st.DataObject) -> None:
    value = data.draw(values_of(model))
    keyed = {name: getattr(value, name) for name in KEYED.get(model, ())}
    assert MODELS[model].read(MODELS[model].item(value), **keyed) == value


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_default_takes_no_room(model: type[Any], data: st.DataObject) -> None:
    required = [f for f in fields(model) if f.default is MISSING and f.default_factory is MISSING]
    value = data.draw(values_of(model, required))
    assert set(MODELS[model].item(value)) <= {f.name for f in required}


def test_a_task_instances_pushes_are_separate_attributes() -> None:
    before = TaskInstance(dag_id="d", run_id="r", task_id="t", xcom_lengths={"a": 1, "b": 2}, pushed_keys=("a", "b"))
    changes = items.TASK_INSTANCE.changes(before, {"xcom_lengths": {"b": 3, "c": 4}, "pushed_keys": (), "pid": None})
    assert changes == {
        "xcom_length.a": None,
        "xcom_length.b": {"N": "3"},
        "xcom_length.c": {"N": "4"},
        "pushed_keys": None,
        "pid": None,
    }


def test_a_document_that_no_item_holds_names_its_field() -> None:
    with pytest.raises(Invalid, match="300 KB") as refused:
        items.document("conf", {"x": "y" * items.LARGEST_DOCUMENT})
    assert refused.value.field == ("conf",)


def test_half_a_surrogate_pair_survives() -> None:
    assert items.document("conf", {"x": "\ud800"}) == {"S": '{"x":"\\ud800"}'}
