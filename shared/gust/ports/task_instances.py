"""Task instances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.task_instance import TaskInstance
from gust.scheduling.run_view import InstanceId
from gust.scheduling.transition import Transition


class TaskInstanceStore(Protocol):
    """Task instances, their finished tries and their rendered fields."""

    def get_instance(self, key: TaskInstanceKey) -> TaskInstance | None: ...

    def get_instances(self, keys: Sequence[TaskInstanceKey]) -> list[TaskInstance]:
        """Those that exist, in the order of the keys."""

    def get_instance_and_run(self, key: TaskInstanceKey) -> tuple[TaskInstance | None, DagRun | None]:
        """Both in one call; each as it was at some moment of it."""

    def get_run_and_instances(
        self, key: DagRunKey, instances: Sequence[InstanceId]
    ) -> tuple[DagRun | None, dict[InstanceId, TaskInstance]]:
        """In one call, each as it was at some moment of it. Instances without an item are left out."""

    def move(self, transition: Transition) -> None:
        """Write the fields in which `after` differs from `before`, if the stored (state, try_number, dispatch_count)
        are `before`'s, or nothing is stored where `before` is new (state None, try 0).

        Where `transition.keeps_try` is set, the try that ends is kept in the history in the same transaction;
        `transition.callback` is stored in it too.
        Repeating a move that already happened is no error: where the stored item equals `after` in those three fields
        and in (hostname, pid) the call returns. The worker counts: of two that were given the same message and both
        ask to start, one is stale. Slots that the instance holds afterwards and did not before, or the other way round,
        are counted in the same transaction; whoever moves it need not have seen which. Raises StaleTaskInstance, and
        StaleHITLDetail where `transition.hitl` wants an unanswered question and it is not."""

    def move_all(self, transitions: Sequence[Transition]) -> list[Transition]:
        """`move` each; returns those that were stale. The others are done."""

    def heartbeat(self, key: TaskInstanceKey, *, try_number: int, dispatch_count: int, at: datetime) -> None:
        """Note that the worker lives. Raises StaleTaskInstance unless the instance is running this dispatch."""

    def list_tries(self, key: TaskInstanceKey) -> list[TaskInstance]:
        """Finished tries before the current one, oldest first."""

    def tries_of_run(self, key: DagRunKey) -> dict[tuple[str, int], list[TaskInstance]]:
        """The same of all instances of the run that have any, by task id and map index, with one query."""

    def delete_history(self, key: TaskInstanceKey) -> None:
        """Delete an instance's finished tries, XComs and rendered fields."""

    def put_rendered_fields(self, key: TaskInstanceKey, fields: Mapping[str, Any], *, dispatch_count: int) -> None:
        """Store or replace. Raises StaleTaskInstance where those of a later dispatch are stored."""

    def get_rendered_fields(self, key: TaskInstanceKey) -> dict[str, Any] | None: ...

    def get_many_rendered_fields(self, keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, dict[str, Any]]:
        """Those that there are."""

    def list_rendered_fields(self, key: DagRunKey) -> dict[tuple[str, int], dict[str, Any]]:
        """Of all instances of a run that have some, by (task_id, map_index): one read instead of many."""
