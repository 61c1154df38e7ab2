"""Turns records of the table's stream into announcements: a write that changes a state is the event. The stream's filter is
`Transitions` in `template.yaml`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gust.model.announcement import LONGEST_TEXT, Announcement, Kind, event_id_of
from gust.model.callback import CallbackKind, CallbackState
from gust.store import items, keyspace
from gust.store.items import Item
from gust.store.keyspace import Key

_RUN: Final = ("run_type", "logical_date", "run_after", "start_date", "end_date", "version_number", "reason")
_INSTANCE: Final = ("try_number", "max_tries", "operator", "start_date", "end_date", "due_at", "reason")


def announcement_in(record: Mapping[str, Any]) -> Announcement | None:
    """The transition that the record has; `None` if it has none (a heartbeat, a note, a deleted run).

    Raises ValueError, LookupError or TypeError for a record that no table of ours has."""
    change = record["dynamodb"]
    key = Key(change["Keys"]["pk"]["S"], change["Keys"]["sk"]["S"])
    found = _read(key, change.get("OldImage") or {}, change.get("NewImage") or {})
    if found is None:
        return None
    kind, detail = found
    at = datetime.fromtimestamp(float(change["ApproximateCreationDateTime"]), UTC)
    return Announcement(event_id=event_id_of(record["eventID"]), kind=kind, at=at, detail=detail)


def _read(key: Key, old: Item, new: Item) -> tuple[Kind, dict[str, Any]] | None:
    if key.pk == keyspace.IMPORT_PROBLEMS:
        return _import_error(old, new)
    if (run := keyspace.run_key(key.pk)) is None or not new:
        return None
    of_run = {"dag_id": run.dag_id, "run_id": run.run_id}
    if key == keyspace.run(run):
        return _moved(Kind.DAG_RUN, old, new, of_run, _RUN)
    if (instance := keyspace.instance_key(key)) is not None:
        of_instance = of_run | {"task_id": instance.task_id, "map_index": instance.map_index}
        return _moved(Kind.TASK_INSTANCE, old, new, of_instance, _INSTANCE)
    if keyspace.callback_id(key) is not None:
        return _deadline(old, new, of_run)
    if (question := keyspace.hitl_detail_of(key)) is not None:
        asking, try_number = question
        of_try = {"task_id": asking.task_id, "map_index": asking.map_index, "try_number": try_number}
        return _required_action(old, new, of_run | of_try)
    return None


def _moved(
    kind: Kind, old: Item, new: Item, about: dict[str, Any], fields: tuple[str, ...]
) -> tuple[Kind, dict[str, Any]] | None:
    before, after = _text(old, "state"), _text(new, "state")
    if before == after:
        return None
    return kind, about | {"state": after, "previous_state": before} | {name: _plain(new, name) for name in fields}


def _deadline(old: Item, new: Item, about: dict[str, Any]) -> tuple[Kind, dict[str, Any]] | None:
    is_missed = _text(old, "state") == CallbackState.SCHEDULED and _text(new, "state") == CallbackState.PENDING
    if _text(new, "kind") != CallbackKind.DEADLINE or not is_missed:
        return None
    return Kind.DEADLINE, about | {"name": _plain(new, "name"), "deadline": _plain(new, "due_at")}


def _required_action(old: Item, new: Item, about: dict[str, Any]) -> tuple[Kind, dict[str, Any]] | None:
    if "responded_at" in new and "responded_at" not in old:
        state = "answered"
    elif not old or ("responded_at" in old and "responded_at" not in new):
        state = "asked"
    else:
        return None
    asked = json.loads(new["value"]["S"]) if "value" in new else {}
    return Kind.REQUIRED_ACTION, about | {
        "state": state,
        "subject": asked.get("subject"),
        "options": asked.get("options"),
    }


def _import_error(old: Item, new: Item) -> tuple[Kind, dict[str, Any]] | None:
    if old and new and old["stack_trace"] == new["stack_trace"]:
        return None
    state = "resolved" if not new else "changed" if old else "new"
    problem = items.IMPORT_PROBLEM.read(new or old)
    return Kind.IMPORT_ERROR, {
        "state": state,
        "filename": problem.filename,
        "bundle_name": problem.bundle_name,
        "stack_trace": problem.stack_trace[-LONGEST_TEXT:],
    }


def _text(item: Item, name: str) -> str | None:
    return item[name]["S"] if name in item else None


def _plain(item: Item, name: str) -> Any:
    """Text, or a whole number; `None` for an absent attribute. (A number whose default it has is absent, too.)"""
    if name not in item:
        return 0 if name in {"try_number", "max_tries"} else None
    ((kind, value),) = item[name].items()
    return int(value) if kind == "N" else value[:LONGEST_TEXT] if isinstance(value, str) else value
