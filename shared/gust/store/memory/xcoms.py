"""XComs, in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from gust.errors import (
    AlreadyExists,
    StaleTaskInstance,
)
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.xcom import XCom
from gust.store.memory.state import atomic
from gust.store.memory.task_instances import MemoryTaskInstances


class MemoryXComs(MemoryTaskInstances):
    """Implements `ports.XComStore`."""

    @atomic
    def put_xcom(self, xcom: XCom) -> None:
        self._check_is_no_later_push(xcom.key, xcom.name, xcom.dispatch_count)
        if xcom.mapped_length is not None or xcom.skip_decision is not None:
            self._note_push(xcom)
        self._xcoms[xcom.key, xcom.name] = (replace(xcom, value=None, skip_decision=None), json.dumps(xcom.value))

    @atomic
    def create_xcom(self, xcom: XCom) -> None:
        if (xcom.key, xcom.name) in self._xcoms:
            raise AlreadyExists(f"{xcom.key} has an XCom {xcom.name!r} already")
        self._xcoms[xcom.key, xcom.name] = (replace(xcom, value=None, skip_decision=None), json.dumps(xcom.value))

    @atomic
    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        noted = self.get_instance(key)
        if noted is None:
            return
        if is_pushed is not None:
            pushed = {*noted.pushed_keys, name} if is_pushed else {*noted.pushed_keys} - {name}
            noted = replace(noted, pushed_keys=tuple(sorted(pushed)))
        if skip_decision is not None:
            noted = replace(noted, skip_decision=skip_decision)
        self._set_instance(noted)

    @atomic
    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None:
        found = self._xcoms.get((key, name))
        return None if found is None else _with_value(*found)

    @atomic
    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        return [
            _with_value(*found)
            for (key, its_name), found in sorted(self._xcoms.items(), key=lambda entry: entry[0])
            if key.run == run
            and task_id in (None, key.task_id)
            and map_index in (None, key.map_index)
            and name in (None, its_name)
        ]

    @atomic
    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        if name is not None:
            self._check_is_no_later_push(key, name, dispatch_count)
        for found in [k for k in self._xcoms if k[0] == key and name in (None, k[1])]:
            del self._xcoms[found]

    def _check_is_no_later_push(self, key: TaskInstanceKey, name: str, dispatch_count: int | None) -> None:
        found = self._xcoms.get((key, name))
        if found and dispatch_count is not None and (found[0].dispatch_count or 0) > dispatch_count:
            raise StaleTaskInstance(f"{key}: a later dispatch has pushed {name!r}", None)

    def _note_push(self, xcom: XCom) -> None:
        noted = self._current(xcom.key)
        is_other = xcom.dispatch_count not in (None, noted.dispatch_count)
        if noted.state is not TaskInstanceState.RUNNING or is_other:
            raise StaleTaskInstance(f"put_xcom: {xcom.key} is not running", self.get_instance(xcom.key))
        if xcom.mapped_length is not None:
            noted = replace(
                noted,
                xcom_lengths={**noted.xcom_lengths, xcom.name: xcom.mapped_length},
                pushed_keys=tuple(sorted({*noted.pushed_keys, xcom.name})),
            )
        if xcom.skip_decision is not None:
            noted = replace(noted, skip_decision=xcom.skip_decision)
        self._set_instance(noted)


def _with_value(xcom: XCom, value: str) -> XCom:
    return replace(xcom, value=json.loads(value))
