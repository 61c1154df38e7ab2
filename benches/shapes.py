"""The measured DAGs: which task waits for which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DAGS: Final = Path(__file__).parent / "dags"
WARM_UP: Final = "bench_warm_up"


@dataclass(frozen=True, slots=True)
class Shape:
    title: str
    dag_id: str
    upstream: dict[str, tuple[str, ...]]
    """task_id → the tasks it waits for; every task of the DAG is a key."""

    @property
    def size(self) -> int:
        return len(self.upstream)


def _chain(length: int) -> dict[str, tuple[str, ...]]:
    names = [f"task_{i:02}" for i in range(length)]
    return {name: tuple(names[i - 1 : i]) if i else () for i, name in enumerate(names)}


def fan_out(width: int) -> dict[str, tuple[str, ...]]:
    return {"root": (), **{f"task_{i:02}": ("root",) for i in range(width)}}


def mesh(layers: int, width: int) -> dict[str, tuple[str, ...]]:
    above = {layer: tuple(f"task_{layer - 1}_{i}" for i in range(width)) if layer else () for layer in range(layers)}
    return {f"task_{layer}_{i}": above[layer] for layer in range(layers) for i in range(width)}


CHAIN: Final = Shape("30-task chain", "bench_chain", _chain(30))
FAN_OUT: Final = Shape("100-wide fan-out", "bench_fan_out", fan_out(100))
MESH: Final = Shape("5×8 mesh", "bench_mesh", mesh(5, 8))
SHAPES: Final = (CHAIN, FAN_OUT, MESH)
