"""DAGs that are there to be compared: each file of `tests/system/dags` is about one feature of Airflow's scheduling."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from tests.oracle.drive import RUN_ID, ApiClient, Plan, Step
from tests.oracle.server import ROOT

DAGS: Final = ROOT / "tests" / "system" / "dags"

EXCLUDED: Final = {"EventsTimetable": "Airflow 3.3.2 cannot read back what it writes of one: an import error there"}
"""Feature → why it cannot be compared."""

WATCHED: Final = "watched"
"""The tag of a DAG whose runs other DAGs make."""

TRIGGERED: Final = "triggered"
"""The tag of a DAG with a schedule that is triggered all the same; runs that the schedule makes are not looked at."""

BODIES: Final[dict[str, dict[str, Any]]] = {
    "params_by_conf": {"conf": {"number": 7, "text": None, "choice": "y", "list": [], "surplus": True}},
    "refused_of_wrong_type": {"conf": {"number": "seven"}},
    "refused_too_large": {"conf": {"number": 11}},
    "refused_not_a_choice": {"conf": {"choice": "z"}},
}
"""dag_id → what its trigger request says."""


POOLS: Final = tuple(
    Step(method="POST", path="/api/v2/pools", body={"name": name, "slots": slots, "include_deferred": include_deferred})
    for name, slots, include_deferred in (
        ("narrow", 1, False),
        ("two_wide", 2, False),
        ("narrow_for_deferred", 1, True),
    )
)


def clear(*task_ids: Any, when: tuple[str, str] | None = None, after: float = 0.0, **how: Any) -> Step:
    """Airflow's own defaults are to do nothing and to clear what failed alone."""
    body = {"dry_run": False, "dag_run_id": RUN_ID, "only_failed": False, **how}
    if task_ids:
        body["task_ids"] = list(task_ids)
    return Step(method="POST", path="/clearTaskInstances", body=body, when=when, after=after)


def clear_run(**how: Any) -> Step:
    return Step(method="POST", path="{run}/clear", body={"dry_run": False, **how})


def mark(task: str, state: str, *, when: tuple[str, str] | None = None, **how: Any) -> Step:
    return Step(method="PATCH", path=f"{{run}}/taskInstances/{task}", body={"new_state": state, **how}, when=when)


def mark_run(state: str, *, when: tuple[str, str] | None = None) -> Step:
    return Step(method="PATCH", path="{run}", body={"state": state}, when=when)


def backfill(dag_id: str, **how: Any) -> Step:
    body = {"dag_id": dag_id, "from_date": "2025-01-01T00:00:00Z", "to_date": "2025-01-04T00:00:00Z", **how}
    return Step(method="POST", path="/api/v2/backfills", body=body)


SLEEPING: Final = ("sleeps_first", "running")
LEFT: Final = 8.0
"""Seconds after which Airflow has noticed that the worker of a task that waits is gone."""


def respond(*chosen: str, task: str = "ask/-1", when: str = "ask", **how: Any) -> Step:
    """A person's answer, once the task waits for it."""
    return Step(
        method="PATCH",
        path=f"{{run}}/taskInstances/{task}/hitlDetails",
        body={"chosen_options": list(chosen), **how},
        when=(when, "awaiting_input"),
        after=LEFT,
    )


def xcom(method: str, task: str, key: str, value: Any = None, *, map_index: int = -1) -> Step:
    """A person makes, changes or deletes an XCom."""
    entries = f"{{run}}/taskInstances/{task}/xcomEntries"
    if method == "POST":
        return Step(method=method, path=entries, body={"key": key, "value": value, "map_index": map_index})
    if method == "PATCH":
        return Step(method=method, path=f"{entries}/{key}", body={"value": value, "map_index": map_index})
    return Step(method=method, path=f"{entries}/{key}?map_index={map_index}", body={})


STEPS: Final[dict[str, tuple[Step, ...]]] = {
    "clear_what_failed": (clear(only_failed=True),),
    "clear_with_relatives": (
        clear("second", include_downstream=True),
        clear("second", include_upstream=True),
        clear("second"),
    ),
    "clear_with_retries_left": (clear("fails_thrice"),),
    "clear_one_mapped": (clear(["each", 1]), clear(["each", 2], include_downstream=True), clear("each")),
    "clear_length_2_to_4": (clear("numbers", include_downstream=True),),
    "clear_length_3_to_1": (clear("numbers", include_downstream=True),),
    "clear_length_2_to_0": (clear("numbers", include_downstream=True),),
    "clear_what_was_skipped": (clear("right", "stopped_too"), clear("left", "join"), clear("choose", "stop")),
    "clear_the_branch": (clear("choose", include_downstream=True), clear("join")),
    "clear_while_running": (clear("sleeps_first", when=SLEEPING),),
    "clear_the_run": (clear_run(),),
    "clear_what_failed_in_the_run": (clear_run(only_failed=True),),
    "clear_setup_and_teardown": (clear("fails_first"), clear("fails_first", include_downstream=True)),
    "mark_failed_as_success": (mark("fails_first", "success"),),
    "mark_success_as_failed": (mark("tried", "failed"),),
    "mark_with_downstream": (mark("fails_first", "success", include_downstream=True),),
    "mark_running_as_success": (mark("sleeps_first", "success", when=SLEEPING),),
    "mark_running_as_failed": (mark("sleeps_first", "failed", when=SLEEPING),),
    "mark_one_mapped": (mark("each/1", "success"),),
    "mark_run_as_success": (mark_run("success", when=SLEEPING),),
    "mark_run_as_failed": (mark_run("failed", when=SLEEPING),),
    "backfilled": (backfill("backfilled", dag_run_conf={"by": "request"}),),
    "backfilled_in_reverse": (backfill("backfilled_in_reverse", run_backwards=True, max_active_runs=1),),
    "asks_and_is_answered": (respond("a", "c", params_input={"how": "late", "often": 1}),),
    "asks_and_is_approved": (respond("Approve"),),
    "asks_and_is_rejected": (respond("Reject"),),
    "asks_and_is_rejected_for_all": (respond("Reject"),),
    "asks_which_way": (respond("r", "none"),),
    "asks_again_after_failing": (respond("Reject"), respond("Approve")),
    "asks_of_each": (respond("yes", task="ask/1", when="ask[1]"),),
    "asks_and_is_cleared": (
        clear("ask", when=("ask", "awaiting_input"), after=LEFT),
        respond("a"),
        clear("ask", include_downstream=True),
        respond("b"),
    ),
    "asks_and_is_marked": (mark("ask", "success", when=("ask", "awaiting_input")),),
    "keeps_what_a_person_stores": (
        Step(method="PUT", path="{run}/taskInstances/read/state-store/told", body={"value": {"by": "a person"}}),
        clear("read"),
    ),
    "edits_what_each_pushed": (
        xcom("DELETE", "each", "return_value", map_index=0),
        clear("again", "listed"),
        xcom("POST", "each", "return_value", 30, map_index=2),
        xcom("PATCH", "each", "return_value", 20, map_index=1),
        clear("again", "listed"),
    ),
    "edits_what_is_mapped_over": (xcom("PATCH", "numbers", "return_value", [4, 5, 6]), clear("again")),
    "edits_the_branch": (
        xcom("PATCH", "choose", "skipmixin_key", {"followed": ["right"]}),
        clear("left", "right"),
        xcom("DELETE", "choose", "skipmixin_key"),
        clear("left", "right"),
    ),
    **{
        dag_id: (backfill(dag_id, reprocess_behavior=behavior),)
        for behavior in ("none", "failed", "completed")
        for dag_id in [f"backfilled_reprocessing_{behavior}"]
    },
}
"""dag_id → what is done to its run."""

MAKES_RUNS: Final = "triggers"
"""How the ids begin of DAGs that make runs of others."""

LONG: Final = (
    "asks",
    "clear",
    "def",
    "ends_of_",
    "look",
    "mapped_def",
    "mark",
    "resch",
    "rules_that_",
    "starts_",
    "triggers",
)
"""How the ids begin of DAGs that take longest, mostly by waiting: these are begun first."""

REFUSED: Final = "refused_"
"""How the ids begin of DAGs whose trigger request is refused."""


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with ours."""
    shutil.copytree(DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def surroundings(dags: Path) -> AbstractContextManager[dict[str, str]]:
    """Airflow's triggerer finds triggers of the DAG folder's own on Python's path alone."""
    return nullcontext({"PYTHONPATH": str(dags.resolve())})


def plan(client: ApiClient, *, at_once: int = 10) -> Plan:
    """Trigger what has no schedule, and let be what has one."""
    rows = client.pages("/api/v2/dags", "dags")
    dag_ids = sorted((row["dag_id"] for row in rows), key=lambda dag_id: (not dag_id.startswith(LONG), dag_id))
    targets = tuple(sorted(row["dag_id"] for row in rows if WATCHED in tags_of(row)))
    return Plan(
        batches=(tuple(dag_id for dag_id in dag_ids if dag_id not in targets),),
        bodies=BODIES,
        opening=POOLS,
        steps=STEPS,
        refused=frozenset(dag_id for dag_id in dag_ids if dag_id.startswith(REFUSED)),
        scheduled=frozenset(row["dag_id"] for row in rows if is_scheduled(row)),
        targets=targets,
        once=frozenset(dag_id for dag_id in dag_ids if dag_id.startswith(MAKES_RUNS)),
        with_facts=True,
        timeout=600,
        at_once=at_once,
    )


def is_scheduled(row: dict[str, Any]) -> bool:
    return row["timetable_summary"] is not None and TRIGGERED not in tags_of(row)


def tags_of(row: dict[str, Any]) -> set[str]:
    return {tag["name"] for tag in row["tags"]}
