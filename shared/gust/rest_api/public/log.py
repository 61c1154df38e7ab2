"""`…/taskInstances/{task_id}/logs/{try_number}`: the log of one try, also of a running one."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from pydantic import NonNegativeInt, PositiveInt

from gust.http.answer import Answer, Json, Problem, bad_request, not_found
from gust.http.check import Query
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.state import TaskInstanceState
from gust.rest_api.http.request import Request, encode, wire_size
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.shown_run import InstanceView, load_view
from gust.rest_api.public.task_instances import find_try
from gust.services.context import Services

LARGEST_PART: Final = 5_000_000
"""Bytes of log in one answer. A longer log continues with a continuation token."""

LINES_AT_ONCE: Final = 1024

NDJSON: Final = "application/x-ndjson"


class LogQuery(Query):
    full_content: bool = False
    map_index: int = UNMAPPED
    token: str | None = None


@operation("get_log")
def get_log(services: Services, request: Request) -> Json | Answer:
    """JSON with a list of lines, or one line of JSON each where `application/x-ndjson` is accepted.

    Both return all lines up to the limit of an answer, and a continuation token unless the try has ended and all lines
    were read; `full_content` changes nothing."""
    query = request.query(LogQuery)
    try_number = request.path_value("try_number", NonNegativeInt)
    content_type = request.accepted(alternative=NDJSON)
    position = _opened(query.token) if query.token else None
    view = _find(services, request, query.map_index, try_number)
    if try_number == 0:
        lines, following = _no_log(view), None
    else:
        try:
            lines, following = _read(services, view, position)
        except ValueError as error:
            if position is None:
                raise
            raise _bad_token() from error
        if following is None:
            lines += _ending(view)
    token = _sealed(following) if following else None
    if content_type == NDJSON:
        headers = {"Airflow-Continuation-Token": token} if token else {}
        text = "".join(encode({"timestamp": None} | line) + "\n" for line in lines)
        return Answer(body=text, content_type=NDJSON, headers=headers)
    return {"content": lines, "continuation_token": token}


@operation("get_external_log_url")
def get_external_log_url(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    """Refused: the API reads the logs itself, and there is no external page."""
    request.path_value("try_number", PositiveInt)
    raise bad_request("Task log handler does not support external logs.")


def _find(services: Services, request: Request, map_index: int, try_number: int) -> InstanceView:
    view = load_view(services, DagRunKey(request.path["dag_id"], request.path["dag_run_id"]))
    instance = view.instance(request.path["task_id"], map_index) if view else None
    found = find_try(services, instance, try_number) if instance else None
    if found is None:
        raise not_found("TaskInstance not found")
    return found


def _read(services: Services, view: InstanceView, token: str | None) -> tuple[list[Json], str | None]:
    """The lines that fit into one answer, and a token for the rest."""
    lines = [] if token else _sources(services.logs.where(view.instance))
    at_once, size = LINES_AT_ONCE, 0
    while True:
        read, following = services.logs.read_try(view.instance, limit=at_once, token=token)
        added = [_line(line) for line in read]
        size_added = sum(wire_size(encode(line)) for line in added)
        if size + size_added > LARGEST_PART:
            if size:
                return lines, token
            if at_once > 1:
                at_once //= 4
                continue
        lines += added
        size += size_added
        if following is None or len(read) < at_once:
            return lines, following
        token = following


def _line(line: dict[str, Any]) -> Json:
    """The line with an `event`, if only an empty one."""
    return {"event": ""} | line


def _sources(ways: list[str]) -> list[Json]:
    """Airflow's folded heading with the sources of the lines."""
    heading = ["::group::Log message source details", *ways, "::endgroup::"]
    return [{"event": event} for event in heading]


def _ending(view: InstanceView) -> list[Json]:
    """The reason of the try's end, if the task could not log it itself: e.g. its worker was lost."""
    instance = view.instance
    if not instance.reason:
        return []
    level = "error" if instance.state in (TaskInstanceState.FAILED, TaskInstanceState.UP_FOR_RETRY) else "info"
    return [{"timestamp": instance.end_date, "level": level, "logger": "gust", "event": instance.reason}]


def _no_log(view: InstanceView) -> list[Json]:
    match view.instance.state:
        case TaskInstanceState.SKIPPED:
            event = "Task was skipped — no logs available."
        case TaskInstanceState.UPSTREAM_FAILED:
            event = "Task did not run because upstream task(s) failed."
        case _:
            event = "No logs available for this task."
    line = {"timestamp": view.instance.end_date or view.run.queued_at, "event": event}
    return [*({"timestamp": None} | source for source in _sources([])), line]


def _sealed(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _opened(token: str) -> str:
    """The position in a token. It grants no access, so it is not signed. Problem 400."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_token() from error


def _bad_token() -> Problem:
    return bad_request("Bad Signature. Please use only the tokens provided by the API.")
