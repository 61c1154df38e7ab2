"""Questions that tasks ask people: one answer each, written with the move that it sets off, or checked with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gust.errors import StaleHITLDetail, StaleTaskInstance
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.history_query import HITLQuery
from gust.model.hitl import HITLAnswer, HITLDetail, ParkedQuestion, parked
from gust.model.keys import TaskInstanceKey
from gust.model.pool import Pool
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.model.window import NEWEST_FIRST, Window
from gust.ports.store import Store
from gust.scheduling.decide import decide
from gust.scheduling.transition import answer, await_input
from tests.contract.given import NOW, a_run, at, given_dag, given_run, given_running_instance, given_running_run

KEY = a_run().key.task_instance("extract")


def a_question(key: TaskInstanceKey = KEY, try_number: int = 1, **fields: Any) -> HITLDetail:
    return HITLDetail(
        **{
            "key": key,
            "try_number": try_number,
            "options": ["yes", "no"],
            "subject": "Shall it?",
            "body": "**now**",
            "defaults": ["no"],
            "params": {"n": {"value": 3, "description": None, "schema": {}}, "m": 1},
            "assigned_users": [{"id": "1", "name": "One"}],
            "created_at": NOW,
            **fields,
        }
    )


YES = HITLAnswer(
    chosen_options=["yes"],
    params_input={"n": [1, {"a": None}]},
    responded_at=at(5),
    responded_by={"id": "1", "name": "1"},
)
NO = HITLAnswer(chosen_options=["no"], responded_at=at(6))


def awaiting(running: TaskInstance, question: HITLDetail | None) -> Any:
    return await_input(
        running,
        next_method="go",
        next_kwargs={},
        due_at=at(60),
        question=parked(question) if question else None,
    )


def given_awaiting(store: Store, question: HITLDetail) -> TaskInstance:
    store.put_hitl_detail(question)
    moved = awaiting(given_running_instance(store), question)
    store.move(moved)
    return moved.after


def test_what_is_asked_is_read_back(store: Store) -> None:
    assert store.get_hitl_detail(KEY) is None
    store.put_hitl_detail(a_question())
    assert store.get_hitl_detail(KEY) == a_question()
    bare = a_question(
        KEY.run.task_instance("b#%", 3), body=None, defaults=None, params={}, assigned_users=[], multiple=True
    )
    store.put_hitl_detail(bare)
    assert store.get_hitl_detail(bare.key) == bare


def test_asking_again_changes_nothing(store: Store) -> None:
    store.put_hitl_detail(a_question())
    store.put_hitl_detail(a_question(subject="another"))
    assert store.get_hitl_detail(KEY) == a_question()


def test_the_instance_knows_what_is_taken_when_the_time_is_up(store: Store) -> None:
    waiting = given_awaiting(store, a_question())
    stored = store.get_instance(KEY)
    assert stored == waiting
    assert stored is not None
    assert stored.question == ParkedQuestion(try_number=1, defaults=("no",), params_input={"n": 3, "m": 1})


def test_the_answer_comes_with_the_move(store: Store) -> None:
    waiting = given_awaiting(store, a_question())
    moved = answer(waiting, at=at(5), answer=YES, try_number=1)
    store.move(moved)
    store.move(moved)
    assert store.get_instance(KEY) == moved.after
    assert store.get_hitl_detail(KEY) == replace(a_question(), answer=YES)
    with pytest.raises(StaleTaskInstance):
        store.move(answer(waiting, at=at(6), answer=NO, try_number=1))
    assert store.get_hitl_detail(KEY) == replace(a_question(), answer=YES)


def test_of_many_answers_one_counts(store: Store) -> None:
    waiting = given_awaiting(store, a_question())

    def respond(number: int) -> bool:
        said = HITLAnswer(chosen_options=["yes"], responded_at=at(number), responded_by={"id": str(number), "name": ""})
        try:
            store.move(answer(waiting, at=at(number), answer=said, try_number=1))
        except (StaleTaskInstance, StaleHITLDetail):
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        came_first = [number for number, first in enumerate(pool.map(respond, range(6))) if first]
    assert len(came_first) >= 1  # equal moves count as the same one
    detail = store.get_hitl_detail(KEY)
    assert detail is not None
    assert detail.answer is not None
    stored = store.get_instance(KEY)
    assert stored is not None
    assert isinstance(stored.next_kwargs, dict)
    assert stored.next_kwargs["event"]["responded_by_user"] == detail.answer.responded_by
    assert detail.answer.responded_by == {"id": str(came_first[0]), "name": ""}


def test_what_is_answered_does_not_begin_to_wait(store: Store) -> None:
    running = given_running_instance(store)
    store.put_hitl_detail(a_question())
    store.answer_hitl_detail(KEY, 1, YES, seen=running)
    with pytest.raises(StaleHITLDetail):
        store.move(awaiting(running, a_question()))
    assert store.get_instance(KEY) == running


def test_an_answer_that_resumes_nothing_must_have_seen_that_nothing_waits(store: Store) -> None:
    running = given_running_instance(store)
    store.put_hitl_detail(a_question())
    store.move(awaiting(running, a_question()))
    with pytest.raises(StaleTaskInstance):
        store.answer_hitl_detail(KEY, 1, YES, seen=running)
    assert store.get_hitl_detail(KEY) == a_question()


def test_what_is_answered_or_gone_takes_no_other_answer(store: Store) -> None:
    running = given_running_instance(store)
    with pytest.raises(StaleHITLDetail):
        store.answer_hitl_detail(KEY, 1, YES, seen=running)
    store.put_hitl_detail(a_question())
    store.answer_hitl_detail(KEY, 1, YES, seen=running)
    with pytest.raises(StaleHITLDetail):
        store.answer_hitl_detail(KEY, 1, NO, seen=running)
    assert store.get_hitl_detail(KEY) == replace(a_question(), answer=YES)


def test_asked_again_in_the_same_try_it_has_no_answer_any_more(store: Store) -> None:
    running = given_running_instance(store)
    store.put_hitl_detail(a_question())
    store.answer_hitl_detail(KEY, 1, YES, seen=running)
    answered = replace(a_question(), answer=YES)
    store.put_hitl_detail(a_question(), before=answered)
    assert store.get_hitl_detail(KEY) == a_question()
    assert store.list_hitl_details(answered=False) == [a_question()]


def test_the_question_of_an_earlier_try_stays_in_the_history(store: Store) -> None:
    running = given_running_instance(store)
    store.put_hitl_detail(a_question())
    store.answer_hitl_detail(KEY, 1, YES, seen=running)
    first = replace(a_question(), answer=YES)
    second = a_question(try_number=3)
    store.put_hitl_detail(second, before=first)
    assert store.get_hitl_detail(KEY) == second
    assert store.get_hitl_detail(KEY, until_try=3) == second
    assert store.get_hitl_detail(KEY, until_try=2) == first
    assert store.get_hitl_detail(KEY, until_try=0) is None
    assert store.list_hitl_details() == [second]


def test_questions_are_listed_by_dag_by_run_and_by_whether_they_are_answered(store: Store) -> None:
    running = given_running_instance(store)
    first = a_question()
    others = [
        a_question(a_run("two").key.task_instance("extract"), created_at=at(1)),
        a_question(a_run("two", "other").key.task_instance("extract", 2), created_at=at(2)),
        a_question(a_run().key.task_instance("load"), created_at=at(3)),
    ]
    for detail in (first, *others):
        store.put_hitl_detail(detail)
    store.answer_hitl_detail(KEY, 1, YES, seen=running)
    first = replace(first, answer=YES)
    assert store.list_hitl_details() == [first, *others]
    assert store.list_hitl_details(dag_id="etl") == [first, others[0], others[2]]
    assert store.list_hitl_details(run_id="two") == others[:2]
    assert store.list_hitl_details(dag_id="etl", run_id="manual__1") == [first, others[2]]
    assert store.list_hitl_details(dag_id="etl", run_id="manual__1", answered=True) == [first]
    assert store.list_hitl_details(answered=True) == [first]
    assert store.list_hitl_details(dag_id="etl", answered=False) == [others[0], others[2]]
    assert store.list_hitl_details(dag_id="e") == []
    assert list(store.walk_hitl_details()) == [first, *others]
    assert list(store.walk_hitl_details(HITLQuery(window=NEWEST_FIRST))) == [*others[::-1], first]
    assert list(store.walk_hitl_details(HITLQuery("etl", answered=False))) == [others[0], others[2]]
    assert list(store.walk_hitl_details(HITLQuery(answered=True))) == [first]
    window = Window(at(1), at(2), ascending=False)
    assert list(store.walk_hitl_details(HITLQuery(window=window))) == [others[1], others[0]]
    assert list(store.walk_hitl_details(HITLQuery("etl", window))) == [others[0]]
    assert list(store.walk_hitl_details(HITLQuery("etl", window, answered=True))) == []
    counts = store.count_hitl_details
    assert (counts(HITLQuery(window=window)), counts(HITLQuery("etl", window, answered=False))) == (2, 1)
    assert (counts(), counts(limit=2)) == (4, 2)
    assert (counts(HITLQuery("etl")), counts(HITLQuery(answered=False))) == (3, 3)


def test_they_go_with_their_instance_and_their_run(store: Store) -> None:
    run = given_run(store)
    store.put_hitl_detail(a_question())
    other = a_question(KEY.run.task_instance("load"))
    store.put_hitl_detail(other)
    store.delete_history(KEY)
    assert store.list_hitl_details() == [other]
    store.delete_run(run)
    assert store.list_hitl_details() == []
    assert store.get_hitl_detail(other.key) is None


def test_an_index_of_runs_does_not_show_them(store: Store) -> None:
    run = given_run(store)
    store.put_hitl_detail(a_question())
    assert store.list_runs("etl") == [run]
    assert store.list_runs("HITL#OPEN") == []


def test_deleting_does_not_bring_the_state_back(store: Store) -> None:
    waiting = given_awaiting(store, a_question())
    store.delete_history(KEY)
    with pytest.raises(StaleHITLDetail):
        store.move(answer(waiting, at=at(5), answer=YES, try_number=1))
    stored = store.get_instance(KEY)
    assert stored is not None
    assert stored.state is TaskInstanceState.AWAITING_INPUT


def test_a_question_whose_time_is_up_is_answered_where_its_task_waits_for_slots_next(store: Store) -> None:
    """One decision resumes it and has it stand in the line of its pool: one write, which must answer the question too."""
    given_dag(store)
    run = given_running_run(store)
    question = a_question()
    store.put_hitl_detail(question)
    waits = awaiting(given_running_instance(store), question)
    store.move(waits)

    task = TaskSpec(task_id="extract", pool="p")
    spec = DagSpec(dag_id=run.dag_id, timetable=TimetableSpec(type="x"), tasks={"extract": task})
    pools = {"p": Pool(name="p", slots=1)}
    stored = {("extract", -1): waits.after}
    decision = decide(spec, run, stored, now=at(61), pools=pools)
    assert store.move_all((*decision.transitions, *decision.waiting)) == []

    answered = store.get_hitl_detail(KEY)
    assert answered is not None
    assert answered.answer == HITLAnswer(chosen_options=["no"], params_input={"n": 3, "m": 1}, responded_at=at(61))
    waiting = store.get_instance(KEY)
    assert waiting is not None
    assert (waiting.state, waiting.blocked_by_limit) == (TaskInstanceState.SCHEDULED, "pool:p")
    with pytest.raises(StaleHITLDetail):
        store.answer_hitl_detail(KEY, 1, YES, seen=waiting)
