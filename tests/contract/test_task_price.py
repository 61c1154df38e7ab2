"""No path of a task becomes dearer than its ceiling, and docs/benches.md says what each costs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benches.paths import PATHS, PricedPath, bill
from tests.contract.stores import Aws

PAGE = Path(__file__).parents[2] / "docs/benches.md"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.title)
def test_a_path_costs_what_the_page_says_and_at_most_its_ceiling(path: PricedPath, aws: Aws) -> None:
    dollars = bill(path, aws.dynamodb, aws.streams).control_plane_per_million
    assert dollars <= path.ceiling
    row = re.search(rf"^\| {re.escape(path.title)} \| \$(\d+\.\d\d) \|", PAGE.read_text(), re.MULTILINE)
    assert row is not None, f"| {path.title} | ${dollars:.2f} |"
    assert dollars == pytest.approx(float(row[1]), rel=0.03), "the page says another price"
