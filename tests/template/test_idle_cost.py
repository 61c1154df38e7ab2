"""What an idle stack costs is what the documentation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benches.cost import load_prices
from benches.idle import lines, lines_on_request

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bill(resources: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {line.what: line.dollars for line in lines(resources, load_prices())}


@pytest.fixture(scope="module")
def polls(resources: dict[str, dict[str, Any]]) -> float:
    return next(line.count for line in lines(resources, load_prices()) if line.what == "polls of the queues")


def test_the_documentation_says_what_a_month_costs(bill: dict[str, float], polls: float) -> None:
    page = (ROOT / "docs" / "benches.md").read_text()
    assert f"| 2 secrets | ${bill['secrets']:.2f} |" in page
    assert f"| {polls:,.0f} polls of the queues | ${bill['polls of the queues']:.2f} |" in page
    assert f"| 43,200 ticks | ${bill['ticks']:.2f} |" in page
    together = f"${sum(bill.values()):.2f}"
    assert f"| **together** | **{together}** |" in page
    assert f"costs {together} a month" in (ROOT / "README.md").read_text()


def test_the_documentation_says_what_watching_adds(resources: dict[str, dict[str, Any]]) -> None:
    alarms, dashboard = lines_on_request(resources, load_prices())
    page = (ROOT / "docs" / "benches.md").read_text()
    said = f"{alarms.count:.0f} alarms, ${alarms.dollars:.2f} a month, and a dashboard, ${dashboard.dollars:.2f}"
    assert said in page


def test_a_poller_is_what_it_costs(polls: float) -> None:
    """Three queues with a cap and one without: 17 pollers, a request every 20 seconds each."""
    assert polls == 17 * 30 * 24 * 3600 / 20
