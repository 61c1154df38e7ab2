"""A picture of the stack's dashboard, from the metrics of a local stack that works for some minutes.

    python -m benches.dashboard docs/dashboard.png [--seconds 150]      # needs PYTHONPATH=shared, and chromium

The dashboard's body is the one that CloudFormation has put into the emulator's CloudWatch, and the values are those that
CloudWatch answers for it. CloudWatch draws the dashboard on AWS, and the emulator draws none: this module does.
"""

from __future__ import annotations

import argparse
import ast
import json
import operator
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from gust.local.stack import LocalStack, running

ROOT: Final = Path(__file__).parents[1]

PERIOD: Final = 5
"""Seconds of a point of the picture. CloudWatch's are minutes, and a stack's day would take a day."""

COLUMN, ROW, MARGIN = 50, 38, 12
"""Pixels of a unit of the dashboard's grid, which has 24 columns; and around a widget."""

LETTER: Final = 6.0
"""Pixels of a letter, about."""

LEGEND: Final = 15
"""Pixels of a row of the legend."""

COLOURS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#17becf", "#bcbd22", "#d62728")

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")

DAGS: Final = """
import random
import time
from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, task

SINCE = datetime(2026, 1, 1, tzinfo=timezone.utc)

with DAG("sales", schedule=timedelta(seconds=4), start_date=SINCE, catchup=False, max_active_runs=3):

    @task
    def parts():
        time.sleep(random.uniform(0.1, 0.4))
        return [1, 2, 3]

    @task
    def load(part):
        time.sleep(random.uniform(0.2, 1.0))

    load.expand(part=parts())

with DAG("flaky", schedule=timedelta(seconds=15), start_date=SINCE, catchup=False):

    @task
    def breaks_sometimes():
        if random.random() < 0.6:
            raise ValueError("the source has sent nothing")

    breaks_sometimes()

with DAG("month_end", max_active_runs=4):

    @task
    def book(number):
        time.sleep(0.6)

    book.expand(number=list(range(8)))
"""

Point = tuple[float, float]
"""Moment (seconds since 1970) and value."""


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    colour: str
    points: Sequence[Point]

    def since(self, began: float) -> Line:
        return replace(self, points=[point for point in self.points if point[0] >= began])


# --- the stack ----------------------------------------------------------------------------------------------------------


def work(stack: LocalStack, dags: Path, seconds: float) -> tuple[float, float]:
    """Have the stack work: scheduled runs, some of which fail, a file that is broken for a while, and a burst. Returns when
    it began and ended."""
    import httpx

    began = time.time()
    (dags / "sales.py").write_text(DAGS)
    acts = [
        (0.4, lambda: (dags / "broken.py").write_text("from airflow.sdk import dag\nimport nothing_of_this_name\n")),
        (0.5, lambda: [_trigger(httpx, stack) for _ in range(6)]),
        (0.7, (dags / "broken.py").unlink),
    ]
    for part, act in acts:
        _go_on(stack, until=began + part * seconds)
        act()
    _go_on(stack, until=began + seconds)
    return began, time.time()


def _trigger(httpx: Any, stack: LocalStack) -> None:
    httpx.post(f"{stack.url}/api/v2/dags/month_end/dagRuns", json={"logical_date": None}).raise_for_status()


def _go_on(stack: LocalStack, *, until: float) -> None:
    import threading

    stop = threading.Event()
    threading.Timer(max(0.1, until - time.time()), stop.set).start()
    stack.run(stop)


# --- the values ---------------------------------------------------------------------------------------------------------


def lines_of(widget: Mapping[str, Any], cloudwatch: Any, began: float, ended: float) -> list[Line]:
    """One for each visible metric of the widget; without points where the metric has no value."""
    by_id: dict[str, float] = {}
    lines: list[Line] = []
    for metric in widget["metrics"]:
        about = metric[-1] if isinstance(metric[-1], dict) else {}
        colour = about.get("color", COLOURS[len(lines) % len(COLOURS)])
        if "expression" in about:
            lines.append(Line(about["label"], colour, [(ended, evaluate(about["expression"], by_id))]))
            continue
        stat = about.get("stat", widget.get("stat", "Average"))
        points = values(cloudwatch, metric, stat, began, ended)
        if "id" in about:
            by_id[about["id"]] = sum(value for _, value in points)
        if about.get("visible", True):
            lines.append(Line(about.get("label", metric[1]), colour, points))
    return lines


def values(cloudwatch: Any, metric: Sequence[Any], stat: str, began: float, ended: float) -> list[Point]:
    namespace, name, *named = [each for each in metric if not isinstance(each, dict)]
    dimensions = [{"Name": key, "Value": value} for key, value in zip(named[::2], named[1::2], strict=True)]
    asked = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": asked, "Period": PERIOD, "Stat": stat}}],
        StartTime=datetime.fromtimestamp(began, tz=UTC),
        EndTime=datetime.fromtimestamp(ended, tz=UTC),
    )
    (found,) = answer["MetricDataResults"]
    moments = [moment.timestamp() for moment in found["Timestamps"]]
    return sorted(zip(moments, found["Values"], strict=True))


_OPERATORS: Final = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def evaluate(expression: str, by_id: Mapping[str, float]) -> float:
    """Of CloudWatch's metric math, sums and products of numbers and of `FILL(id,0)`."""

    def of(node: ast.expr) -> float:
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                return float(_OPERATORS[type(op)](of(left), of(right)))
            case ast.Constant(value=float() | int() as number):
                return float(number)
            case ast.Call(func=ast.Name(id="FILL"), args=[ast.Name(id=name), ast.Constant(value=missing)]):
                return by_id.get(name, float(str(missing)))
            case _:
                raise ValueError(f"{ast.unparse(node)} is not known")

    return of(ast.parse(expression, mode="eval").body)


# --- the picture --------------------------------------------------------------------------------------------------------


def page(widgets: Sequence[tuple[Mapping[str, Any], Sequence[Line]]], began: float, ended: float) -> str:
    """HTML with a chart for each widget of the dashboard."""
    charts = "".join(chart(widget, lines, began, ended) for widget, lines in widgets)
    return (
        "<!doctype html><meta charset=utf-8><style>body{margin:0;background:#f2f3f3;font:11px Arial,sans-serif}"
        ".w{position:absolute;background:#fff;border:1px solid #d5dbdb;border-radius:3px;box-sizing:border-box}"
        "</style>" + charts
    )


def size(widgets: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    return 24 * COLUMN, max(each["y"] + each["height"] for each in widgets) * ROW


def chart(widget: Mapping[str, Any], lines: Sequence[Line], began: float, ended: float) -> str:
    width, height = widget["width"] * COLUMN - 8, widget["height"] * ROW - 8
    labels = [line.label if line.points else f"{line.label} (no value)" for line in lines]
    places = _legend(labels, width)
    left, right, top = 48, width - MARGIN, 34
    bottom = height - 24 - LEGEND * (places[-1][1] + 1)
    largest = max((value for line in lines for _, value in line.points), default=0.0)
    ceiling = _round_up(largest)
    drawn: list[str] = [f'<text x="{MARGIN}" y="19" font-weight="bold">{escape(widget["properties"]["title"])}</text>']

    def x(moment: float) -> float:
        return left + (right - left) * (moment - began) / (ended - began)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / ceiling

    for part in (0.0, 0.5, 1.0):
        at = y(part * ceiling)
        drawn.append(f'<path d="M{left} {at:.1f}H{right}" stroke="#e4e7e7"/>')
        drawn.append(
            f'<text x="{left - 5}" y="{at + 4:.1f}" text-anchor="end" fill="#687078">{part * ceiling:,.6g}</text>'
        )
    for moment in _quarters(began, ended):
        clock = datetime.fromtimestamp(moment, tz=UTC).strftime("%H:%M:%S")
        drawn.append(f'<text x="{x(moment):.1f}" y="{bottom + 14}" text-anchor="middle" fill="#687078">{clock}</text>')
    is_one_number = widget["properties"].get("period", 0) > ended - began
    for line in lines:
        if is_one_number and line.points:
            number = f"{line.points[-1][1]:.2g}"
            drawn.append(f'<text x="{(left + right) / 2}" y="{(top + bottom) / 2}" font-size="26">{number}</text>')
        else:
            drawn.append(_drawn(line, [(x(moment), y(value)) for moment, value in line.points]))
    for (at, row), line, label in zip(places, lines, labels, strict=True):
        y_of_row = bottom + 24 + row * LEGEND
        drawn.append(f'<rect x="{at}" y="{y_of_row}" width="9" height="9" fill="{line.colour}"/>')
        drawn.append(f'<text x="{at + 13}" y="{y_of_row + 8}">{escape(label)}</text>')
    place = f"left:{widget['x'] * COLUMN + 4}px;top:{widget['y'] * ROW + 4}px;width:{width}px;height:{height}px"
    return f'<div class="w" style="{place}"><svg width="{width}" height="{height}">{"".join(drawn)}</svg></div>'


def _legend(labels: Sequence[str], width: float) -> list[tuple[int, int]]:
    """The place of each label in its row, in pixels, and its row."""
    places: list[tuple[int, int]] = []
    at, row = MARGIN, 0
    for label in labels:
        if at > MARGIN and at + 14 + LETTER * len(label) > width:
            at, row = MARGIN, row + 1
        places.append((at, row))
        at += 24 + int(LETTER * len(label))
    return places


def _drawn(line: Line, points: Sequence[Point]) -> str:
    path = " ".join(f"{'M' if place == 0 else 'L'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8" fill="{line.colour}"/>' for x, y in points)
    return f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="1.4"/>{dots}' if points else ""


def _quarters(began: float, ended: float) -> Iterator[float]:
    for part in (0.06, 0.36, 0.66, 0.95):
        yield began + (ended - began) * part


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 …; 1 for zero."""
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** int(f"{value:e}".partition("e")[2])
    return next(step * magnitude for step in (1, 2, 5, 10) if value <= step * magnitude)


def take(html: str, picture: Path, width: int, height: int) -> None:
    """Have chromium draw the page."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("The picture is drawn with chromium, which is not here: apt install chromium")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "dashboard.html"
        source.write_text(html)
        subprocess.run(
            [
                found,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
                *(f"--user-data-dir={folder}/profile", f"--window-size={width},{height}", f"--screenshot={picture}"),
                source.as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.dashboard")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        dags = Path(home) / "dags"
        dags.mkdir()
        environment = {
            name: value for name, value in os.environ.items() if not re.match(r"AWS_|AIRFLOW|GUST|PYTEST", name)
        }
        with running(
            root=ROOT,
            data=Path(home) / "data",
            dags=dags,
            workers=4,
            parameters={"Dashboard": "Enabled"},
            environment=environment,
        ) as stack:
            began, ended = work(stack, dags, options.seconds)
            cloudwatch = stack.client("cloudwatch")
            body = json.loads(cloudwatch.get_dashboard(DashboardName="gust")["DashboardBody"])
            # What reads logs is no chart.
            widgets = [each for each in body["widgets"] if each["type"] == "metric"]
            drawn = [(each, lines_of(each["properties"], cloudwatch, began, ended)) for each in widgets]
    of_runs = [moment for _, lines in drawn[:2] for line in lines for moment, _ in line.points]
    began = min(of_runs, default=began) - PERIOD
    drawn = [(each, [line.since(began) for line in lines]) for each, lines in drawn]
    take(page(drawn, began, ended), options.picture.resolve(), *size(widgets))
    print(f"{options.picture}: {options.picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
