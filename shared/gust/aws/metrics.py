"""Metrics as lines of a function's log, from which CloudWatch makes them (embedded metric format): no call, no wait.

An invocation prints one line at its end, and none if it measured nothing. So an idle stack sends no metric: CloudWatch
bills a metric for the hours in which it got a value.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final, Literal

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from gust.model.measurement import NAMESPACE, Measurement

Detail = Literal["None", "Stack", "DAG"]
"""The values of the template's parameter `Metrics`."""

MOST_VALUES: Final = 99
"""Of a metric in one line: CloudWatch reads a hundred, and Powertools prints by itself at a hundred."""


class EmfMetrics:
    """Implements `ports.Metrics`. Every metric has the dimension `Stack`. With the detail `DAG`, one that is about a DAG is
    sent a second time with the dimension `DAG`, and CloudWatch bills each DAG's as metrics of their own."""

    def __init__(self, stack: str, detail: Detail = "Stack", *, write: Callable[[str], None] = print) -> None:
        self._stack = stack
        self._detail = detail
        self._write = write
        self._added: deque[Measurement] = deque()

    def add(self, measurements: Iterable[Measurement]) -> None:
        if self._detail != "None":
            self._added.extend(measurements)

    def flush(self) -> None:
        """Print what was added, and forget it."""
        if not self._added:
            return
        added = [self._added.popleft() for _ in range(len(self._added))]
        self._print(added, {})
        if self._detail == "DAG":
            of_dags: dict[str, list[Measurement]] = {}
            for each in added:
                if each.dag_id is not None:
                    of_dags.setdefault(each.dag_id, []).append(each)
            for dag_id, those in of_dags.items():
                self._print(those, {"DAG": dag_id})

    def flushes(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """The same handler, which prints its metrics when it returns or raises."""

        @wraps(handler)
        def handle(*arguments: Any, **options: Any) -> Any:
            try:
                return handler(*arguments, **options)
            finally:
                self.flush()

        return handle

    def _print(self, measurements: list[Measurement], dimensions: dict[str, str]) -> None:
        values: dict[str, int] = {}
        lines: list[list[Measurement]] = []
        for each in measurements:
            place = values.get(each.name, 0) // MOST_VALUES
            values[each.name] = values.get(each.name, 0) + 1
            if place == len(lines):
                lines.append([])
            lines[place].append(each)
        for line in lines:
            named = {"Stack": self._stack, **dimensions}
            emf = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, dimension_set=named, service="")
            for name, value, unit, _ in line:
                emf.add_metric(name, unit, value)
            self._write(json.dumps(emf.serialize_metric_set(), separators=(",", ":")))
