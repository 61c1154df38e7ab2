"""Sends announcements to the stack's bus, with what a reader needs to find the run, the task and its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from gust.model.announcement import TAG, Announcement, Kind
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.state import DagRunState, TaskInstanceState
from gust.services.context import Services

REMEMBERED_FOR: Final = timedelta(seconds=30)
"""How long a process remembers a DAG's tags."""

MOST_FAILED_TASKS: Final = 10
"""Named in the event of a failed run."""


class Told(StrEnum):
    """What the stack tells; the values of the parameter `TellEvents`."""

    NONE = "None"
    TAGGED = "Tagged"
    ALL = "All"


@dataclass(slots=True)
class Announcer:
    services: Services
    told: Told
    alerts: bool
    """Whether people are told of failed runs, whatever else is told."""
    stack: str
    base_url: str
    _tags: dict[str, tuple[datetime, tuple[str, ...]]] = field(default_factory=dict)

    def announce(self, announcements: Iterable[Announcement]) -> int:
        """Send those that the stack tells, in their order; returns how many. Raises ServiceUnavailable if EventBridge
        refused one: the others may have been sent, and will be again."""
        chosen = [self._complete(each) for each in announcements if self._is_told(each)]
        self.services.event_bus.tell(chosen)
        return len(chosen)

    def _is_told(self, each: Announcement) -> bool:
        if self.alerts and is_failed_run(each):
            return True
        match self.told:
            case Told.ALL:
                return True
            case Told.TAGGED:
                return each.dag_id is None or TAG in self._tags_of(each.dag_id)
            case Told.NONE:
                return False

    def _complete(self, each: Announcement) -> Announcement:
        detail: dict[str, Any] = {"event_id": each.event_id, "stack": self.stack, **each.detail}
        if each.dag_id is None:
            return replace(each, detail=detail)
        run = DagRunKey(each.dag_id, detail["run_id"])
        detail |= {"tags": list(self._tags_of(each.dag_id)), "url": self._url(run)}
        if "task_id" in detail:
            detail["log_url"] = self._log_url(run, detail["task_id"], detail["map_index"], detail["try_number"])
        elif is_failed_run(each):
            failed = self._failed_tasks(run)
            detail |= {"failed_tasks": failed, "log_url": failed[0]["log_url"] if failed else detail["url"]}
        return replace(each, detail=detail)

    def _failed_tasks(self, run: DagRunKey) -> list[dict[str, Any]]:
        """The first ones to fail, which others failed for."""
        state = self.services.store.load_run(run)
        instances = state.instances.values() if state else ()
        failed = [one for one in instances if one.state is TaskInstanceState.FAILED and one.end_date is not None]
        return [
            {
                "task_id": one.task_id,
                "map_index": one.map_index,
                "try_number": one.try_number,
                "log_url": self._log_url(run, one.task_id, one.map_index, one.try_number),
            }
            for one in sorted(failed, key=lambda one: (one.end_date, one.task_id, one.map_index))[:MOST_FAILED_TASKS]
        ]

    def _tags_of(self, dag_id: str) -> tuple[str, ...]:
        now = self.services.clock.now()
        if dag_id not in self._tags or self._tags[dag_id][0] + REMEMBERED_FOR < now:
            dag = self.services.store.get_dag(dag_id)
            self._tags[dag_id] = (now, dag.tags if dag else ())
        return self._tags[dag_id][1]

    def _url(self, run: DagRunKey) -> str:
        return f"{self.base_url}/dags/{quote(run.dag_id, safe='')}/runs/{quote(run.run_id, safe='')}"

    def _log_url(self, run: DagRunKey, task_id: str, map_index: int, try_number: int) -> str:
        mapped = "" if map_index == UNMAPPED else f"/mapped/{map_index}"
        tried = f"?try_number={try_number}" if try_number else ""
        return f"{self._url(run)}/tasks/{quote(task_id, safe='')}{mapped}{tried}"


def is_failed_run(each: Announcement) -> bool:
    return each.kind is Kind.DAG_RUN and each.detail["state"] == DagRunState.FAILED
