"""Questions of human-in-the-loop tasks, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace

from gust.errors import StaleHITLDetail, StaleTaskInstance
from gust.model.history_query import ALL_QUESTIONS, HITLQuery
from gust.model.hitl import HITLAnswer, HITLDetail, HITLMove
from gust.model.keys import TaskInstanceKey
from gust.model.task_instance import TaskInstance
from gust.store.fences import instance_fence
from gust.store.memory.state import MemoryState, atomic


class MemoryHITL(MemoryState):
    """Implements `ports.HITLStore`."""

    @atomic
    def put_hitl_detail(self, detail: HITLDetail, *, before: HITLDetail | None = None) -> None:
        tries = self._hitl_details.setdefault(detail.key, {})
        stored = tries.get(detail.try_number)
        if stored is None:
            tries[detail.try_number] = _copy(replace(detail, answer=None))
        elif before is not None and before.try_number == detail.try_number:
            tries[detail.try_number] = replace(stored, answer=None)

    @atomic
    def get_hitl_detail(self, key: TaskInstanceKey, *, until_try: int | None = None) -> HITLDetail | None:
        tries = self._hitl_details.get(key, {})
        found = [number for number in tries if until_try is None or number <= until_try]
        return _copy(tries[max(found)]) if found else None

    @atomic
    def list_hitl_details(
        self, *, dag_id: str | None = None, run_id: str | None = None, answered: bool | None = None
    ) -> list[HITLDetail]:
        last = [tries[max(tries)] for tries in self._hitl_details.values()]
        found = [
            _copy(detail)
            for detail in last
            if dag_id in (None, detail.key.dag_id)
            and run_id in (None, detail.key.run_id)
            and answered in (None, detail.answer is not None)
        ]
        return sorted(found, key=lambda detail: (detail.created_at, detail.key))

    def walk_hitl_details(self, query: HITLQuery = ALL_QUESTIONS) -> Iterator[HITLDetail]:
        found = self.list_hitl_details(dag_id=query.dag_id, answered=query.answered)
        return query.window.in_order([detail for detail in found if query.window.holds(detail.created_at)])

    def count_hitl_details(self, query: HITLQuery = ALL_QUESTIONS, *, limit: int = 1000) -> int:
        return len(list(self.walk_hitl_details(query))[:limit])

    @atomic
    def answer_hitl_detail(
        self, key: TaskInstanceKey, try_number: int, answer: HITLAnswer, *, seen: TaskInstance
    ) -> None:
        self._check_hitl(key, HITLMove(try_number, answer))
        current = self._instances[key.run].get((key.task_id, key.map_index))
        if current is None or instance_fence(current) != instance_fence(seen):
            raise StaleTaskInstance(f"answer: {key} moved on", current)
        self._write_hitl(key, HITLMove(try_number, answer))

    def _check_hitl(self, key: TaskInstanceKey, move: HITLMove) -> None:
        """Raises StaleHITLDetail."""
        detail = self._hitl_details.get(key, {}).get(move.try_number)
        if detail is None or detail.answer is not None:
            raise StaleHITLDetail(f"the question of {key} is answered, or gone")

    def _write_hitl(self, key: TaskInstanceKey, move: HITLMove) -> None:
        if move.answer is not None:
            tries = self._hitl_details[key]
            tries[move.try_number] = _copy(replace(tries[move.try_number], answer=move.answer))


def _copy(detail: HITLDetail) -> HITLDetail:
    """As it comes out of a table that holds JSON."""
    fields = {name: getattr(detail, name) for name in ("options", "defaults", "params", "assigned_users")}
    answer = detail.answer
    if answer is not None:
        answer_fields = json.loads(
            json.dumps({name: value for name, value in asdict(answer).items() if name != "responded_at"})
        )
        answer = HITLAnswer(responded_at=answer.responded_at, **answer_fields)
    return replace(detail, answer=answer, **json.loads(json.dumps(fields)))
