"""The metrics that functions print, for people of the local stack.

On AWS, CloudWatch makes metrics of such lines (embedded metric format). Here the emulator's CloudWatch gets the same
values, so that `aws cloudwatch` and alarms see them. `/metrics` of the local stack shows totals in Prometheus' format, and
with them those of the metrics that AWS itself keeps (`gust.local.aws_metrics`).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gust.model.measurement import NAMESPACE

BEGINS: Final = '{"_aws":'
"""How `EmfMetrics` begins a line."""

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Value(NamedTuple):
    name: str
    value: float
    unit: str
    dimensions: Mapping[str, str]
    namespace: str = NAMESPACE


def values_in(text: str) -> Iterator[Value]:
    """The values in a function's output. A line that only looks like metrics is skipped."""
    for line in text.splitlines():
        if not line.startswith(BEGINS):
            continue
        try:
            found = json.loads(line)
            for group in found["_aws"]["CloudWatchMetrics"]:
                if group["Namespace"] == NAMESPACE:
                    for dimensions in group["Dimensions"]:
                        named = {name: str(found[name]) for name in dimensions}
                        for metric in group["Metrics"]:
                            for value in found[metric["Name"]]:
                                yield Value(metric["Name"], float(value), metric.get("Unit", "None"), named)
        except (ValueError, LookupError, TypeError):
            continue


@dataclass
class _Total:
    unit: str
    count: int = 0
    sum: float = 0.0
    last: float = 0.0


@dataclass
class Totals:
    """Since the emulator's start. Safe to use from several threads."""

    _of: dict[tuple[str, str, tuple[tuple[str, str], ...]], _Total] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, value: Value) -> None:
        with self._lock:
            total = self._of.setdefault(
                (value.namespace, value.name, tuple(sorted(value.dimensions.items()))), _Total(value.unit)
            )
            total.count += 1
            total.sum += value.value
            total.last = value.value

    def exposition(self) -> str:
        """Prometheus' text format: of each metric the number of its values, their sum and the last one."""
        with self._lock:
            found = sorted(self._of.items())
            lines: list[str] = []
            named = ""
            for (namespace, name, dimensions), total in found:
                unit = f"_{total.unit.lower()}" if total.unit in ("Seconds", "Milliseconds") else ""
                snake = f"{namespace.replace('/', '_').lower()}_{_snake(name)}{unit}"
                labels = ",".join(f"{_snake(label)}={json.dumps(value)}" for label, value in dimensions)
                if snake != named:
                    lines += [f"# TYPE {snake} summary", f"# TYPE {snake}_last gauge"]
                    named = snake
                for suffix, number in (("_count", total.count), ("_sum", total.sum), ("_last", total.last)):
                    lines.append(f"{snake}{suffix}{{{labels}}} {number:g}")
        return "".join(line + "\n" for line in lines)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
