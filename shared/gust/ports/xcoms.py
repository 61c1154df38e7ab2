"""XComs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.xcom import XCom


class XComStore(Protocol):
    """XCom values up to 50 MB. The store keeps large values in the bucket; callers do not notice."""

    def put_xcom(self, xcom: XCom) -> None:
        """Store or replace. Raises StaleTaskInstance if a later dispatch than `xcom.dispatch_count` pushed this key, Invalid
        if the value is larger than 50 MB.

        With `mapped_length`, also note the key in the instance's `pushed_keys` and `xcom_lengths`; with `skip_decision`,
        note that in the instance. Both need the instance to run this dispatch: otherwise nothing is stored and
        StaleTaskInstance is raised."""

    def create_xcom(self, xcom: XCom) -> None:
        """Store, and note nothing in the instance. Raises AlreadyExists if the key is taken, Invalid if the value is larger
        than 50 MB."""

    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        """Tell the scheduler about an API user's change of an XCom, in whatever state the instance is: whether the key is
        among its `pushed_keys`, and its skip decision. `None` leaves the stored value. The scheduler then looks at the run.
        An instance without an item notes nothing."""

    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None:
        """`None` if there is no such XCom."""

    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        """The run's XComs of this task, map index and key, where given; in order of task_id, map_index, key."""

    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        """Delete one XCom of the instance, or (`name` is `None`) all. Deleting nothing is no error. Raises StaleTaskInstance
        if a later dispatch than `dispatch_count` pushed it."""
