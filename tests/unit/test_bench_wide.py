"""A task of a wide run costs the scheduler as much as one of a narrow run: in read and write units, counted."""

from __future__ import annotations

from typing import Any

import pytest

from benches.wide import MOST_GROWTH, SHAPES, Cost, measure


@pytest.mark.parametrize("shape", [pytest.param(shape, id=title) for title, shape in SHAPES.items()])
def test_a_wide_run_costs_no_more_per_task(shape: dict[str, Any]) -> None:
    narrow, wide = measure(100, **shape), measure(500, **shape)
    assert price(wide) <= MOST_GROWTH * price(narrow)
    assert wide.looks <= 30


def price(cost: Cost) -> float:
    """In units of a read, per task."""
    return cost.per_task("read_units") + 5 * cost.per_task("write_units")
