"""An asset schedule is satisfied exactly when Airflow's evaluator says so, for any nesting."""

from __future__ import annotations

from typing import Any

from airflow.assets.evaluation import AssetEvaluator
from airflow.serialization.definitions.assets import (
    SerializedAsset,
    SerializedAssetAlias,
    SerializedAssetAll,
    SerializedAssetAny,
    SerializedAssetBase,
    SerializedAssetNameRef,
    SerializedAssetUniqueKey,
    SerializedAssetUriRef,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gust.model.asset import AssetKey
from gust.scheduling.asset_condition import is_satisfied, named_in

KEYS = [AssetKey("a", "a"), AssetKey("b", "s3://b"), AssetKey("c", "s3://c")]
ALIASES = ["nothing", "one", "two"]


def asset(key: AssetKey) -> SerializedAsset:
    return SerializedAsset(name=key.name, uri=key.uri, group="asset", extra={}, watchers=[])


leaves = st.one_of(
    st.sampled_from(KEYS).map(asset),
    st.sampled_from(KEYS).map(lambda key: SerializedAssetNameRef(key.name)),
    st.sampled_from(KEYS).map(lambda key: SerializedAssetUriRef(key.uri)),
    st.just(SerializedAssetNameRef("unheard of")),
    st.sampled_from(ALIASES).map(lambda name: SerializedAssetAlias(name=name, group="asset")),
)
conditions = st.recursive(
    leaves,
    lambda parts: (
        st.builds(SerializedAssetAll, st.lists(parts, max_size=3))
        | st.builds(SerializedAssetAny, st.lists(parts, max_size=3))
    ),
    max_leaves=8,
)


class Evaluator(AssetEvaluator):
    """Airflow's, with the two questions that it asks the database answered here."""

    def __init__(self, of_alias: dict[str, list[AssetKey]]) -> None:
        super().__init__(session=None)  # type: ignore[arg-type]
        object.__setattr__(self, "of_alias", of_alias)

    def _resolve_asset_ref(self, o: Any) -> SerializedAsset | None:
        named = [
            key for key in KEYS if getattr(o, "name", key.name) == key.name and getattr(o, "uri", key.uri) == key.uri
        ]
        return asset(named[0]) if named else None

    def _resolve_asset_alias(self, o: Any) -> list[SerializedAsset]:
        return [asset(key) for key in self.of_alias.get(o.name, ())]  # type: ignore[attr-defined]


@settings(max_examples=500, deadline=None)
@given(
    condition=conditions,
    having=st.sets(st.sampled_from(KEYS)),
    of_alias=st.dictionaries(st.sampled_from(ALIASES), st.lists(st.sampled_from(KEYS))),
)
def test_a_condition_is_satisfied_when_airflow_says_so(
    condition: SerializedAssetBase, having: set[AssetKey], of_alias: dict[str, list[AssetKey]]
) -> None:
    statuses = {SerializedAssetUniqueKey(name=key.name, uri=key.uri): True for key in having}
    expected = Evaluator(of_alias).run(condition, statuses)
    found = is_satisfied(condition.as_expression(), having, assets_of_alias=lambda name: of_alias.get(name, []))
    assert found == expected


@settings(max_examples=200, deadline=None)
@given(condition=conditions)
def test_what_a_condition_names_is_what_airflow_finds_in_it(condition: SerializedAssetBase) -> None:
    named = list(named_in(condition.as_expression()))
    assert [(ref.name, ref.uri) for ref in named if ref.kind == "asset"] == [
        (key.name, key.uri) for key, _ in condition.iter_assets()
    ]
    assert [ref.name for ref in named if ref.kind == "alias"] == [name for name, _ in condition.iter_asset_aliases()]
    refs = [ref.name or ref.uri for ref in named if ref.kind in ("name_ref", "uri_ref")]
    assert refs == [getattr(ref, "name", None) or getattr(ref, "uri", None) for ref in condition.iter_asset_refs()]
