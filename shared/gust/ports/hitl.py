"""Questions of human-in-the-loop tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.history_query import ALL_QUESTIONS, HITLQuery
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.keys import TaskInstanceKey
from gust.model.task_instance import TaskInstance


class HITLStore(Protocol):
    """Questions that tasks ask people. An answer that resumes an instance is written by `move`, in one transaction."""

    def put_hitl_detail(self, detail: HITLDetail, *, before: HITLDetail | None = None) -> None:
        """Store the question of a try; repeating it changes nothing. `before` is the instance's last question: one of an
        earlier try stays in the history, one of the same try loses its answer."""

    def get_hitl_detail(self, key: TaskInstanceKey, *, until_try: int | None = None) -> HITLDetail | None:
        """The instance's last question, or the last of its tries up to `until_try`; `None` if it asked none."""

    def list_hitl_details(
        self, *, dag_id: str | None = None, run_id: str | None = None, answered: bool | None = None
    ) -> list[HITLDetail]:
        """The last question of each instance of the DAG and run, where given; `answered` keeps answered or unanswered ones.
        In order of `created_at`. Across runs it may lag by a moment."""

    def walk_hitl_details(self, query: HITLQuery = ALL_QUESTIONS) -> Iterator[HITLDetail]:
        """In order of `created_at`. Reads as far as the caller iterates. May lag by a moment."""

    def count_hitl_details(self, query: HITLQuery = ALL_QUESTIONS, *, limit: int = 1000) -> int:
        """How many questions `walk_hitl_details` yields, at most `limit`. May lag by a moment."""

    def answer_hitl_detail(
        self, key: TaskInstanceKey, try_number: int, answer: HITLAnswer, *, seen: TaskInstance
    ) -> None:
        """Store an answer that resumes no instance. Raises StaleHITLDetail if the question is answered or gone,
        StaleTaskInstance if the instance is not as `seen`."""
