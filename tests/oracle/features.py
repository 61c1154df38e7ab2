"""DAGs that are there to be compared: each file of `tests/system/dags` is about one feature of Airflow's scheduling."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from tests.oracle.drive import ApiClient, Plan
from tests.oracle.server import ROOT

DAGS: Final = ROOT / "tests" / "system" / "dags"

EXCLUDED: Final = {"EventsTimetable": "Airflow 3.3.2 cannot read back what it writes of one: an import error there"}
"""Feature → why it cannot be compared."""

WATCHED: Final = "watched"
"""The tag of a DAG without a schedule whose runs other DAGs make."""

TRIGGERED: Final = "triggered"
"""The tag of a DAG with a schedule that is triggered all the same; runs that the schedule makes are not looked at."""

BODIES: Final[dict[str, dict[str, Any]]] = {
    "params_by_conf": {"conf": {"number": 7, "text": None, "choice": "y", "list": [], "surplus": True}},
    "refused_of_wrong_type": {"conf": {"number": "seven"}},
    "refused_too_large": {"conf": {"number": 11}},
    "refused_not_a_choice": {"conf": {"choice": "z"}},
}
"""dag_id → what its trigger request says."""

REFUSED: Final = "refused_"
"""How the ids begin of DAGs whose trigger request is refused."""


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with ours."""
    shutil.copytree(DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def surroundings(dags: Path) -> AbstractContextManager[dict[str, str]]:
    """Airflow's triggerer finds triggers of the DAG folder's own on Python's path alone."""
    return nullcontext({"PYTHONPATH": str(dags.resolve())})


def plan(client: ApiClient) -> Plan:
    """Trigger what has no schedule, watch what has one. Many at once: most of them wait for a second now and then."""
    rows = client.pages("/api/v2/dags", "dags")
    watched = {row["dag_id"] for row in rows if is_watched(row)}
    return Plan(
        batches=(tuple(sorted(row["dag_id"] for row in rows if row["dag_id"] not in watched)),),
        bodies=BODIES,
        refused=frozenset(row["dag_id"] for row in rows if row["dag_id"].startswith(REFUSED)),
        watched=tuple(sorted(watched)),
        with_facts=True,
        timeout=120,
        at_once=16,
    )


def is_watched(row: dict[str, Any]) -> bool:
    return WATCHED in tags_of(row) or (row["timetable_summary"] is not None and TRIGGERED not in tags_of(row))


def tags_of(row: dict[str, Any]) -> set[str]:
    return {tag["name"] for tag in row["tags"]}
