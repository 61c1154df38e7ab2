"""What docs/benches.md says of waiting follows from the bench's figures and the prices."""

from __future__ import annotations

from pathlib import Path

from benches.cost import load_prices
from benches.waiting import MEASURED, a_day, pauses

PAGE = Path(__file__).parents[2] / "docs/benches.md"


def test_the_page_says_what_a_thousand_waiting_triggers_cost() -> None:
    page, prices = PAGE.read_text(), load_prices()
    alone, alone_dollars = a_day(prices, MEASURED, told=False)
    woken, woken_dollars = a_day(prices, MEASURED, told=True)
    assert f"| without events | {alone:,} | ${alone_dollars:.2f} |" in page
    assert f"([waiting](waiting.md)) | {woken:,} | ${woken_dollars:.2f} |" in page
    assert woken_dollars <= 0.20
    assert f"they take {len(pauses(told=True, waited=2 * 86400)) - woken // 1000},000 polls" in page
