"""Each transition that the store writes is one announcement, read off DynamoDB's own stream; other writes are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gust.model.announcement import Announcement, Kind
from gust.model.bundle import ImportProblem
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.state import DagRunState
from gust.scheduling import transition
from gust.scheduling.callback import CallbackMove, miss, queue
from gust.scheduling.transition import answer
from gust.store.announcements import announcement_in
from tests.contract.given import NOW, a_run, at, given_dag, given_running_instance, given_running_run
from tests.contract.stores import Aws, OnDynamoDB
from tests.contract.test_store_hitl import YES, a_question, given_awaiting

Heard = Callable[[], list[Announcement]]


@pytest.fixture
def heard(dynamodb: OnDynamoDB, aws: Aws) -> Heard:
    """What the stream tells since it was asked last."""
    streams = aws.streams
    arn = dynamodb.client.describe_table(TableName=dynamodb.table)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    place = {
        "next": streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
    }

    def heard() -> list[Announcement]:
        answer = streams.get_records(ShardIterator=place["next"])
        place["next"] = answer["NextShardIterator"]
        records = [_as_lambda_has_it(record) for record in answer["Records"]]
        told = [announcement_in(record) for record in records]
        assert told == [announcement_in(record) for record in records], "a record that comes again tells the same"
        return [each for each in told if each is not None]

    return heard


def _as_lambda_has_it(record: dict[str, Any]) -> dict[str, Any]:
    created = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
    return record | {"dynamodb": record["dynamodb"] | {"ApproximateCreationDateTime": created}}


def states(told: list[Announcement]) -> list[tuple[str, str | None, str | None]]:
    return [(each.kind.value, each.detail["previous_state"], each.detail["state"]) for each in told]


def test_a_runs_states_are_told_once_each(dynamodb: OnDynamoDB, heard: Heard) -> None:
    store = dynamodb.store
    given_dag(store)
    running = given_running_run(store)
    store.update_run(running, replace(running, note="only a note", due_at=at(9)))
    queued, started = heard()
    assert states([queued, started]) == [
        ("DagRun State Change", None, "queued"),
        ("DagRun State Change", "queued", "running"),
    ]
    assert started.detail == {
        "dag_id": "etl",
        "run_id": "manual__1",
        "state": "running",
        "previous_state": "queued",
        "run_type": "manual",
        "logical_date": None,
        "run_after": "2026-03-01T10:00:00.123456Z",
        "start_date": "2026-03-01T10:00:00.123456Z",
        "end_date": None,
        "version_number": 1,
        "reason": None,
    }


def test_a_try_is_told_of_at_each_state_and_not_at_a_heartbeat(dynamodb: OnDynamoDB, heard: Heard) -> None:
    store = dynamodb.store
    given_dag(store)
    given_running_run(store)
    running = given_running_instance(store)
    heard()
    store.heartbeat(running.key, try_number=running.try_number, dispatch_count=running.dispatch_count, at=at(3))
    beating = store.get_instance(running.key)
    assert beating is not None
    ended = transition.fail(beating, at=at(5), reason="it is broken")
    store.move(ended)
    store.move(ended)
    (failed,) = heard()
    assert states([failed]) == [("TaskInstance State Change", "running", "failed")]
    about = {name: failed.detail[name] for name in ("task_id", "map_index", "try_number", "reason")}
    assert about == {"task_id": "extract", "map_index": -1, "try_number": running.try_number, "reason": "it is broken"}


def test_a_deleted_run_is_no_news(dynamodb: OnDynamoDB, heard: Heard) -> None:
    run = a_run(state=DagRunState.FAILED)
    given_dag(dynamodb.store)
    dynamodb.store.create_run(run)
    heard()
    dynamodb.store.delete_run(run)
    assert heard() == []


def test_a_deadline_is_told_of_when_it_is_missed(dynamodb: OnDynamoDB, heard: Heard) -> None:
    deadline = Callback(
        dag_id="etl",
        run_id="manual__1",
        callback_id="deadline/0",
        kind=CallbackKind.DEADLINE,
        event="missed",
        state=CallbackState.SCHEDULED,
        created_at=NOW,
        updated_at=NOW,
        due_at=at(60),
        name="in a minute",
    )
    store = dynamodb.store
    store.create_run(a_run(), callbacks=[CallbackMove(None, deadline)])
    heard()
    missed = miss(deadline, at=at(61))
    store.move_callback(missed)
    assert missed.after is not None
    store.move_callback(queue(missed.after, at=at(62)))
    (told,) = heard()
    assert told.kind is Kind.DEADLINE
    assert told.detail == {
        "dag_id": "etl",
        "run_id": "manual__1",
        "name": "in a minute",
        "deadline": "2026-03-01T10:01:00.123456Z",
    }


def test_a_required_action_is_told_of_when_it_is_asked_for_and_done(dynamodb: OnDynamoDB, heard: Heard) -> None:
    store = dynamodb.store
    given_dag(store)
    given_running_run(store)
    waiting = given_awaiting(store, a_question())
    store.move(answer(waiting, at=at(5), answer=YES, try_number=1))
    told = [each for each in heard() if each.kind is Kind.REQUIRED_ACTION]
    assert [each.detail["state"] for each in told] == ["asked", "answered"]
    assert told[0].detail["subject"] == "Shall it?"
    assert told[0].detail["options"] == ["yes", "no"]


def test_an_import_error_is_told_of_when_it_comes_changes_and_goes(dynamodb: OnDynamoDB, heard: Heard) -> None:
    problem = ImportProblem(
        import_error_id=1, filename="a.py", bundle_name="dags", stack_trace="x" * 20_000, timestamp=NOW
    )
    store = dynamodb.store
    store.put_import_problem(problem)
    store.put_import_problem(replace(problem, timestamp=at(5)))
    store.put_import_problem(replace(problem, stack_trace="other"))
    store.delete_import_problem("a.py")
    told = heard()
    assert [each.detail["state"] for each in told] == ["new", "changed", "resolved"]
    assert len({each.event_id for each in told}) == 3
    assert told[0].detail["filename"] == "a.py"
    assert len(told[0].detail["stack_trace"]) == 10_000
