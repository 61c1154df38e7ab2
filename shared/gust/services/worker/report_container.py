"""A container has ended: fail the try of its dispatch, unless the supervisor reported the end of the try."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from gust.errors import Conflict, NotFound
from gust.model.container_start import container_name
from gust.model.dispatch import Dispatch
from gust.model.keys import TaskInstanceKey
from gust.model.place import NO_GUST, NOT_ITS_TASK
from gust.services.context import Services
from gust.services.worker.report_task_instance import report_lost


def report_container(services: Services, report: Mapping[str, Any], *, at: datetime) -> None:
    """`told` is the report of the state machine fargate_task: `dispatch`, and `ended` (the ECS task as it stopped) or
    `error`. Fails the try, by its own retry rules, if its end was not reported. A repeated report, or one of a dispatch
    that is over, changes nothing."""
    dispatch = report["dispatch"]
    key = TaskInstanceKey(dispatch["dag_id"], dispatch["run_id"], dispatch["task_id"], dispatch["map_index"])
    task = _ecs_task(report)
    if _exit_code(task) == NOT_ITS_TASK:
        return
    instance = services.store.get_instance(key)
    if instance is None or container_name(instance) != dispatch["name"]:
        return
    with suppress(Conflict, NotFound):  # it has ended meanwhile
        report_lost(services, Dispatch.of(instance), at=at, reason=why_gone(report, task))


def why_gone(report: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """The reason of the container's end, for the try's log."""
    stopped = str(task.get("StoppedReason") or "")
    container = _container(task)
    detail = str(container.get("Reason") or "")
    code = _exit_code(task)
    match task.get("StopCode"):
        case "TaskFailedToStart":
            return f"Fargate could not start the container: {stopped or detail}"
        case "SpotInterruption" | "TerminationNotice":
            return f"AWS took the container back: {stopped or 'a Spot interruption'}"
        case _ if "OutOfMemory" in detail:
            return f"The container ran out of memory and was ended (exit code {code}). Give the task more memory."
        case _ if code == NO_GUST:
            return (
                "The container could not fetch Gust's layers from Lambda, and it is too late for another one. Its own log "
                "says why: often no way to Lambda, or a permissions boundary without lambda:GetLayerVersion."
            )
        case _ if not task and "error" in report:
            error = report["error"]
            return f"Fargate could not run the container: {error.get('Error')}: {error.get('Cause')}"
    ended = ", ".join(filter(None, (f"exit code {code}" if code is not None else "", stopped, detail)))
    return f"The container ended without reporting the end of its try ({ended or 'AWS gives no reason'})."


def _ecs_task(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ECS task as DescribeTasks gives it; empty if ECS never made one."""
    if isinstance(ended := report.get("ended"), dict):
        return ended
    with suppress(ValueError, TypeError, KeyError):
        cause = json.loads(report["error"]["Cause"])
        return cause if isinstance(cause, dict) else {}
    return {}


def _container(task: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(iter(task.get("Containers") or ()), {})


def _exit_code(task: Mapping[str, Any]) -> int | None:
    code = _container(task).get("ExitCode")
    return None if code is None else int(code)
