"""DAGs that are there to be compared: each file of `tests/system/dags` is about one feature of Airflow's scheduling."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from tests.oracle.drive import ApiClient, Plan
from tests.oracle.server import ROOT

DAGS: Final = ROOT / "tests" / "system" / "dags"

WATCHED: Final = "watched"
"""The tag of a DAG without a schedule whose runs other DAGs make."""

BODIES: Final[dict[str, dict[str, Any]]] = {}
"""dag_id → what its trigger request says."""


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with ours."""
    shutil.copytree(DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def plan(client: ApiClient) -> Plan:
    """Trigger what has no schedule, watch what has one. Many at once: most of them wait for a second now and then."""
    rows = client.pages("/api/v2/dags", "dags")
    watched = {row["dag_id"] for row in rows if row["timetable_summary"] or WATCHED in tags_of(row)}
    return Plan(
        batches=(tuple(sorted(row["dag_id"] for row in rows if row["dag_id"] not in watched)),),
        bodies=BODIES,
        watched=tuple(sorted(watched)),
        with_facts=True,
        timeout=120,
        at_once=16,
    )


def tags_of(row: dict[str, Any]) -> set[str]:
    return {tag["name"] for tag in row["tags"]}
