"""The price of a run's tasks on AWS, from counted calls, measured Lambda time and one dated price file.

Lambda time is the functions' time on this machine. It differs on AWS: there the memory size decides the share of a
processor, and here all functions share two. It is only the right order of magnitude.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches.meter import OUTSIDE, OWN_LINES, FunctionUse

PRICES: Final = Path(__file__).parent / "prices_2026-10.toml"

CONTROL_PLANE: Final = ("scheduler", "execution-api")
"""Functions whose time and calls are Gust's own cost."""

WORK: Final = ("worker", "triggerer")
"""Functions that run users' code: reported, but not part of the control plane."""

LINES: Final = "GB of the function's log"
"""What they are called on a bill. They are the control plane's also where a worker or a triggerer writes them."""

LAMBDAS_LINES: Final = 26 + 226 + 26 + 248
"""Bytes of the two lines that Lambda adds to a JSON log for an invocation, its start and its report, from level INFO on."""

LAMBDA_LOG_LEVEL: Final = "WARN"
"""The template's default: failed invocations alone."""

_SQS_BY_LAMBDA: Final = 2
"""Requests that Lambda's poller makes for a message: one receives it, one deletes it. At most: batches need fewer."""

Counts = Mapping[tuple[str, str, str, str], float]
"""(caller, service, operation, unit) → how many: as the meter counts."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is billed. `count` in its own unit, for all tasks together."""

    payer: str
    what: str
    count: float
    dollars: float

    @property
    def is_control_plane(self) -> bool:
        return self.payer in CONTROL_PLANE or self.what == LINES


@dataclass(frozen=True, slots=True)
class Operation:
    """How often one function called one operation of a service, for all tasks together."""

    payer: str
    service: str
    operation: str
    calls: float
    read_units: float
    write_units: float


@dataclass(frozen=True, slots=True)
class Bill:
    tasks: int
    lines: tuple[Line, ...]
    operations: tuple[Operation, ...]

    @property
    def control_plane_per_million(self) -> float:
        """Dollars for a million tasks."""
        return self._per_million(line for line in self.lines if line.is_control_plane)

    @property
    def work_per_million(self) -> float:
        return self._per_million(line for line in self.lines if not line.is_control_plane)

    def told(self) -> Iterator[str]:
        """The lines of a table."""
        for line in self.lines:
            each, dollars = line.count / self.tasks, line.dollars / self.tasks * 1e6
            yield f"{line.payer:16}{line.what:28}{each:>12.4g}{dollars:>10.2f} $ per million tasks"
        for one in self.operations:
            if one.calls:
                yield (
                    f"{one.payer:16}{f'{one.service} {one.operation}':36}{one.calls / self.tasks:>8.3g} calls"
                    f"{one.read_units / self.tasks:>8.3g} read units{one.write_units / self.tasks:>8.3g} write units"
                )

    def _per_million(self, lines: Iterable[Line]) -> float:
        return sum(line.dollars for line in lines) / self.tasks * 1e6


def load_prices(path: Path = PRICES) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def bill_for(
    tasks: int,
    counts: Counts,
    functions: Mapping[str, FunctionUse],
    prices: Mapping[str, Any],
    *,
    lambda_log_level: str = LAMBDA_LOG_LEVEL,
) -> Bill:
    """`counts` as the meter counts them, of the run alone; `functions` by their name within the stack.

    Calls of the API function, the deployment and the bench itself are left out: no task needs them.
    """
    lines = []
    for name, use in sorted(functions.items()):
        if name not in (*CONTROL_PLANE, *WORK) or not use.invocations:
            continue
        gb_seconds = use.seconds * use.memory_mb / 1024
        lines.append(Line(name, "Lambda invocations", use.invocations, use.invocations * prices["lambda"]["request"]))
        price = prices["lambda"][f"gb_second_{use.architecture}"]
        lines.append(Line(name, "Lambda GB-seconds", gb_seconds, gb_seconds * price))
        if lambda_log_level != "WARN":
            counts = {**counts, (f"gust-{name}", OWN_LINES, "of Lambda", "bytes"): use.invocations * LAMBDAS_LINES}
    for (payer, what), (count, dollars) in sorted(_calls(counts, prices).items()):
        lines.append(Line(payer, what, count, dollars))
    return Bill(tasks, tuple(lines), tuple(_operations(counts)))


def _operations(counts: Counts) -> Iterable[Operation]:
    for caller, service, operation in sorted({key[:3] for key in counts}):
        if short_name(caller) in (*CONTROL_PLANE, *WORK):
            calls, reads, writes = (
                counts.get((caller, service, operation, unit), 0) for unit in ("calls", "reads", "writes")
            )
            yield Operation(short_name(caller), service, operation, calls, reads, writes)


def _calls(counts: Counts, prices: Mapping[str, Any]) -> dict[tuple[str, str], tuple[float, float]]:
    """(payer, what) → how many of it and what they cost."""
    units: Counter[tuple[str, str]] = Counter()
    dollars: Counter[tuple[str, str]] = Counter()
    for (caller, service, operation, unit), number in counts.items():
        payer = short_name(caller)
        if payer not in (*CONTROL_PLANE, *WORK):
            continue
        for what, count, price in _billed(service, operation, unit, number, prices):
            units[payer, what] += count  # type: ignore[assignment]  # half units are counted too
            dollars[payer, what] += count * price  # type: ignore[assignment]
    return {key: (count, float(dollars[key])) for key, count in units.items()}


def _billed(
    service: str, operation: str, unit: str, number: float, prices: Mapping[str, Any]
) -> Iterable[tuple[str, float, float]]:
    match service, unit:
        case "dynamodb", "reads":
            yield "DynamoDB read units", number, prices["dynamodb"]["read_unit"]
        case "dynamodb", "writes":
            yield "DynamoDB write units", number, prices["dynamodb"]["write_unit"]
        case "sqs", "calls":
            yield "SQS requests", number, prices["sqs"]["request"]
        case "sqs", "messages":
            yield "SQS requests", number * _SQS_BY_LAMBDA, prices["sqs"]["request"]
        case "s3", "calls":
            kind = "get" if operation in ("GET", "HEAD") else "put"
            yield f"S3 {kind} requests", number, prices["s3"][kind]
        case "logs", "bytes":
            yield "GB of tasks' logs", number / 1e9, prices["logs"]["ingested_gb"]
        case "own lines", "bytes":
            yield LINES, number / 1e9, prices["logs"]["ingested_gb"]
        case "ssm", "calls":  # SSM's own requests cost nothing; each reads a key, which KMS decrypts
            yield "KMS requests", number, prices["kms"]["request"]


def short_name(caller: str) -> str:
    """`gust-execution-api` → `execution-api`: the name without the stack's."""
    return caller if caller == OUTSIDE else caller.partition("-")[2]
