"""The picture of the dashboard: what is drawn of which values."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from benches.dashboard import Line, chart, evaluate, lines_of, size

BEGAN, ENDED = 1_000_000.0, 1_000_100.0


class CloudWatch:
    """Answers one value for each metric: the number of its calls so far."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **asked: Any) -> dict[str, Any]:
        (query,) = asked["MetricDataQueries"]
        self.asked.append(query["MetricStat"])
        moment = datetime.fromtimestamp(BEGAN + 10, tz=UTC)
        return {"MetricDataResults": [{"Timestamps": [moment], "Values": [float(len(self.asked))]}]}


WIDGET: dict[str, Any] = {
    "title": "Costs & more",
    "metrics": [
        ["AWS/Lambda", "Duration", "FunctionName", "gust-worker", {"stat": "Sum", "id": "d", "visible": False}],
        ["Gust", "TaskInstanceDuration", "Stack", "gust", {"stat": "p95", "label": "running"}],
        [{"expression": "FILL(d,0)*2/4+FILL(w,0)*3", "label": "dollars", "id": "cost"}],
    ],
}


def test_a_line_is_drawn_for_each_visible_metric_and_for_the_expression() -> None:
    cloudwatch = CloudWatch()
    running, cost = lines_of(WIDGET, cloudwatch, BEGAN, ENDED)
    assert [each["Stat"] for each in cloudwatch.asked] == ["Sum", "p95"]
    assert cloudwatch.asked[0]["Metric"]["Dimensions"] == [{"Name": "FunctionName", "Value": "gust-worker"}]
    assert (running.label, running.points) == ("running", [(BEGAN + 10, 2.0)])
    assert (cost.label, cost.points) == ("dollars", [(ENDED, 0.5)])


def test_other_metric_math_is_refused() -> None:
    with pytest.raises(ValueError, match="RATE"):
        evaluate("RATE(d)", {})


def test_a_chart_names_its_widget_and_lines_and_says_where_there_is_no_value() -> None:
    widget = {"x": 8, "y": 6, "width": 8, "height": 6, "properties": WIDGET}
    lines = [Line("running", "red", [(BEGAN, 1.0), (ENDED, 3.0)]), Line("lost", "blue", [])]
    drawn = chart(widget, lines, BEGAN, ENDED)
    assert re.findall(r"<text[^>]*>([^<]+)</text>", drawn) == [
        "Costs &amp; more",
        *("0", "2.5", "5"),
        *("13:46:46", "13:47:16", "13:47:46", "13:48:15"),
        *("running", "lost (no value)"),
    ]
    assert drawn.count("<circle") == 2


def test_the_page_is_as_wide_as_the_grid_and_as_high_as_its_lowest_widget() -> None:
    assert size([{"y": 0, "height": 6}, {"y": 18, "height": 6}]) == (1200, 912)
