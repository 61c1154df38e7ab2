"""What each function's cold start takes, from what `./gust deploy` uploads: `python -m benches.cold [--repeat 5] [--check]`.

Needs PYTHONPATH=shared:., Linux and root: each start is one of `tests/aws_like/sandbox.py`. Printed for each function: the
processor's seconds from the start of its environment until it asks for its first invocation (the median), its memory then,
and its size; then on paper how long that takes with a Lambda function's share of a processor, and what it costs. Processor
time, because other load of the machine changes it least. It is this machine's: Lambda's arm64 differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benches.cost import load_prices
from gust.cli import artifacts, layers
from gust.local.deployment import STACK_NAME
from tests.aws_like.artefacts import ROOT, Artefacts, what_this_machine_lacks
from tests.aws_like.sandbox import Function, Sandbox, what_this_machine_refuses

WHOLE_PROCESSOR: Final = 1769
"""Megabytes of a function that has one processor; with less it has a proportional share (AWS Lambda's developer guide)."""

MEMORIES: Final = (512, 1024, WHOLE_PROCESSOR)

TARGETS: Final = {"gust-api": 0.5, "gust-scheduler": 0.5, "gust-worker": 1.5}
"""Seconds of processor time."""

VALUES: Final = {
    "GUST_AUTH": "{}",
    "GUST_STORAGE": "512",
    "GUST_PARSERS": "8",
    "GUST_WORKER_MEMORY": "2048",
    "GUST_TASK_STORAGE": "512",
    "GUST_ENVIRONMENT_STORAGE": "512",
    "GUST_OIDC_ISSUER": "",
    "GUST_EVENT_BUS": "",
    "GUST_FARGATE_STATE_MACHINE": "",
    "AIRFLOW__API__BASE_URL": "https://gust.example.com",
    "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "False",
}
"""Environment variables that a function reads while it is imported. All others that the template computes are `x`."""


@dataclass(frozen=True, slots=True)
class Start:
    processor: float
    """Seconds."""
    memory: float
    """Megabytes: the proportional share of all its processes."""


@dataclass(frozen=True, slots=True)
class Line:
    function: str
    starts: tuple[Start, ...]
    size: float
    """Megabytes, unpacked, layers included."""
    megabytes: int
    """Of the function in the template."""

    @property
    def processor(self) -> float:
        return median(start.processor for start in self.starts)

    @property
    def memory(self) -> float:
        return median(start.memory for start in self.starts)

    def seconds(self, megabytes: int) -> float:
        """How long it takes in a function of this memory. Not less than its processor time: imports use one processor."""
        return self.processor * max(1.0, WHOLE_PROCESSOR / megabytes)

    def dollars(self, prices: Mapping[str, Any]) -> float:
        """Of one cold start. Lambda bills the start of an environment as it bills an invocation."""
        per_gb_second = float(prices["lambda"]["gb_second_arm64"])
        return self.seconds(self.megabytes) * self.megabytes / 1024 * per_gb_second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="starts of each function (default 5)")
    parser.add_argument("--only", nargs="*", help="functions, without the stack's name: api scheduler …")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    if lacking := what_this_machine_lacks() or what_this_machine_refuses():
        print(lacking)
        return 1
    artefacts = Artefacts()
    artefacts.build()
    found = list(measured(artefacts, repeat=options.repeat, only=options.only))
    print("\n".join(table(found, load_prices())))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    missed = [line.function for line in found if line.processor > TARGETS.get(line.function, 1e9)]
    print(f"missed: {', '.join(missed)}" if missed else "all targets met")
    return 1 if missed and options.check else 0


def measured(artefacts: Artefacts, *, repeat: int, only: Iterable[str] | None) -> Iterable[Line]:
    """In turns, because the machine's speed changes."""
    runtime = artefacts.runtime()
    wanted = {
        name: properties
        for properties in artefacts.functions().values()
        for name in [properties["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", STACK_NAME)]
        if only is None or name.removeprefix(f"{STACK_NAME}-") in only
    }
    starts: dict[str, list[Start]] = {name: [] for name in wanted}
    for _ in range(repeat):
        for name in wanted:
            starts[name].append(start(function(artefacts, name), runtime))
    for name, properties in sorted(wanted.items()):
        parts = [artefacts.package(properties), *artefacts.layers(properties)]
        size = sum(map(layers.size_of, parts)) / 2**20
        yield Line(name, tuple(starts[name]), size, function(artefacts, name).memory)


def start(one: Function, runtime: Path) -> Start:
    with tempfile.NamedTemporaryFile(prefix="gust-cold-", suffix=".log") as log:
        sandbox = Sandbox(one, runtime, endpoint="http://127.0.0.1:9", log=Path(log.name))
        try:
            shares = []
            for process in sandbox.processes():
                with suppress(OSError, AttributeError):
                    shares.append(process.memory_full_info().pss)
            return Start(sandbox.init_processor_seconds, sum(shares) / 2**20)
        finally:
            sandbox.end()


def function(artefacts: Artefacts, name: str) -> Function:
    """As the template makes it with the defaults of its parameters."""
    task, parts, handler = artefacts.function_called(name, STACK_NAME)
    template = artifacts.source_template(ROOT)
    properties = next(
        each
        for each in artefacts.functions().values()
        if each["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", STACK_NAME) == name
    )
    everywhere = template["Globals"]["Function"]
    variables = {
        **everywhere["Environment"]["Variables"],
        **properties.get("Environment", {}).get("Variables", {}),
    }
    return Function(
        name=name,
        handler=handler,
        task=task,
        opt=artefacts.opt(parts),
        memory=int(_value(template, properties.get("MemorySize", everywhere["MemorySize"]))),
        storage=512,
        timeout=60,
        environment={key: VALUES.get(key) or _value(template, value) for key, value in variables.items()},
    )


def _value(template: Mapping[str, Any], given: Any) -> str:
    """A literal, a parameter's default, or `x`."""
    if not isinstance(given, dict):
        return str(given)
    parameter = template["Parameters"].get(given.get("Ref"))
    default = None if parameter is None else parameter.get("Default")
    return "x" if default is None else str(default)


def table(lines: Iterable[Line], prices: Mapping[str, Any]) -> list[str]:
    """Markdown."""
    paper = " | ".join(f"{megabytes:,} MB" for megabytes in MEMORIES)
    rows = [
        f"| function | processor | target | memory | size | {paper} | a million cold starts |",
        "|---|---|---|---|---|" + "---|" * (len(MEMORIES) + 1),
    ]
    for line in lines:
        target = f"{TARGETS[line.function]:.1f} s" if line.function in TARGETS else ""
        seconds = " | ".join(f"{line.seconds(megabytes):.1f} s" for megabytes in MEMORIES)
        cost = f"${line.dollars(prices) * 1e6:.1f} at {line.megabytes:,} MB"
        name = line.function.removeprefix(f"{STACK_NAME}-")
        sizes = f"{line.memory:.0f} MB | {line.size:.0f} MB"
        rows.append(f"| {name} | {line.processor:.2f} s | {target} | {sizes} | {seconds} | {cost} |")
    return rows


if __name__ == "__main__":
    sys.exit(main())
