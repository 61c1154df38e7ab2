"""What docs/benches.md says of waiting follows from the bench's figures and the prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.cost import load_prices
from benches.parked import lateness, measure, percentile, spread
from benches.waiting import MEASURED, a_day, looks_of_a_day, pauses

PAGE = Path(__file__).parents[2] / "docs/benches.md"


def test_the_page_says_what_a_thousand_waiting_triggers_cost() -> None:
    page, prices = PAGE.read_text(), load_prices()
    alone, alone_dollars = a_day(prices, MEASURED, told=False)
    woken, woken_dollars = a_day(prices, MEASURED, told=True)
    assert f"| without events | {alone:,} | ${alone_dollars:.2f} |" in page
    assert f"([waiting](waiting.md)) | {woken:,} | ${woken_dollars:.2f} |" in page
    assert woken_dollars <= 0.20
    assert f"looks every ten minutes | | ${looks_of_a_day(prices, told=False):.2f} |" in page
    assert f"as with `WakeTriggers=Enabled` | | ${looks_of_a_day(prices, told=True):.2f} |" in page
    assert f"they take {len(pauses(told=True, waited=2 * 86400)) - woken // 1000},000 polls" in page


@pytest.mark.parametrize(("over", "when"), [(60.0, "60 s"), (1.0, "second")])
def test_the_page_says_how_late_ten_thousand_triggers_wake(over: float, when: str) -> None:
    late = lateness(spread(10_000, over))
    told = " | ".join(f"{seconds:.1f} s" for seconds in (percentile(late, 0.5), percentile(late, 0.99), late[-1]))
    assert f"| within the same {when} | {told} |" in PAGE.read_text()


def test_parked_triggers_cost_a_tick_nothing_and_no_process_remembers_them() -> None:
    few, many = measure(20, 10), measure(400, 10)
    assert many.wakes == few.wakes == 10
    assert many.kept < 50
    assert max(many.message, many.item) < 1024
