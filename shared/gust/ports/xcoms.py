"""XComs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.xcom import XCom


class XComStore(Protocol):
    """XCom values up to 50 MB. The store keeps large values in the bucket; callers do not notice."""

    def put_xcom(self, xcom: XCom) -> None:
<<<<<<< HEAD
        """Store or replace. Raises StaleTaskInstance if a later dispatch than `xcom.dispatch_count` pushed this key, Invalid
        if the value is larger than 50 MB.

        With `mapped_length`, also note the key in the instance's `pushed_keys` and `xcom_lengths`; with `skip_decision`,
        note that in the instance. Both need the instance to run this dispatch: otherwise nothing is stored and
        StaleTaskInstance is raised."""

    def create_xcom(self, xcom: XCom) -> None:
        """Store, and note nothing in the instance. Raises AlreadyExists if the key is taken, Invalid if the value is larger
        than 50 MB."""
=======
        """Store or replace; raises StaleTaskInstance if a later dispatch than `xcom.dispatch_count` pushed the name.
        With `xcom.mapped_length` it also notes the name in the instance's `pushed_keys`/`xcom_lengths`, and with
        `xcom.skip_decision` the decision; then it raises StaleTaskInstance, and stores nothing, unless the instance
        runs this dispatch. Raises Invalid for a value larger than 50 MB."""

    def create_xcom(self, xcom: XCom) -> None:
        """Store it, without a note on the instance. Raises AlreadyExists, and Invalid for a value larger than 50 MB."""
>>>>>>> w-words

    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
<<<<<<< HEAD
        """Tell the scheduler about an API user's change of an XCom, in whatever state the instance is: whether the key is
        among its `pushed_keys`, and its skip decision. `None` leaves the stored value. The scheduler then looks at the run.
        An instance without an item notes nothing."""
=======
        """Note a person's edit of an XCom on the instance: whether the name is among its `pushed_keys`, and which tasks it
        skips; `None`: unchanged. In any state of the instance; without an item it does nothing. The scheduler looks at the
        run again."""
>>>>>>> w-words

    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None:
        """`None` if there is no such XCom."""

    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        """The run's XComs of this task, map index and key, where given; in order of task_id, map_index, key."""

    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
<<<<<<< HEAD
        """Delete one XCom of the instance, or (`name` is `None`) all. Deleting nothing is no error. Raises StaleTaskInstance
        if a later dispatch than `dispatch_count` pushed it."""
=======
        """Delete one XCom, or all of the instance. Deleting a missing one is no error. Raises StaleTaskInstance if a later
        dispatch than `dispatch_count` pushed it."""
>>>>>>> w-words
