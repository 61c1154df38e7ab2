"""Identities of a DagRun, a task instance and one try of it."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

UNMAPPED: Final = -1
"""`map_index` of an instance that is not mapped (and of a mapped task that is not expanded yet)."""

TASK_INSTANCE_NAMESPACE: Final = UUID("7f1a9d52-3c0b-5e58-9f5e-2f0d6a3f7c11")


@dataclass(frozen=True, slots=True, order=True)
class DagRunKey:
    dag_id: str
    run_id: str

    def task_instance(self, task_id: str, map_index: int = UNMAPPED) -> "TaskInstanceKey":
        return TaskInstanceKey(self.dag_id, self.run_id, task_id, map_index)


@dataclass(frozen=True, slots=True)
class OfInstance:
    """The fields that name a task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = UNMAPPED

    @property
    def key(self) -> "TaskInstanceKey":
        return TaskInstanceKey(self.dag_id, self.run_id, self.task_id, self.map_index)


@dataclass(frozen=True, slots=True, order=True)
class TaskInstanceKey(OfInstance):
    @property
    def run(self) -> DagRunKey:
        return DagRunKey(self.dag_id, self.run_id)

    def uuid(self, try_number: int) -> UUID:
        """Airflow's `id` of one try. Derived, so that it need not be stored and every party computes the same one."""
        return uuid5(
            TASK_INSTANCE_NAMESPACE,
            "\x1f".join((self.dag_id, self.run_id, self.task_id, str(self.map_index), str(try_number))),
        )
