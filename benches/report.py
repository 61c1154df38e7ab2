"""The bench's table, its JSON, and the targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from benches import container, unpack
from benches.cost import Bill
from benches.measure import Figures
from benches.shapes import CHAIN, FAN_OUT, MESH, SHAPES
from benches.unpack import Unpacking

GAP_RATIO: Final = 8.0
"""How many times shorter than Airflow's the time from a task's end to the next one's start must be, on the chain:
there no task ever waits for another one's processor."""

THROUGHPUT_RATIO: Final = 3.0
"""How many times Airflow's tasks per second Gust must reach where tasks run side by side."""

DOLLARS_PER_MILLION: Final = 12.0
"""For the control plane, over all shapes together."""


@dataclass(frozen=True, slots=True)
class Results:
    gust: dict[str, Figures]
    airflow: dict[str, Figures]
    bills: dict[str, Bill]
    """By dag_id; `total` has all of them together."""
    starts: dict[str, list[float]] = field(default_factory=dict)
    """`on_lambda`, `on_fargate` → seconds from message to start of a task that does nothing."""
    unpacking: Unpacking | None = None
    short: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of `benches.short`."""


@dataclass(frozen=True, slots=True)
class Target:
    title: str
    wanted: str
    got: str
    met: bool


def targets(results: Results) -> Iterator[Target]:
    """The targets that were measured."""
    if found := ratios(results):
        ratio = found["chain_gap"]
        yield Target("chain: gap shorter", f"≥ {GAP_RATIO:.0f}×", f"{ratio:.1f}×", ratio >= GAP_RATIO)
        for shape, name in ((FAN_OUT, "fan_out"), (MESH, "mesh")):
            title = f"{shape.title}: more tasks per second"
            ratio = found[name]
            yield Target(title, f"≥ {THROUGHPUT_RATIO:.0f}×", f"{ratio:.1f}×", ratio >= THROUGHPUT_RATIO)
    if bill := results.bills.get("total"):
        dollars = bill.control_plane_per_million
        met = dollars <= DOLLARS_PER_MILLION
        yield Target("control plane per million tasks", f"≤ ${DOLLARS_PER_MILLION:.0f}", f"${dollars:.2f}", met)


def ratios(results: Results) -> dict[str, float]:
    """How many times shorter Gust's gap on the chain is than Airflow's, and how many times more tasks it runs in a second.
    Empty unless both sides were measured."""
    if not (results.gust and results.airflow):
        return {}
    gap = results.airflow[CHAIN.dag_id].gap_median / results.gust[CHAIN.dag_id].gap_median
    speeds = {
        name: results.gust[shape.dag_id].tasks_per_second / results.airflow[shape.dag_id].tasks_per_second
        for shape, name in ((FAN_OUT, "fan_out"), (MESH, "mesh"))
    }
    return {"chain_gap": gap, **speeds}


def figures_to_keep(results: Results) -> dict[str, Any]:
    """What `benches.results` writes: the figures of both sides, and their ratios, which its table shows."""
    total = results.bills.get("total")
    return {
        "gust": _figures_json(results.gust),
        "airflow": _figures_json(results.airflow),
        "ratios": {name: round(ratio, 2) for name, ratio in ratios(results).items()},
        "dollars": round(total.control_plane_per_million, 2) if total else None,
        "short": results.short,
    }


def table(results: Results) -> str:
    lines = [f"{'':20}{'':10}{'gap median':>12}{'gap p95':>12}{'tasks/s':>10}"]
    for shape in SHAPES:
        for name, figures in (("Gust", results.gust), ("Airflow", results.airflow)):
            if one := figures.get(shape.dag_id):
                lines.append(
                    f"{shape.title:20}{name:10}{one.gap_median * 1000:>9.0f} ms{one.gap_p95 * 1000:>9.0f} ms"
                    f"{one.tasks_per_second:>10.1f}"
                )
    titles = {shape.dag_id: shape.title for shape in SHAPES}
    for dag_id, bill in results.bills.items():
        lines += ["", f"AWS per task, {titles.get(dag_id, 'all shapes together')} ({bill.tasks} tasks)"]
        lines += [f"  {line}" for line in bill.told()]
        lines.append(f"  control plane {bill.control_plane_per_million:.2f} $, work {bill.work_per_million:.2f} $")
    if results.starts:
        lines += ["", "Start of a task", *(f"  {container.row(*start)}" for start in results.starts.items())]
    if results.unpacking:
        lines += ["", "An environment of packages", f"  {unpack.row(results.unpacking)}"]
    lines.append("")
    for target in targets(results):
        lines.append(f"{'met   ' if target.met else 'MISSED'}  {target.title}: {target.got} (wanted {target.wanted})")
    return "\n".join(lines)


def as_json(results: Results) -> dict[str, Any]:
    return {
        "gust": _figures_json(results.gust),
        "airflow": _figures_json(results.airflow),
        "cost": {dag_id: _bill_json(bill) for dag_id, bill in results.bills.items()},
        "starts_s": results.starts,
        "unpacking": asdict(results.unpacking) if results.unpacking else None,
        "targets": [
            {"title": target.title, "wanted": target.wanted, "got": target.got, "met": target.met}
            for target in targets(results)
        ],
    }


def _figures_json(figures: Mapping[str, Figures]) -> dict[str, Any]:
    return {
        dag_id: {
            "gap_median_s": round(one.gap_median, 4),
            "gap_p95_s": round(one.gap_p95, 4),
            "tasks_per_second": round(one.tasks_per_second, 2),
            "runs": len(one.samples),
        }
        for dag_id, one in figures.items()
    }


def _bill_json(bill: Bill) -> dict[str, Any]:
    return {
        "tasks": bill.tasks,
        "control_plane_dollars_per_million_tasks": round(bill.control_plane_per_million, 3),
        "work_dollars_per_million_tasks": round(bill.work_per_million, 3),
        "operations": [
            {
                "payer": one.payer,
                "operation": f"{one.service} {one.operation}",
                "calls_per_task": one.calls / bill.tasks,
                "read_units_per_task": one.read_units / bill.tasks,
                "write_units_per_task": one.write_units / bill.tasks,
            }
            for one in bill.operations
        ],
        "lines": [
            {
                "payer": line.payer,
                "what": line.what,
                "per_task": line.count / bill.tasks,
                "dollars_per_million_tasks": line.dollars / bill.tasks * 1e6,
            }
            for line in bill.lines
        ],
    }
