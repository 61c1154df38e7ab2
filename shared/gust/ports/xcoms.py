"""XComs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.xcom import XCom


class XComStore(Protocol):
    """XCom values of any size up to 50 MB; large ones go to the bucket, unseen by the caller."""

    def put_xcom(self, xcom: XCom) -> None:
        """Store or replace; raises StaleTaskInstance if a later dispatch than `xcom.dispatch_count` pushed the name.
        With `xcom.mapped_length` it also notes the name in the instance's `pushed_keys`/`xcom_lengths`, and with
        `xcom.skip_decision` the decision; then it raises StaleTaskInstance, and stores nothing, unless the instance
        runs this dispatch. Raises Invalid for a value larger than 50 MB."""

    def create_xcom(self, xcom: XCom) -> None:
        """Store it, without a note on the instance. Raises AlreadyExists, and Invalid for a value larger than 50 MB."""

    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        """Note a person's edit of an XCom on the instance: whether the name is among its `pushed_keys`, and which tasks it
        skips; `None`: unchanged. In any state of the instance; without an item it does nothing. The scheduler looks at the
        run again."""

    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None: ...

    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        """In order of task_id, map_index, name."""

    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        """Delete one XCom, or all of the instance. Deleting a missing one is no error. Raises StaleTaskInstance if a later
        dispatch than `dispatch_count` pushed it."""
