"""Task instances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.task_instance import TaskInstance
from gust.ports.limits import DagAndPools
from gust.scheduling.run_view import InstanceId
from gust.scheduling.transition import Transition

RunAndInstances = tuple[DagRun | None, dict[InstanceId, TaskInstance]]


class TaskInstanceStore(Protocol):
    """Task instances, their finished tries and their rendered fields. An instance that never left state `None` has no
    item."""

    def get_instance(self, key: TaskInstanceKey) -> TaskInstance | None:
        """`None` if the instance has no item."""

    def get_instances(self, keys: Sequence[TaskInstanceKey]) -> list[TaskInstance]:
        """The instances that have an item, in key order."""

    def get_instance_and_run(self, key: TaskInstanceKey) -> tuple[TaskInstance | None, DagRun | None]:
        """The instance and its run in one call, without a transaction: each as it was at some moment of the call."""

    def get_run_and_instances(self, key: DagRunKey, instances: Sequence[InstanceId]) -> RunAndInstances:
        """The run and these instances in one call, without a transaction: each as it was at some moment of the call.
        Instances without an item are left out."""

    def get_dag_and_run(
        self, key: DagRunKey, *, pools: Collection[str], instances: Sequence[InstanceId]
    ) -> tuple[DagAndPools, RunAndInstances]:
        """What `get_dag_and_pools` and `get_run_and_instances` return, in one call."""

    def move(self, transition: Transition) -> None:
        """Write the fields in which `after` differs from `before`. In the same transaction: keep the finished try if
        `transition.keeps_try`, store `transition.callback`, write the answer of `transition.hitl`, and count the slots that
        the instance takes or frees.

        Raises StaleTaskInstance, with the stored instance, unless the stored (state, try_number, dispatch_count,
        blocked_by_limit) are `before`'s, or nothing is stored and `before` is new (state `None`, try 0). If only the slots
        that it holds differ from `before`'s, the store counts what it really holds and writes the move.

        Repeating a move changes nothing if the stored item equals `after` in those fields and in (scheduled_at, hostname,
        pid): of two workers that received the same message, the second is stale. Raises StaleHITLDetail if `transition.hitl`
        needs an unanswered question and there is none."""

    def move_unread(self, transition: Transition) -> TaskInstance | None:
        """Write the move of an instance that the caller has not read, and return the stored instance. `before` has what the
        fence and the move need: the state, try, dispatch, limit and `scheduled_at`, and the fields that the move changes,
        which are not the slots. `None`, with nothing written, unless the former are the stored ones; so also where the
        move is repeated."""

    def move_all(self, transitions: Sequence[Transition]) -> list[Transition]:
        """`move` each; returns the transitions that were stale. All others are written."""

    def heartbeat(self, key: TaskInstanceKey, *, try_number: int, dispatch_count: int, at: datetime) -> None:
        """Set `heartbeat_at`. Raises StaleTaskInstance unless the instance is running this dispatch."""

    def list_tries(self, key: TaskInstanceKey) -> list[TaskInstance]:
        """The instance's finished tries before the current one, oldest first."""

    def tries_of_run(self, key: DagRunKey) -> dict[tuple[str, int], list[TaskInstance]]:
        """(task_id, map_index) → `list_tries`, for the instances that have finished tries. One query for the whole run."""

    def delete_history(self, key: TaskInstanceKey) -> None:
        """Delete the instance's finished tries, XComs, questions and rendered fields. Repeating it changes nothing."""

    def put_rendered_fields(self, key: TaskInstanceKey, fields: Mapping[str, Any], *, dispatch_count: int) -> None:
        """Store or replace the rendered fields. Raises StaleTaskInstance if a later dispatch has stored its own."""

    def get_rendered_fields(self, key: TaskInstanceKey) -> dict[str, Any] | None:
        """The fields that the last dispatch with any has stored, with a report of its end (`TaskInstance.rendered_fields`)
        or by `put_rendered_fields`; of the same dispatch, those of the latter. `None` if no dispatch has stored any."""

    def get_many_rendered_fields(self, keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, dict[str, Any]]:
        """Rendered fields of each key that has any; other keys are left out."""

    def list_rendered_fields(self, key: DagRunKey) -> dict[tuple[str, int], dict[str, Any]]:
        """(task_id, map_index) → rendered fields, for the instances that have any. One query for the whole run."""
