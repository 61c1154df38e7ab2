"""Entries of calls in the event log, as Airflow's `action_logging` makes them.

The entry is written before the call is handled, whether it succeeds or not, and holds the parameters without secrets. A
call that cannot be logged is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs

from gust.http.answer import Json
from gust.model.json_text import half_character
from gust.model.logged_event import LoggedEvent
from gust.model.user import User
from gust.rest_api.http.body_fields import FIELDS
from gust.rest_api.http.masking import MASK, redact
from gust.rest_api.http.request import Request
from gust.services.context import Services

EVENTS: Final[dict[str, str]] = {
    operation_id: operation_id
    for operation_id in (
        *("create_asset_event", "materialize_asset", "delete_asset_queued_events"),
        *("delete_dag_asset_queued_events", "delete_dag_asset_queued_event"),
        *("create_backfill", "pause_backfill", "unpause_backfill", "cancel_backfill"),
        *("post_connection", "patch_connection", "delete_connection", "bulk_connections"),
        *("enqueue_connection_test", "create_default_connections"),
        *("trigger_dag_run", "patch_dag_run", "delete_dag_run", "bulk_dag_runs"),
        *("clear_dag_run", "clear_dag_runs", "clear_dag_run_partitions"),
        *("patch_dag", "patch_dags", "delete_dag", "favorite_dag", "unfavorite_dag", "reparse_dag_file"),
        *("post_pool", "patch_pool", "delete_pool", "bulk_pools"),
        *("patch_task_instance", "patch_task_group_instances", "post_clear_task_instances"),
        *("get_task_instances_batch", "update_hitl_detail"),
        *("post_variable", "patch_variable", "delete_variable", "bulk_variables"),
        *("create_xcom_entry", "update_xcom_entry", "delete_xcom_entry"),
        "generate_token",  # the web UI's own
    )
} | {"patch_task_instance_by_map_index": "patch_task_instance"}
"""Operation → event. A test compares with Airflow's routes."""

DRY_RUNS: Final = {"clear_dag_run", "post_clear_task_instances"}
"""Not logged for a dry run, which is their default."""

SAID_ELSEWHERE: Final = {
    *("csrf_token", "_csrf_token", "is_paused", "dag_id", "task_id", "dag_run_id", "run_id", "logical_date"),
}
"""Parameters that have fields of their own in the entry, or carry no information."""

ABSENT: Final = object()

LONGEST_ID: Final = 250
"""Characters, as in Airflow's columns. No item has a longer id."""
LONGEST_EXTRA: Final = 200_000
"""Characters. A longer value, e.g. a run's conf, is left out, and the entry says so."""

NOT_JSON: Final = "Encountered non-JSON in `extra` field"
NOT_AN_OBJECT: Final = "Expected JSON object in `extra` field, got non-dict JSON"


def log_action(services: Services, operation_id: str, request: Request, method: str) -> None:
    """Writes the entry of a call; does nothing for calls that Airflow does not log."""
    event = EVENTS.get(operation_id)
    if event is None:
        return
    try:
        body = _body(request)
    except ValueError:  # refused before the user is known
        return
    if not request.is_text or half_character(request.raw_body, body):  # refused too, and no key can hold it
        return
    if isinstance(body, dict) and event in DRY_RUNS and body.get("dry_run", True):
        return
    if (fields := FIELDS.get(operation_id)) is not None:
        body = _with_values_of(fields, body)
    services.store.log_event(_entry(event, request, method, body))


SIGN_IN: Final = "login"
REFUSAL: Final = "refused"


def log_sign_in(services: Services, request: Request, user: User) -> None:
    """Logs a sign-in: the user, the address, and whether it was a signature or a browser."""
    how: Json = {"path": request.event.get("rawPath"), "ip": _address(request.event)}
    services.store.log_event(
        LoggedEvent(
            when=request.now, event=SIGN_IN, owner=user.name, owner_display_name=user.name, extra=json.dumps(how)
        )
    )


class Refusals:
    """Logs refusals: the first at once, then at most one entry per minute and process with their number, so that a
    flood of wrong tokens does not fill the table."""

    EVERY: Final = timedelta(minutes=1)

    def __init__(self) -> None:
        self._count = 0
        self._quiet_until: datetime | None = None

    def note(self, services: Services, event: Mapping[str, Any], operation_id: str, refusal: Json, user: User) -> None:
        now = services.clock.now()
        self._count += 1
        if self._quiet_until is not None and now < self._quiet_until:
            return
        since, self._count, self._quiet_until = self._count, 0, now + self.EVERY
        extra: Json = {**refusal, "operation": operation_id, "ip": _address(event), "refusals": since}
        name = user.name or None
        services.store.log_event(
            LoggedEvent(when=now, event=REFUSAL, owner=name, owner_display_name=name, extra=json.dumps(extra))
        )


def _address(event: Mapping[str, Any]) -> str | None:
    address: str | None = event.get("requestContext", {}).get("http", {}).get("sourceIp")
    return address


def _with_values_of(fields: frozenset[str], body: Any) -> Any:
    """The body with the values of known fields only: an unknown field is refused, but its value may be a password under
    a misspelled name."""
    match body:
        case dict():
            return {
                name: MASK
                if name not in fields
                else _with_values_of(fields, value)
                if isinstance(value, list)
                else value
                for name, value in body.items()
            }
        case list():
            return [_with_values_of(fields, one) if isinstance(one, dict) else one for one in body]
    return body


def _body(request: Request) -> Any:
    """The JSON body; `ABSENT` without one."""
    if not request.is_json or not request.raw_body:
        return ABSENT
    return json.loads(request.raw_body)


def _entry(event: str, request: Request, method: str, body: Any) -> LoggedEvent:
    fields: Json = body if isinstance(body, dict) else {}
    query = {name: values[-1] for name, values in parse_qs(request.query_string, keep_blank_values=True).items()}
    parameters: Json = {**query, **request.path}
    masked = {name: redact(value, name) for name, value in fields.items()}
    extra: Json = {name: redact(value, name) for name, value in parameters.items() if name not in SAID_ELSEWHERE}
    if "variable" in event:
        extra = _each_entity(extra if body is ABSENT else fields, _variable)
    elif "connection" in event:
        extra = _each_entity(extra if body is ABSENT else fields, _connection)
    else:
        extra |= masked
    named: Json = {**parameters, **masked}
    if "is_paused" in named:
        extra["is_paused"] = named["is_paused"]
    return LoggedEvent(
        when=request.now,
        event=event,
        owner=request.user.name,
        owner_display_name=request.user.name,
        extra=_text(extra, method),
        dag_id=_id(named.get("dag_id")),
        task_id=_id(named.get("task_id")),
        run_id=_id(named.get("run_id") or named.get("dag_run_id")),
        logical_date=_moment(query.get("logical_date")),
    )


def _text(extra: Json, method: str) -> str:
    text = json.dumps({**extra, "method": method})
    if len(text) <= LONGEST_EXTRA:
        return text
    return json.dumps({"method": method, "left_out": f"{len(text)} characters are more than the event log keeps"})


def _id(value: Any) -> str | None:
    return value.encode(errors="replace").decode()[:LONGEST_ID] if isinstance(value, str) else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- what must not be kept --------------------------------------------------------------------------------------------


def _each_entity(extra: Json, mask: Callable[[Json], Json]) -> Json:
    """Masks the body of one entity, or each entity in the actions of a bulk request."""
    if not isinstance(actions := extra.get("actions"), list):
        return mask(extra)
    return {**extra, "actions": [_in_action(action, mask) for action in actions]}


def _in_action(action: Any, mask: Callable[[Json], Json]) -> Any:
    match action:
        case {"entities": list() as entities}:
            return {**action, "entities": [mask(one) if isinstance(one, dict) else one for one in entities]}
        case _:
            return action


def _variable(entity: Json) -> Json:
    """Masks the value under any name: readers of the log may have no right to read variables."""
    return {name: MASK if name in ("val", "value") else value for name, value in entity.items()}


def _connection(entity: Json) -> Json:
    return {
        name: _names_in(value) if name == "extra" and value else redact(value, name) for name, value in entity.items()
    }


def _names_in(extra: Any) -> Json | str:
    """The names in `extra` without their values."""
    try:
        given = json.loads(extra)
    except (ValueError, TypeError):
        return NOT_JSON
    return dict.fromkeys(given, MASK) if isinstance(given, dict) else NOT_AN_OBJECT
