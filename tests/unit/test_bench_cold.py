"""What the bench of cold starts makes of the measured processor seconds."""

from __future__ import annotations

import pytest

from benches.cold import Line, Start, table

LINE = Line("gust-api", (Start(0.5, 60), Start(0.9, 64), Start(0.6, 62)), 69, 1024)
PRICES = {"lambda": {"gb_second_arm64": 0.00001}}


def test_the_median_start_counts() -> None:
    assert (LINE.processor, LINE.memory) == (0.6, 62)


def test_a_function_with_less_memory_takes_longer_and_one_with_more_is_not_quicker() -> None:
    assert LINE.seconds(1769) == LINE.seconds(3538) == 0.6
    assert LINE.seconds(512) == pytest.approx(0.6 * 1769 / 512)


def test_a_start_is_billed_for_its_functions_memory() -> None:
    assert LINE.dollars(PRICES) == pytest.approx(0.6 * 1769 / 1024 * 0.00001)


def test_a_line_of_the_table() -> None:
    assert table([LINE], PRICES)[-1] == (
        "| api | 0.60 s | 0.5 s | 62 MB | 69 MB | 2.1 s | 1.0 s | 0.6 s | $10.4 at 1,024 MB |"
    )
