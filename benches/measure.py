"""Run the shapes on a server that speaks REST API v2 and read its own clock: the task instances' start and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median, quantiles
from typing import Any, Final

from benches.shapes import SHAPES, WARM_UP, Shape
from tests.oracle.drive import ApiClient, await_dags, run_path

RUN_TIMEOUT: Final = 600.0
POLL_EVERY: Final = 1.0
"""Seconds between polls of a running run: seldom, because each poll takes time of the measured machine."""


@dataclass(frozen=True, slots=True)
class Span:
    """When one task instance ran."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one shape. Seconds."""

    gaps: tuple[float, ...]
    """From the end of a task's last upstream to its own start, for each task that has upstreams."""
    duration: float
    """From the first task's start to the last one's end."""
    tasks: int

    @property
    def tasks_per_second(self) -> float:
        return self.tasks / self.duration


@dataclass(frozen=True, slots=True)
class Figures:
    """All samples of one shape on one server."""

    samples: tuple[Sample, ...]

    @property
    def gap_median(self) -> float:
        return median(self._gaps)

    @property
    def gap_p95(self) -> float:
        return quantiles(self._gaps, n=20)[-1]

    @property
    def tasks_per_second(self) -> float:
        """Tasks per second of the median run."""
        return median(sample.tasks_per_second for sample in self.samples)

    @property
    def _gaps(self) -> list[float]:
        return [gap for sample in self.samples for gap in sample.gaps]


def run_shapes(url: str, *, repeat: int, say: Callable[[str], None]) -> dict[str, Figures]:
    """Every shape `repeat` times, one run at a time, after one run that warms everything up; figures by dag_id."""
    client = ApiClient(url)
    try:
        await_dags(client, [WARM_UP, *(shape.dag_id for shape in SHAPES)])
        for dag_id in (WARM_UP, *(shape.dag_id for shape in SHAPES)):
            client.call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})
        run_once(client, WARM_UP, "warm_up")
        figures = {}
        for shape in SHAPES:
            samples = []
            for number in range(repeat):
                samples.append(sample_of(shape, run_once(client, shape.dag_id, f"bench_{number}")))
                say(f"{shape.title}: {samples[-1].tasks_per_second:.1f} tasks/s")
            figures[shape.dag_id] = Figures(tuple(samples))
        return figures
    finally:
        client.close()


def run_once(client: ApiClient, dag_id: str, run_id: str, *, poll_every: float = POLL_EVERY) -> dict[str, Span]:
    """Trigger a run and wait for its success; when each of its tasks ran."""
    client.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body={"dag_run_id": run_id, "logical_date": None})
    deadline = time.monotonic() + RUN_TIMEOUT
    while (state := client.call("GET", run_path(dag_id, run_id))["state"]) in ("queued", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{dag_id} was still {state} after {RUN_TIMEOUT:.0f} s")
        time.sleep(poll_every)
    if state != "success":
        raise RuntimeError(f"{dag_id} ended {state}")
    rows = client.pages(f"{run_path(dag_id, run_id)}/taskInstances", "task_instances")
    return {row["task_id"]: _span(row) for row in rows}


def sample_of(shape: Shape, spans: Mapping[str, Span]) -> Sample:
    if spans.keys() != shape.upstream.keys():
        raise RuntimeError(f"{shape.dag_id} ran other tasks than expected: {sorted(spans)}")
    gaps = [
        (spans[task_id].start - _last_end(upstream, spans)).total_seconds()
        for task_id, upstream in shape.upstream.items()
        if upstream
    ]
    first, last = min(span.start for span in spans.values()), max(span.end for span in spans.values())
    return Sample(tuple(gaps), (last - first).total_seconds(), len(spans))


def _last_end(task_ids: Sequence[str], spans: Mapping[str, Span]) -> datetime:
    return max(spans[task_id].end for task_id in task_ids)


def _span(row: Mapping[str, Any]) -> Span:
    return Span(datetime.fromisoformat(row["start_date"]), datetime.fromisoformat(row["end_date"]))
