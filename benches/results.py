"""Results of the bench by commit: a file each in the folder `benches/results`, and their table.

    ./gust bench --keep | --history

A result has the commit, the date, the machine, and the figures of both sides. Machines and hours differ, so a figure
is worth something beside others of its own file alone, and the table shows ratios.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = Path(__file__).parent / "results"


def keep(figures: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write a result of this commit; one of the same commit and minute is replaced."""
    now = datetime.now(tz=UTC)
    made = {"commit": commit(), "date": now.isoformat(timespec="seconds"), "machine": machine(), **figures}
    folder.mkdir(exist_ok=True)
    file = folder / f"{now:%Y-%m-%dT%H%M}-{made['commit'][:8]}.json"
    file.write_text(json.dumps(made, indent=1) + "\n")
    return file


def kept(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All results, the oldest first."""
    return sorted((json.loads(file.read_text()) for file in folder.glob("*.json")), key=lambda one: str(one["date"]))


def last(part: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """The newest result that has this part."""
    return next((one for one in reversed(kept(folder)) if one.get(part)), None)


def commit() -> str:
    """Of the checkout; with a `+` if it has changes that are not committed, and empty outside of git."""
    try:
        name = _git("rev-parse", "HEAD")
        return name + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    answer = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
    return answer.stdout.strip()


def machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


COLUMNS: Final = (
    ("chain", ("ratios", "chain_gap")),
    ("fan-out", ("ratios", "fan_out")),
    ("mesh", ("ratios", "mesh")),
    ("$ a million", ("dollars",)),
    ("short: chain", ("short", "chain", "ratio")),
    ("fan-out", ("short", "fan_out", "ratio")),
    ("mesh", ("short", "mesh", "ratio")),
)


def table(folder: Path = FOLDER) -> str:
    """A line for each result. Ratios to Airflow: more is better; of the short bench to its reference: less is."""
    lines = ["commit    date              cores  load" + "".join(f"{title:>14}" for title, _ in COLUMNS)]
    for one in kept(folder):
        its = one["machine"]
        cells = "".join(f"{_shown(one, path):>14}" for _, path in COLUMNS)
        lines.append(f"{one['commit'][:8]:10}{one['date'][:16]}{its['cores']:>7}{its['load']:>6}{cells}")
    return "\n".join(lines)


def _shown(one: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value: Any = one
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return "" if value is None else f"{value:.2f}"
