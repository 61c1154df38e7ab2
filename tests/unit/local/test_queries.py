"""What the emulator does itself with the conditions of our queries is what MiniStack does with them."""

from __future__ import annotations

from typing import Any, Final

import pytest
from ministack.services import dynamodb

from gust.local.shortcuts import KEY_CONDITIONS, comparing_keys, projecting_names, sorting_text

NAMES: Final = {"#pk": "listed_pk", "#sk": "listed_sk"}
VALUES: Final = {
    ":pk": {"S": "etl"},
    ":begin": {"S": "b"},
    ":until": {"S": "b#2"},
    ":first": {"S": "a"},
    ":last": {"S": "b#1"},
}


@pytest.mark.parametrize("condition", sorted(KEY_CONDITIONS))
@pytest.mark.parametrize("partition", ["etl", "dwh"])
@pytest.mark.parametrize("sk", ["", "a", "a#~", "b", "b#1", "b#10", "b#2", "b#3", "ü", "\U0001f600"])
def test_a_key_condition_holds_where_ministack_says_so(condition: str, partition: str, sk: str) -> None:
    item = {"listed_pk": {"S": partition}, "listed_sk": {"S": sk}}
    asked = {name: value for name, value in VALUES.items() if name in condition}
    arguments: tuple[Any, ...] = (condition, item, asked, NAMES)
    ours = comparing_keys(lambda *_: pytest.fail("it is ours to evaluate"))
    expected = dynamodb._evaluate_condition(*arguments, slot="KeyConditionExpression")
    assert ours(*arguments, slot="KeyConditionExpression") == bool(expected)


@pytest.mark.parametrize(
    ("condition", "slot"),
    [("#pk = :pk", "ConditionExpression"), ("#pk = :pk AND #sk > :first", "KeyConditionExpression")],
)
def test_every_other_condition_is_left_to_ministack(condition: str, slot: str) -> None:
    asked: list[str] = []
    comparing_keys(lambda *found: asked.append(found[0]))(condition, {}, VALUES, NAMES, slot)
    assert asked == [condition]


def test_keys_that_are_no_text_are_sorted_by_ministack() -> None:
    sort_value = sorting_text(dynamodb._sort_key_value)
    for attribute, kind in [({"S": "a"}, "S"), ({"N": "7"}, "N"), (None, "S"), (None, "N"), ({"B": "YQ=="}, "B")]:
        assert sort_value(attribute, kind) == dynamodb._sort_key_value(attribute, kind)


@pytest.mark.parametrize("expression", ["#a", "#a, #b", "#b, #none", "#a,#b", "#m.x", "#a, plain", ""])
def test_a_projection_is_what_ministack_makes_of_it(expression: str) -> None:
    item = {"state": {"S": "x"}, "b": {"N": "1"}, "m": {"M": {"x": {"S": "y"}}}, "plain": {"S": "z"}}
    names = {"#a": "state", "#b": "b", "#m": "m", "#none": "missing"}
    ours = projecting_names(dynamodb._project_item)
    assert ours(item, expression, names) == dynamodb._project_item(item, expression, names)
