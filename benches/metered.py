"""Runs on a metered local stack: what each shape costs."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from benches.cost import Bill, FunctionUse, bill_for, load_prices, short_name
from benches.measure import run_once
from benches.meter import REPORT
from benches.shapes import SHAPES, WARM_UP
from gust.local.stack import LocalStack
from tests.oracle.drive import ApiClient, await_dags

_SETTLE: Final = 3.0
"""Seconds after a run's end until what it set in motion is over, too."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted since the stack's start."""

    counts: dict[tuple[str, str, str, str], float]
    functions: dict[str, FunctionUse]

    def since(self, before: Reading) -> Reading:
        counts = {key: number - before.counts.get(key, 0) for key, number in self.counts.items()}
        functions = {}
        for name, use in self.functions.items():
            old = before.functions.get(name)
            functions[name] = FunctionUse(
                use.invocations - (old.invocations if old else 0),
                use.seconds - (old.seconds if old else 0),
                use.memory_mb,
                use.architecture,
            )
        return Reading({key: number for key, number in counts.items() if number}, functions)


def price_shapes(stack: LocalStack, *, say: Callable[[str], None]) -> dict[str, Bill]:
    """The bill of one run of each shape on a warm stack, by dag_id, and of all together as `total`."""
    client = ApiClient(stack.url)
    prices = load_prices()
    bills: dict[str, Bill] = {}
    try:
        await_dags(client, [WARM_UP, *(shape.dag_id for shape in SHAPES)])
        for dag_id in (WARM_UP, *(shape.dag_id for shape in SHAPES)):
            client.call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})
        run_once(client, WARM_UP, "warm_up")
        before = first = _settled(stack)
        for shape in SHAPES:
            run_once(client, shape.dag_id, "metered", poll_every=2.0)
            after = _settled(stack)
            used = after.since(before)
            bills[shape.dag_id] = bill_for(shape.size, used.counts, used.functions, prices)
            say(f"{shape.title}: ${bills[shape.dag_id].control_plane_per_million:.2f} per million tasks")
            before = after
        used = before.since(first)
        tasks = sum(shape.size for shape in SHAPES)
        return {**bills, "total": bill_for(tasks, used.counts, used.functions, prices)}
    finally:
        client.close()


def _settled(stack: LocalStack) -> Reading:
    time.sleep(_SETTLE)
    with urllib.request.urlopen(stack.endpoint + REPORT) as answer:  # noqa: S310  # the emulator's own address
        rows = json.load(answer)
    return Reading(
        {(caller, service, operation, unit): number for caller, service, operation, unit, number in rows},
        dict(_functions(stack.client("lambda"), stack.client("cloudwatch"))),
    )


def _functions(functions: Any, metrics: Any) -> Iterable[tuple[str, FunctionUse]]:
    for page in functions.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            name = function["FunctionName"]
            yield (
                short_name(name),
                FunctionUse(
                    _sum(metrics, name, "Invocations"),
                    _sum(metrics, name, "Duration") / 1000,
                    function["MemorySize"],
                    function.get("Architectures", ["x86_64"])[0],
                ),
            )


def _sum(metrics: Any, function: str, metric: str) -> float:
    """Since the stack's start, which is less than a day ago."""
    now = datetime.now(UTC)
    answer: Mapping[str, Any] = metrics.get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - timedelta(days=1),
        EndTime=now + timedelta(minutes=1),
        Period=86_400,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))
