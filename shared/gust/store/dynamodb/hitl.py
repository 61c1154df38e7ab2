"""Questions that tasks ask people."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from gust.errors import StaleHITLDetail, StaleTaskInstance
from gust.model.history_query import ALL_QUESTIONS, HITLQuery
from gust.model.hitl import HITLAnswer, HITLDetail, HITLMove
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.task_instance import TaskInstance
from gust.store import fences, items, keyspace
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.history import bounds, page_sizes
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import Check, ConditionFailed, Expression, Put, Table, Update, key_of

_ASKED = ("options", "subject", "body", "defaults", "multiple", "params", "assigned_users")
_AT_A_TIME: Final = (60, 200)
_KEYS_AT_A_TIME: Final = (120, 1000)
_LISTED, _LISTED_AT = keyspace.INDEX_KEYS[keyspace.INDEX_LISTED]


_OF_DAG, _OF_DAG_AT = keyspace.INDEX_KEYS[keyspace.INDEX_RECENT]


class DynamoDBHITL:
    """Implements `ports.HITLStore`."""

    _table: Table
    _documents: Documents
    _parallel: Parallel

    def put_hitl_detail(self, detail: HITLDetail, *, before: HITLDetail | None = None) -> None:
        where = keyspace.hitl_detail(detail.key, detail.try_number)
        if before is not None and before.try_number == detail.try_number:
            unanswered: dict[str, Attribute | None] = {"responded_at": None, "answer": None}
            self._table.update(where, Expression().exists().change(unanswered | _listed(keyspace.HITL_OPEN)))
            return
        question = self._documents.keep(where.pk, "value", {name: getattr(detail, name) for name in _ASKED})
        item = question | {
            "created_at": items.moment(detail.created_at),
            _LISTED: items.text(keyspace.HITL_OPEN),
            _LISTED_AT: items.moment(detail.created_at),
            _OF_DAG: items.text(keyspace.hitl_of_dag(detail.key.dag_id)),
            _OF_DAG_AT: items.moment(detail.created_at),
        }
        try:
            if before is None:
                self._table.put(where, item, Expression().is_new())
            else:
                earlier = keyspace.hitl_detail(before.key, before.try_number)
                unlisted = Expression().change(dict.fromkeys((_LISTED, _LISTED_AT, _OF_DAG, _OF_DAG_AT)))
                self._table.transact(Put(where, item, Expression().is_new()), Update(earlier, unlisted))
        except ConditionFailed:
            return

    def get_hitl_detail(self, key: TaskInstanceKey, *, until_try: int | None = None) -> HITLDetail | None:
        found = self._table.query(
            keyspace.run_partition(key.run), begins_with=keyspace.hitl_details(key), ascending=False
        )
        for item in found:
            named = keyspace.hitl_detail_of(key_of(item))
            if named is not None and (until_try is None or named[1] <= until_try):
                return self._read_hitl(item)
        return None

    def list_hitl_details(
        self, *, dag_id: str | None = None, run_id: str | None = None, answered: bool | None = None
    ) -> list[HITLDetail]:
        if dag_id is not None and run_id is not None:
            pk = keyspace.run_partition(DagRunKey(dag_id, run_id))
            found: Iterable[Item] = (i for i in self._table.query(pk, begins_with=keyspace.HITL) if _LISTED in i)
        else:
            wanted = {None: (keyspace.HITL_OPEN, keyspace.HITL_ANSWERED), False: (keyspace.HITL_OPEN,)}
            keys = {
                key_of(item)
                for listed in wanted.get(answered, (keyspace.HITL_ANSWERED,))
                for item in self._table.query_index(keyspace.INDEX_LISTED, listed)
                if _is_of(keyspace.run_key(key_of(item).pk), dag_id, run_id)
            }
            found = self._table.get_all(sorted(keys)).values()
        details = self._parallel.map(self._read_hitl, [item for item in found if _LISTED in item])
        return sorted(
            (d for d in details if answered in (None, d.answer is not None)), key=lambda d: (d.created_at, d.key)
        )

    def walk_hitl_details(self, query: HITLQuery = ALL_QUESTIONS) -> Iterator[HITLDetail]:
        keys = self._keys_of_hitl(query, pages=_KEYS_AT_A_TIME)
        for size in page_sizes(_AT_A_TIME):
            if not (part := list(islice(keys, size))):
                return
            stored = self._table.get_all(part)
            found = [stored[key] for key in part if key in stored and _LISTED in stored[key]]
            yield from (
                detail
                for detail in self._parallel.map(self._read_hitl, found)
                if query.answered in (None, detail.answer is not None)
            )

    def count_hitl_details(self, query: HITLQuery = ALL_QUESTIONS, *, limit: int = 1000) -> int:
        if query.dag_id is not None and query.answered is not None:
            return sum(1 for _ in islice(self.walk_hitl_details(query), limit))
        return sum(1 for _ in islice(self._keys_of_hitl(query, pages=(limit,)), limit))

    def _keys_of_hitl(self, query: HITLQuery, *, pages: Sequence[int]) -> Iterator[Key]:
        """Keys of questions in the index. For one DAG the index does not tell which are answered: that needs a read."""
        window, answered = query.window, query.answered

        def listed(index: str, partition: str) -> Iterator[tuple[str, Key]]:
            found = self._table.query_index_between(
                index, partition, *bounds(window), ascending=window.ascending, pages=page_sizes(pages)
            )
            return ((item[keyspace.INDEX_KEYS[index][1]]["S"], key_of(item)) for item in found)

        if query.dag_id is not None:
            yield from (key for _, key in listed(keyspace.INDEX_RECENT, keyspace.hitl_of_dag(query.dag_id)))
            return
        answers = {False: (keyspace.HITL_OPEN,), True: (keyspace.HITL_ANSWERED,)}
        wanted = (keyspace.HITL_OPEN, keyspace.HITL_ANSWERED) if answered is None else answers[answered]
        seen = set[Key]()
        for _, key in heapq.merge(*(listed(keyspace.INDEX_LISTED, pk) for pk in wanted), reverse=not window.ascending):
            # Answered between two reads, it is found in both places.
            if key not in seen:
                seen.add(key)
                yield key

    def answer_hitl_detail(
        self, key: TaskInstanceKey, try_number: int, answer: HITLAnswer, *, seen: TaskInstance
    ) -> None:
        still = Expression().still(items.TASK_INSTANCE.attributes(fences.instance_fence(seen)))
        try:
            self._table.transact(
                hitl_write(key, HITLMove(try_number, answer)),
                Check(keyspace.instance(key), still),
            )
        except ConditionFailed as failed:
            if failed.failed(0):
                raise answered_already(key) from failed
            raise StaleTaskInstance(f"answer: {key} moved on", None) from failed

    def _read_hitl(self, item: Item) -> HITLDetail:
        named = keyspace.hitl_detail_of(key_of(item))
        if named is None:
            raise ValueError(f"{key_of(item)} is not a question")
        key, try_number = named
        return HITLDetail(
            key=key,
            try_number=try_number,
            created_at=keyspace.moment_from(item["created_at"]["S"]),
            answer=_answer(item),
            **self._documents.read(item),
        )


def hitl_write(key: TaskInstanceKey, move: HITLMove) -> Update | Check:
    """The question's write or check, for the transaction of its instance's move."""
    where = keyspace.hitl_detail(key, move.try_number)
    unanswered = Expression().exists().still({"responded_at": None})
    if move.answer is None:
        return Check(where, unanswered)
    answer_fields: dict[str, Attribute | None] = {
        "responded_at": items.moment(move.answer.responded_at),
        "answer": items.document(
            "params_input",
            {
                "chosen_options": move.answer.chosen_options,
                "params_input": move.answer.params_input,
                "responded_by": move.answer.responded_by,
            },
        ),
    }
    return Update(where, unanswered.change(answer_fields | _listed(keyspace.HITL_ANSWERED)))


def answered_already(key: TaskInstanceKey) -> StaleHITLDetail:
    return StaleHITLDetail(f"the question of {key} is answered, or gone")


def _listed(partition: str) -> dict[str, Attribute | None]:
    return {_LISTED: items.text(partition)}


def _is_of(run: DagRunKey | None, dag_id: str | None, run_id: str | None) -> bool:
    return run is not None and dag_id in (None, run.dag_id) and run_id in (None, run.run_id)


def _answer(item: Item) -> HITLAnswer | None:
    if "responded_at" not in item:
        return None
    answer_fields: dict[str, Any] = json.loads(item["answer"]["S"])
    return HITLAnswer(responded_at=keyspace.moment_from(item["responded_at"]["S"]), **answer_fields)
