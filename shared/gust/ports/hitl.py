"""Questions of human-in-the-loop tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.keys import TaskInstanceKey
from gust.model.task_instance import TaskInstance


class HITLStore(Protocol):
    """Questions that tasks ask people. What moves an instance that awaits input writes the answer with it: `move`."""

    def put_hitl_detail(self, detail: HITLDetail, *, before: HITLDetail | None = None) -> None:
        """Store what a try asks; the same again is no error. `before` is the instance's last question: one of an earlier
        try stays in the history, one of the same try loses its answer."""

    def get_hitl_detail(self, key: TaskInstanceKey, *, until_try: int | None = None) -> HITLDetail | None:
        """The last question of the instance, or the last of its tries up to `until_try`."""

    def list_hitl_details(
        self, *, dag_id: str | None = None, run_id: str | None = None, answered: bool | None = None
    ) -> list[HITLDetail]:
        """The last question of each instance; across runs it may lag by a moment."""

    def walk_hitl_details(
        self, dag_id: str | None = None, *, answered: bool | None = None, ascending: bool = True
    ) -> Iterator[HITLDetail]:
        """As `list_hitl_details` of many runs, in order of `created_at`, read as far as they are asked for."""

    def count_hitl_details(self, dag_id: str | None = None, *, answered: bool | None = None, limit: int = 1000) -> int:
        """How many `walk_hitl_details` would read, counted no further than `most`. May lag by a moment."""

    def answer_hitl_detail(
        self, key: TaskInstanceKey, try_number: int, answer: HITLAnswer, *, seen: TaskInstance
    ) -> None:
        """Store the answer, if there is none and the instance still is where it was `seen`: nothing is resumed by it.
        Raises StaleHITLDetail, StaleTaskInstance."""
