"""XComs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.xcom import XCom


class XComStore(Protocol):
    """XCom values of any size up to 50 MB; large ones go to the bucket, unseen by the caller."""

    def put_xcom(self, xcom: XCom) -> None:
        """Store or replace; raises StaleTaskInstance where a later dispatch than `xcom.dispatch_count` pushed the name. Also
        notes the name in the instance's `pushed_keys`/`xcom_lengths` where `xcom.mapped_length` is given, and
        `xcom.skip_decision` in its own; raises StaleTaskInstance then, and stores nothing, unless the instance runs this
        dispatch. Raises Invalid where the value is larger than 50 MB."""

    def create_xcom(self, xcom: XCom) -> None:
        """Store it, and note nothing. Raises AlreadyExists where there is one, Invalid where it is larger than 50 MB."""

    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        """What the scheduler must know of what a person does to an XCom: whether the name is among the instance's
        `pushed_keys`, and whom it skips; `None`: as before. Whatever state the instance is in; one without an item
        notes nothing. The scheduler looks at the run again."""

    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None: ...

    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        """In order of task_id, map_index, name."""

    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        """Delete one, or all of the instance. Deleting what is not there is no error. Raises StaleTaskInstance where
        `dispatch_count` asks for one that a later dispatch pushed."""
