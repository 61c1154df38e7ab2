"""Runs each shape on a metered local stack, and prices it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benches.cost import Bill, bill_for, load_prices, short_name
from benches.measure import run_once
from benches.meter import OUTSIDE, REPORT, FunctionUse
from benches.shapes import SHAPES, WARM_UP
from gust.local.stack import LocalStack
from tests.oracle.drive import ApiClient, await_dags

_SETTLE: Final = 3.0
"""Seconds after a run's end until its last messages are processed, too."""


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
        if not any(service == "dynamodb" and caller != OUTSIDE for caller, service, *_ in used.counts):
            raise RuntimeError("The meter saw no function call DynamoDB: it does not know them by their names")
        tasks = sum(shape.size for shape in SHAPES)
        return {**bills, "total": bill_for(tasks, used.counts, used.functions, prices)}
    finally:
        client.close()


def _settled(stack: LocalStack) -> Reading:
    time.sleep(_SETTLE)
    with urllib.request.urlopen(stack.endpoint + REPORT) as answer:  # noqa: S310  # the emulator's own address
        report = json.load(answer)
    return Reading(
        {(caller, service, operation, unit): number for caller, service, operation, unit, number in report["calls"]},
        {short_name(name): FunctionUse(**use) for name, use in report["functions"].items()},
    )
