"""What an idle stack costs is what the documentation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benches.cost import load_prices
from benches.idle import CEILING, lines, lines_on_request, main, of_mwaa

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bill(resources: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {line.what: line.dollars for line in lines(resources, load_prices())}


@pytest.fixture(scope="module")
def polls(resources: dict[str, dict[str, Any]]) -> float:
    return next(line.count for line in lines(resources, load_prices()) if line.what == "polls of the queues")


def test_an_idle_stack_costs_less_than_a_dollar(bill: dict[str, float]) -> None:
    assert sum(bill.values()) < 0.9 * CEILING == 0.9


def test_the_documentation_says_what_a_month_costs(bill: dict[str, float], polls: float) -> None:
    page = (ROOT / "docs" / "benches.md").read_text()
    assert f"| 2 keys in SSM | ${bill['keys in SSM']:.2f} |" in page
    assert f"| {polls:,.0f} polls of the queues | ${bill['polls of the queues']:.2f} |" in page
    assert f"| 43,200 ticks | ${bill['ticks']:.2f} |" in page
    together = f"${sum(bill.values()):.2f}"
    assert f"| **together** | **{together}** |" in page
    assert f"| Amazon MWAA's smallest environment | ${of_mwaa(load_prices()).dollars:.2f} |" in page
    assert f"costs {together} a month" in (ROOT / "README.md").read_text()


def test_the_bench_prints_each_line_and_checks_the_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0

    printed = {line.split("  ")[0]: line.rpartition("$")[2] for line in capsys.readouterr().out.splitlines()}
    assert printed["keys in SSM"] == "0.00"
    assert printed["MWAA's mw1.micro"] == f"{of_mwaa(load_prices()).dollars:.2f}"
    assert float(printed["a month"]) < CEILING


def test_the_documentation_says_what_watching_adds(resources: dict[str, dict[str, Any]]) -> None:
    alarms, dashboard = lines_on_request(resources, load_prices())
    page = (ROOT / "docs" / "benches.md").read_text()
    said = f"{alarms.count:.0f} alarms, ${alarms.dollars:.2f} a month, and a dashboard, ${dashboard.dollars:.2f}"
    assert said in page


def test_a_poller_is_what_it_costs(polls: float) -> None:
    """Three queues with a cap: 15 pollers, a request every 20 seconds each."""
    assert polls == 15 * 30 * 24 * 3600 / 20
