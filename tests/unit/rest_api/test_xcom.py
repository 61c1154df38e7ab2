"""XComs, as they are stored and as people read them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gust.model.dag_run import DagRun
from gust.rest_api.public.xcom import readable
from tests.unit.rest_api.world import Api, World

XCOMS = "/api/v2/dags/etl/dagRuns/manual__1/taskInstances/extract/xcomEntries"

MOMENT = {"__classname__": "datetime.datetime", "__version__": 2, "__data__": {"timestamp": 1.5, "tz": "UTC"}}


@pytest.fixture
def run(world: World) -> DagRun:
    return world.run(world.dag())


def value_of(api: Api, query: str = "", key: str = "return_value") -> Any:
    return api.ok("get_xcom_entry", "GET", f"{XCOMS}/{key}{query}")["value"]


@pytest.mark.parametrize(
    ("value", "deserialized", "text"),
    [
        ([1, {"a": None}], [1, {"a": None}], "[1, {'a': None}]"),
        (None, None, None),
        ("plain", "plain", "plain"),
        ('{"a": 1}', {"a": 1}, '{"a": 1}'),
        ("NaN", "NaN", "NaN"),
        (
            {"at": MOMENT},
            {"at": "datetime.datetime@version=2(timestamp=1.5, tz='UTC')"},
            str({"at": MOMENT}),
        ),
        (
            {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, "x", MOMENT]},
            "(1,x,datetime.datetime@version=2(timestamp=1.5, tz='UTC'))",
            None,
        ),
    ],
)
def test_values(world: World, api: Api, value: Any, deserialized: Any, text: str | None) -> None:
    world.xcom(world.run(world.dag()), "extract", value)
    assert value_of(api) == value
    assert value_of(api, "?deserialize=true") == deserialized
    if text is not None:
        assert value_of(api, "?stringify=true") == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.fixed_dictionaries(
            {
                "__classname__": st.sampled_from(
                    [
                        "builtins.tuple",
                        "builtins.set",
                        "builtins.frozenset",
                        "datetime.datetime",
                        f"unusual_prefix_{'a1' * 20}_etl.Order",
                        "airflow.sdk.definitions.asset.Asset",
                    ]
                ),
                "__version__": st.integers(0, 3),
                "__data__": inner,
            }
        )
        | st.fixed_dictionaries({"__type": st.sampled_from(["datetime", "airflow.x.Y"]), "__var": inner})
        | st.fixed_dictionaries(
            {"__type": st.just("dict"), "__var": st.dictionaries(st.text(max_size=3), inner, max_size=3)}
        )
    ),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=300, deadline=None)
def test_people_read_what_airflow_would_show_them(value: Any) -> None:
    from airflow.models.xcom import XComModel
    from airflow.serialization.stringify import StringifyNotSupportedError, stringify

    if isinstance(value, str):
        return  # what a string holds is decoded first
    try:
        expected = stringify(value)
    except StringifyNotSupportedError:
        expected = XComModel.deserialize_value(SimpleNamespace(value=value))
    assert readable(value) == expected


def test_a_value_that_holds_a_class_of_airflows_own_is_answered_as_it_is_stored(world: World, api: Api) -> None:
    asset = {"__classname__": "airflow.sdk.definitions.asset.Asset", "__version__": 1, "__data__": {"uri": "s3://x"}}
    value = {"at": MOMENT, "assets": [{"__classname__": "builtins.tuple", "__version__": 1, "__data__": [asset]}]}
    world.xcom(world.run(world.dag()), "extract", value)
    assert value_of(api, "?deserialize=true") == value
    assert value_of(api, "?deserialize=true&stringify=true") == str(value)


def test_a_key_may_hold_anything(world: World, run: DagRun, api: Api) -> None:
    for key, written in (("a/b", "a%2Fb"), ("50%", "50%25"), ('q"#?', "q%22%23%3F"), ("é", "%C3%A9")):
        world.xcom(run, "extract", key, name=key)
        assert value_of(api, key=written) == key


def test_by_map_index(world: World, run: DagRun, api: Api) -> None:
    world.xcom(run, "extract", "mapped", map_index=2)
    assert value_of(api, "?map_index=2") == "mapped"
    detail = api.refused("get_xcom_entry", 404, "GET", f"{XCOMS}/return_value")
    assert detail == "XCom entry with key: `return_value` not found"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("etl/dagRuns/manual__1/taskInstances/extract", ["b", "return_value", "return_value"]),
        ("etl/dagRuns/manual__1/taskInstances/extract?map_index=2", ["return_value"]),
        ("etl/dagRuns/manual__1/taskInstances/extract?xcom_key=b", ["b"]),
        ("etl/dagRuns/manual__1/taskInstances/~", ["b", "return_value", "return_value", "other"]),
        ("~/dagRuns/~/taskInstances/~?order_by=key", ["b", "more", "other", "return_value", "return_value"]),
        ("~/dagRuns/~/taskInstances/~?dag_display_name_pattern=ML", ["more"]),
        ("~/dagRuns/~/taskInstances/~?task_id_prefix_pattern=lo&run_id_pattern=manual__1", ["other"]),
        ("~/dagRuns/~/taskInstances/~?xcom_key_prefix_pattern=m&run_after_gte=2026-03-04T00:00:00Z", ["more"]),
        ("~/dagRuns/manual__2/taskInstances/~", ["more"]),
        ("~/dagRuns/~/taskInstances/~?map_index_filter=2&limit=5", ["return_value"]),
        ("no/dagRuns/no/taskInstances/no", []),
    ],
)
def test_lists(world: World, run: DagRun, api: Api, path: str, expected: list[str]) -> None:
    world.xcom(run, "extract", 1)
    world.xcom(run, "extract", 2, map_index=2)
    world.xcom(run, "extract", 3, name="b")
    world.xcom(run, "load", 4, name="other")
    world.xcom(world.run(world.dag("ml"), "manual__2"), "extract", 5, name="more")
    path, _, query = path.partition("?")
    found = api.ok("get_xcom_entries", "GET", f"/api/v2/dags/{path}/xcomEntries?{query}")
    assert [entry["key"] for entry in found["xcom_entries"]] == expected
