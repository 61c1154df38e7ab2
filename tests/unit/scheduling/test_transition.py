"""Every edge from every state: where it leads, and that it does not exist elsewhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.timezones import timezone
from airflow.sdk.serde import deserialize, serialize

from gust.errors import IllegalTransition
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.hitl import HITLAnswer, HITLMove, ParkedQuestion
from gust.model.pool import RUN_LIMIT, Pool
from gust.model.state import FINISHED, IN_FLIGHT, SCHEDULABLE, UNFINISHED
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import slots, transition
from gust.scheduling.transition import Transition
from tests.unit.scheduling.given import NOW, ti

LATER = NOW + timedelta(minutes=1)
POOL = Pool(name="p", slots=3)
CLAIMS = (slots.Claim("pool:p", 1, 3, POOL),)
TRIGGER = ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go", next_kwargs={"a": 1}, timeout_at=LATER)
QUESTION = ParkedQuestion(try_number=1, defaults=("a",), params_input={"n": 1})
ANSWER = HITLAnswer(
    chosen_options=["b"], params_input={"n": 2}, responded_at=NOW, responded_by={"id": "i", "name": "I"}
)
ANY = {None, *S}

Edge = Callable[[TaskInstance], Transition]
EDGES: dict[str, tuple[set[Any], set[Any], Edge]] = {
    "expand": ({None}, {None}, transition.expand),
    "schedule": (set(SCHEDULABLE), {S.SCHEDULED}, lambda i: transition.schedule(i, at=NOW, retries=2)),
    "complete_empty": (set(SCHEDULABLE), {S.SUCCESS}, lambda i: transition.complete_empty(i, at=NOW, retries=2)),
    "start_from_trigger": (
        set(SCHEDULABLE),
        {S.DEFERRED},
        lambda i: transition.start_from_trigger(i, at=NOW, retries=2, trigger=TRIGGER),
    ),
    "wait": ({S.SCHEDULED}, {S.SCHEDULED}, lambda i: transition.wait(i, blocked_by_limit="pool:p")),
    "grant": ({S.SCHEDULED}, {S.SCHEDULED}, lambda i: transition.grant(i, claims=CLAIMS)),
    "recount": (
        {S.SCHEDULED, S.QUEUED, S.RUNNING, S.DEFERRED, S.AWAITING_INPUT},
        {S.SCHEDULED, S.QUEUED, S.RUNNING, S.DEFERRED, S.AWAITING_INPUT},
        lambda i: transition.recount(i, claims=CLAIMS),
    ),
    "refuse": (set(SCHEDULABLE), {S.FAILED}, lambda i: transition.refuse(i, at=NOW, retries=2, reason="r")),
    "upstream_fail": (set(UNFINISHED), {S.UPSTREAM_FAILED}, lambda i: transition.upstream_fail(i, at=NOW, reason="r")),
    "queue": ({S.SCHEDULED}, {S.QUEUED}, lambda i: transition.queue(i, at=NOW)),
    "queue_trigger": ({S.DEFERRED}, {S.DEFERRED}, lambda i: transition.queue_trigger(i, at=NOW)),
    "resend": ({S.QUEUED}, {S.SCHEDULED}, lambda i: transition.resend(i, at=NOW, reason="r")),
    "skip": (ANY - {S.SUCCESS, S.FAILED}, {S.SKIPPED}, lambda i: transition.skip(i, at=NOW, reason="r")),
    "stop_others": ({S.FAILED}, {S.FAILED}, transition.stop_others),
    "remove": (ANY - {S.REMOVED}, {S.REMOVED}, lambda i: transition.remove(i, at=NOW, reason="r")),
    "lose": (
        set(IN_FLIGHT) - {S.RESTARTING},
        {S.UP_FOR_RETRY},
        lambda i: transition.lose(i, at=NOW, reason="r", retry_at=LATER),
    ),
    "time_out": (set(UNFINISHED), {S.SKIPPED}, lambda i: transition.time_out(i, at=NOW, reason="r")),
    "start": ({S.SCHEDULED, S.QUEUED}, {S.RUNNING}, lambda i: transition.start(i, at=NOW)),
    "succeed": ({S.RUNNING, S.DEFERRED}, {S.SUCCESS}, lambda i: transition.succeed(i, at=NOW)),
    "fail": ({S.RUNNING, S.DEFERRED}, {S.FAILED}, lambda i: transition.fail(i, at=NOW)),
    "stop": ({S.RUNNING, S.DEFERRED}, {S.SKIPPED}, lambda i: transition.stop(i, state=S.SKIPPED, at=NOW)),
    "label": ({S.RUNNING}, {S.RUNNING}, lambda i: transition.label(i, rendered_map_index="x")),
    "retry": (
        {S.RUNNING, S.DEFERRED},
        {S.UP_FOR_RETRY},
        lambda i: transition.retry(i, at=NOW, due_at=LATER),
    ),
    "reschedule": ({S.RUNNING}, {S.UP_FOR_RESCHEDULE}, lambda i: transition.reschedule(i, at=NOW, due_at=LATER)),
    "defer": ({S.RUNNING}, {S.DEFERRED}, lambda i: transition.defer(i, trigger=TRIGGER)),
    "resume": ({S.DEFERRED}, {S.SCHEDULED}, lambda i: transition.resume(i, at=NOW, event="e")),
    "fail_trigger": ({S.DEFERRED}, {S.SCHEDULED}, lambda i: transition.fail_trigger(i, at=NOW)),
    "time_out_trigger": ({S.DEFERRED}, {S.SCHEDULED}, lambda i: transition.time_out_trigger(i, at=NOW)),
    "await_input": (
        {S.RUNNING},
        {S.AWAITING_INPUT},
        lambda i: transition.await_input(i, next_method="go", next_kwargs=None, due_at=LATER, question=QUESTION),
    ),
    "resume_answered": (
        {S.RUNNING},
        {S.SCHEDULED},
        lambda i: transition.resume_answered(i, at=NOW, answer=ANSWER, next_method="go", next_kwargs=None),
    ),
    "answer": (
        {S.AWAITING_INPUT, S.DEFERRED},
        {S.SCHEDULED},
        lambda i: transition.answer(i, at=NOW, answer=ANSWER, try_number=1),
    ),
    "time_out_input": ({S.AWAITING_INPUT}, {S.SCHEDULED}, lambda i: transition.time_out_input(i, at=NOW)),
    "clear": (ANY - {None, S.RUNNING}, {None}, lambda i: transition.clear(i, at=NOW, retries=2)),
    "interrupt": ({S.RUNNING}, {S.RESTARTING}, transition.interrupt),
    "restart": ({S.RESTARTING}, {None}, lambda i: transition.restart(i, at=NOW, retries=2)),
    "mark": (ANY - {S.FAILED}, {S.FAILED}, lambda i: transition.mark(i, state=S.FAILED, at=NOW)),
    "forget": (ANY, {None}, transition.forget),
    "annotate": (ANY, ANY, lambda i: transition.annotate(i, note="n")),
    "pin": (ANY, ANY, lambda i: transition.pin(i, version_number=1)),
}
"""Name → from, to, and a call of it."""

UNSETTLING = {"clear", "restart", "forget"}
"""They lead back to None, and no message, report or decision of the time before may be taken for one of the time after."""
REMARKS = {"annotate", "pin", "stop_others"}
"""They say something about the instance and move it nowhere."""


def instance(state: S | None, **fields: Any) -> TaskInstance:
    tried = 0 if state is None else 1
    given = {"try_number": tried, "dispatch_count": tried, "max_tries": 2 * tried, "map_index": 0}
    if state is S.DEFERRED:
        given["trigger"] = TRIGGER
    if state is S.AWAITING_INPUT:
        given |= {"next_method": "go", "next_kwargs": {"a": 1}, "question": QUESTION, "due_at": LATER}
    if state is S.SCHEDULED:
        given["blocked_by_limit"] = RUN_LIMIT
    return ti("a", state, **{**given, **fields})


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("state", [None, *S])
def test_an_edge_leads_where_it_should_or_does_not_exist(name, state):
    sources, targets, edge = EDGES[name]
    before = instance(state)
    if state not in sources:
        with pytest.raises(IllegalTransition) as error:
            edge(before)
        assert (error.value.edge, error.value.before) == (name, before)
        return
    moved = edge(before)
    assert (moved.edge, moved.before) == (name, before)
    assert moved.after.state in targets
    assert moved.after.key == before.key
    assert moved == edge(before)


@pytest.mark.parametrize("name", sorted(EDGES.keys() - REMARKS))
def test_whatever_is_sent_is_a_new_dispatch(name):
    sources, _, edge = EDGES[name]
    for state in sources:
        moved = edge(instance(state))
        counts_up = moved.after.dispatch_count - moved.before.dispatch_count
        is_new = moved.after.try_number > moved.before.try_number or is_sent(moved) or name in UNSETTLING
        assert counts_up == (1 if is_new else 0)


def is_sent(moved: Transition) -> bool:
    """One that was scheduled before was not sent yet, or is what was sent."""
    return moved.after.state is S.SCHEDULED and moved.before.state is not S.SCHEDULED


@pytest.mark.parametrize("name", sorted(EDGES.keys() - REMARKS))
def test_a_finished_instance_waits_for_nothing(name):
    sources, _, edge = EDGES[name]
    for state in sources:
        after = edge(instance(state, due_at=LATER)).after
        if after.state in FINISHED:
            assert after.end_date == NOW
            assert after.start_date is not None
            assert (after.due_at, after.trigger, after.next_method, after.next_kwargs) == (None, None, None, None)
            assert after.question is None


@pytest.mark.parametrize("begin", ["schedule", "complete_empty", "start_from_trigger", "refuse"])
def test_the_next_try_takes_the_place_of_the_finished_one(begin):
    failed = instance(
        S.UP_FOR_RETRY, due_at=LATER, hostname="stream", pid=7, end_date=NOW, start_date=NOW, xcom_lengths={"x": 1}
    )
    moved = EDGES[begin][2](failed)
    assert moved.finished_try == replace(failed, state=S.FAILED, due_at=None)
    assert moved.after.try_number == 2
    assert moved.after.max_tries == 2
    assert (moved.after.hostname, moved.after.pid, moved.after.xcom_lengths) == (None, None, {"x": 1})


def test_the_first_try_takes_over_the_tasks_retries_and_a_later_one_does_not():
    assert transition.schedule(instance(None), at=NOW, retries=5).after.max_tries == 5
    cleared = instance(None, try_number=3, max_tries=8)
    assert transition.schedule(cleared, at=NOW, retries=5).after.max_tries == 8


def test_a_try_that_is_the_first_or_goes_on_is_kept_nowhere():
    assert transition.schedule(instance(None), at=NOW, retries=0).finished_try is None
    assert transition.schedule(instance(S.UP_FOR_RESCHEDULE), at=NOW, retries=0).finished_try is None
    assert transition.resume(instance(S.DEFERRED), at=NOW, event=None).finished_try is None


def test_a_reschedule_keeps_the_try_and_its_first_start():
    first = instance(S.RUNNING, start_date=NOW)
    waiting = transition.reschedule(first, at=LATER, due_at=LATER).after
    again = transition.start(transition.schedule(waiting, at=LATER, retries=0).after, at=LATER).after
    assert (again.try_number, again.reschedule_count) == (1, 1)
    assert (again.start_date, again.first_start_date) == (LATER, NOW)


def test_resuming_goes_on_with_the_try_where_it_began():
    running = instance(S.RUNNING, start_date=NOW)
    resumed = transition.resume(transition.defer(running, trigger=TRIGGER).after, at=LATER, event={"v": 1}).after
    again = transition.start(resumed, at=LATER).after
    assert again.start_date == NOW
    assert (again.next_method, again.next_kwargs) == ("go", {"a": 1, "event": {"v": 1}})


def test_a_second_deferral_is_sent_again():
    sent = transition.queue_trigger(instance(S.DEFERRED), at=NOW).after
    again = transition.start(transition.resume(sent, at=NOW, event=None).after, at=NOW).after
    assert transition.defer(again, trigger=TRIGGER).after.queued_at is None


@pytest.mark.parametrize("state", [S.SUCCESS, S.FAILED, S.SKIPPED, S.UP_FOR_RETRY, S.QUEUED, S.DEFERRED, S.RESTARTING])
def test_a_cleared_try_is_in_the_history_and_has_all_retries_ahead(state):
    ended = {"end_date": LATER} if state in FINISHED else {}
    before = instance(
        state, try_number=3, dispatch_count=5, max_tries=3, start_date=NOW, note="n", version_number=1, **ended
    )
    moved = transition.clear(before, at=LATER, retries=2)
    kept = moved.finished_try
    assert kept is not None
    assert (kept.try_number, kept.state) == (3, state if state in FINISHED else S.FAILED)
    assert kept.end_date == LATER
    after = moved.after
    assert (after.state, after.try_number, after.max_tries, after.dispatch_count) == (None, 3, 5, 6)
    assert (after.trigger, after.due_at, after.next_method, after.note, after.version_number) == (
        *(None, None, None),
        "n",
        None,
    )
    again = transition.schedule(after, at=LATER, retries=2)
    assert (again.after.try_number, again.after.max_tries, again.finished_try) == (4, 5, None)


def test_the_history_has_a_try_as_it_ended_whatever_its_instance_became_without_another():
    succeeded = instance(S.SUCCESS, start_date=NOW, end_date=NOW)
    cleared = transition.clear(succeeded, at=NOW, retries=0)
    assert cleared.finished_try == succeeded
    skipped = transition.skip(cleared.after, at=LATER, reason="r")
    again = transition.clear(skipped.after, at=LATER, retries=0)
    assert again.finished_try is None
    begun = transition.schedule(again.after, at=LATER, retries=0).after
    failed = transition.fail(transition.start(begun, at=LATER).after, at=LATER).after
    assert transition.clear(failed, at=LATER, retries=0).finished_try == failed


def test_clearing_what_the_dag_no_longer_has_promises_no_new_try():
    assert transition.clear(instance(S.FAILED, try_number=4, max_tries=1), at=NOW, retries=None).after.max_tries == 4
    assert transition.clear(instance(S.FAILED, try_number=1, max_tries=3), at=NOW, retries=None).after.max_tries == 3


def test_clearing_what_runs_waits_for_its_worker_and_keeps_the_try_then():
    running = instance(S.RUNNING, start_date=NOW, hostname="w")
    told = transition.interrupt(running)
    assert (told.after.dispatch_count, told.finished_try) == (1, None)
    ended = transition.restart(told.after, at=LATER, retries=0)
    kept = ended.finished_try
    assert kept is not None
    assert (kept.state, kept.end_date, kept.hostname) == (S.FAILED, LATER, "w")
    assert (ended.after.state, ended.after.max_tries) == (None, 1)


def test_marking_keeps_the_times_that_are_known():
    ended = instance(S.FAILED, start_date=NOW, end_date=NOW)
    marked = transition.mark(ended, state=S.SUCCESS, at=LATER).after
    assert (marked.start_date, marked.end_date) == (NOW, NOW)
    never_ran = transition.mark(instance(None), state=S.SKIPPED, at=LATER).after
    assert (never_ran.start_date, never_ran.end_date, never_ran.try_number) == (LATER, LATER, 0)
    for state in (S.SUCCESS, S.RUNNING):
        with pytest.raises(IllegalTransition):
            transition.mark(instance(S.SUCCESS), state=state, at=NOW)


def test_a_note_goes_with_a_move():
    moved = transition.clear(instance(S.FAILED), at=NOW, retries=0)
    assert transition.annotated(moved, note="why") == replace(moved, after=replace(moved.after, note="why"))


def test_losing_the_last_try_fails():
    assert transition.lose(instance(S.RUNNING), at=NOW, reason="r", retry_at=None).after.state is S.FAILED


def test_an_answer_goes_with_the_move_that_tells_the_task_of_it():
    moved = transition.answer(instance(S.AWAITING_INPUT), at=LATER, answer=ANSWER, try_number=1)
    assert moved.hitl == HITLMove(1, ANSWER)
    after = moved.after
    assert (after.state, after.next_method, after.due_at, after.question) == (S.SCHEDULED, "go", None, None)
    assert isinstance(after.next_kwargs, dict)
    assert after.next_kwargs["a"] == 1
    told = deserialize(after.next_kwargs["event"])
    assert told == {
        "chosen_options": ["b"],
        "params_input": {"n": 2},
        "responded_at": NOW,
        "responded_by_user": {"id": "i", "name": "I"},
        "timedout": False,
    }
    assert type(told["responded_at"]) is datetime
    assert after.next_kwargs["event"] == serialize({**told, "responded_at": NOW.astimezone(timezone.utc)})


def test_the_defaults_are_the_answer_of_a_question_whose_time_is_up():
    moved = transition.time_out_input(instance(S.AWAITING_INPUT), at=LATER)
    assert moved.hitl == HITLMove(1, HITLAnswer(chosen_options=["a"], params_input={"n": 1}, responded_at=LATER))
    assert isinstance(moved.after.next_kwargs, dict)
    assert moved.after.next_kwargs["event"]["timedout"] is True


@pytest.mark.parametrize("question", [None, replace(QUESTION, defaults=None)])
def test_without_defaults_the_operator_is_told_that_the_time_is_up(question):
    moved = transition.time_out_input(instance(S.AWAITING_INPUT, question=question), at=LATER)
    assert moved.hitl is None
    assert isinstance(moved.after.next_kwargs, dict)
    assert moved.after.next_kwargs["event"]["error_type"] == "timeout"


def test_what_begins_to_await_input_is_unanswered():
    edge = EDGES["await_input"][2]
    assert edge(instance(S.RUNNING)).hitl == HITLMove(1)
    unasked = transition.await_input(
        instance(S.RUNNING), next_method="go", next_kwargs=None, due_at=None, question=None
    )
    assert unasked.hitl is None


@pytest.mark.parametrize("entered", [{"__classname__": "x"}, {"a": [{"b": {"__id__": 1}}]}])
def test_an_answer_that_cannot_be_told_fails_the_try(entered):
    with pytest.raises(AttributeError):
        serialize(entered)
    answer = replace(ANSWER, params_input=entered)
    moved = transition.answer(instance(S.AWAITING_INPUT), at=NOW, answer=answer, try_number=1)
    assert moved.after.next_method == transition.FAIL_METHOD


def test_next_kwargs_may_come_as_text():
    parked = instance(S.DEFERRED, trigger=replace(TRIGGER, next_kwargs='{"a": 2}'))
    assert transition.resume(parked, at=NOW, event=3).after.next_kwargs == {"a": 2, "event": 3}


def test_a_move_that_another_follows_keeps_all_that_it_does():
    """Every field: one that is added to `Transition` must not be lost between two moves of one decision."""
    owed = Callback(
        dag_id="dag",
        run_id="run",
        callback_id="task/a",
        kind=CallbackKind.TASK,
        event="failure",
        state=CallbackState.PENDING,
        created_at=NOW,
        updated_at=NOW,
    )
    first = Transition("first", ti("a"), ti("a", S.FAILED), keeps_try=True, callback=owed, hitl=HITLMove(1))
    second = Transition("second", first.after, ti("a", S.REMOVED))
    both = transition.followed_by(first, second)
    assert both == replace(first, after=second.after)
    for kept in fields(Transition):
        assert getattr(first, kept.name) != kept.default, "the test must give every field a value"


def test_slots_that_the_second_of_two_moves_takes_are_kept():
    """A trigger's end gives its slots back; what the same write takes anew is not given back with them."""
    parked = instance(S.DEFERRED, trigger=TRIGGER, holds={"pool:p": 1}, holds_pool_deferred=True)
    first = transition.resume(parked, at=NOW, event=3)
    assert first.after.holds == {}
    claims = [slots.Claim("pool:p", 2, 4, Pool(name="p", slots=4))]
    second = transition.grant(replace(first.after, blocked_by_limit="pool:p"), claims=claims)
    assert transition.followed_by(first, second).after.holds == {"pool:p": 2}


def test_all_edges_are_tested_and_drawn():
    made = set(re.findall(r"_move\(\s*\"(\w+)\"", inspect.getsource(transition)))
    assert made == set(EDGES)
    diagram = (Path(__file__).parents[3] / "docs" / "state_machine.md").read_text()
    drawn = re.findall(r"^    (\S+) --> (\S+): (\w+)$", diagram, re.MULTILINE)
    assert {name for _, _, name in drawn} == made
    for source, target, name in drawn:
        sources, targets, _ = EDGES[name]
        assert source == "[*]" or state_named(source) in sources, f"{source} --> {target}: {name}"
        assert state_named(target) in {*targets, S.FAILED} if name == "lose" else state_named(target) in targets


def state_named(name: str) -> S | None:
    return None if name == "none" else S(name)
