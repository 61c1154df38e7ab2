"""Where the processor time of a task goes, by the process that spends it: `python -m benches.processor [--repeat 3]`.

The local stack runs the fan-out and the mesh; before and after, the kernel is asked what each of its processes has used
(`/proc`, so on Linux only). What a worker has started is counted apart from the supervisor: the nursery, the preparers, and
the children, which run the tasks.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benches.__main__ import the_stack
from benches.imports import title
from benches.measure import run_once, sample_of
from benches.shapes import FAN_OUT, MESH, SHAPES, WARM_UP
from tests.oracle.drive import ApiClient, await_dags

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of a core."""

    user: float = 0.0
    system: float = 0.0
    user_of_children: float = 0.0
    system_of_children: float = 0.0

    def __add__(self, other: Used) -> Used:
        return Used(*(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    def __sub__(self, other: Used) -> Used:
        return Used(*(a - b for a, b in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[float, float, float, float]:
        return self.user, self.system, self.user_of_children, self.system_of_children


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each shape (default 3)")
    options = parser.parse_args()
    with the_stack() as stack:
        client = ApiClient(stack.url)
        await_dags(client, [WARM_UP, *(shape.dag_id for shape in SHAPES)])
        for dag_id in (WARM_UP, FAN_OUT.dag_id, MESH.dag_id):
            client.call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})
            run_once(client, dag_id, "warm_up")
        for shape in (FAN_OUT, MESH):
            before = processes()
            runs = [run_once(client, shape.dag_id, f"processor_{number}") for number in range(options.repeat)]
            used = by_name(before, processes())
            speed = max(sample_of(shape, run).tasks_per_second for run in runs)
            print(f"{shape.title}: {speed:.1f} tasks/s")
            print(table(used, tasks=options.repeat * shape.size))
        client.close()


def processes() -> dict[tuple[str, int, int], Used]:
    """Of the stack's processes, by their name, pid and parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                name = _name(folder)
                if name is not None:
                    # After the name in parentheses, which may hold anything: state, parent, … (man 5 proc)
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    times = (int(ticks) / _TICKS for ticks in fields[11:15])
                    found[name, int(folder.name), int(fields[1])] = Used(*times)
    return found


def _name(folder: Path) -> str | None:
    shown = title(folder)
    if "gust.local.emulator" in shown:
        return "emulator"
    return shown if shown.startswith("gust-") else None


def by_name(before: Mapping[tuple[str, int, int], Used], after: Mapping[tuple[str, int, int], Used]) -> dict[str, Used]:
    """What was used meanwhile. A process that ends hands its time on to its parent, so the sums can be compared. That of a
    function that started meanwhile counts from its start."""
    ended, begun = _sums(after), _sums(before)
    return {name: total - begun.get(name, Used()) for name, total in ended.items()}


def _sums(processes: Mapping[tuple[str, int, int], Used]) -> dict[str, Used]:
    sums: dict[str, Used] = {}
    pids = {(name, pid) for name, pid, _ in processes}
    for (name, _, parent), own in processes.items():
        spent = own
        if (name, parent) in pids:  # a nursery, a preparer, a child
            user, system, user_of_children, system_of_children = own.parts
            spent = Used(0.0, 0.0, user + user_of_children, system + system_of_children)
        sums[name] = sums.get(name, Used()) + spent
    return sums


def table(used: Mapping[str, Used], *, tasks: int) -> str:
    lines = [f"  {'ms of a core per task':28}{'user':>8}{'system':>8}{'children: user':>16}{'system':>8}{'all':>8}"]
    for name, spent in sorted(used.items(), key=lambda entry: -sum(entry[1].parts)):
        user, system, of_children, system_of_children = (seconds / tasks * 1000 for seconds in spent.parts)
        all_of_it = sum(spent.parts) / tasks * 1000
        lines.append(f"  {name:28}{user:8.1f}{system:8.1f}{of_children:16.1f}{system_of_children:8.1f}{all_of_it:8.1f}")
    total = sum(sum(spent.parts) for spent in used.values()) / tasks * 1000
    return "\n".join([*lines, f"  {'':60}{total:16.1f}"])


if __name__ == "__main__":
    main()
