"""What the emulator's CloudWatch keeps of queues, streams and schedules."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gust.local import ministack
from gust.local.aws_metrics import Queue, Stream, Watch, of_invocation
from gust.local.metrics import Totals, Value

EMPTY = Queue("tasks", 0, 0, 0.0)


def named(values: Iterable[Value]) -> dict[str, float]:
    return {each.name: each.value for each in values}


def test_a_queue_has_values_while_it_has_messages_and_once_more() -> None:
    watch = Watch()
    assert named(watch.look([EMPTY], [], {})) == {}
    found = named(watch.look([Queue("tasks", 2, 1, 7.5)], [], {}))
    assert found == {
        "ApproximateNumberOfMessagesVisible": 2,
        "ApproximateNumberOfMessagesNotVisible": 1,
        "ApproximateAgeOfOldestMessage": 7.5,
    }
    assert set(named(watch.look([EMPTY], [], {})).values()) == {0}
    assert named(watch.look([EMPTY], [], {})) == {}


def test_a_stream_has_an_age_while_records_wait_and_when_they_come() -> None:
    watch = Watch()
    assert named(watch.look([], [Stream("scheduler", 5, 0.0)], {})) == {"IteratorAge": 0}
    assert named(watch.look([], [Stream("scheduler", 5, 0.0)], {})) == {}
    assert named(watch.look([], [Stream("scheduler", 5, 1.5)], {})) == {"IteratorAge": 1500}
    assert named(watch.look([], [Stream("scheduler", 6, 0.0)], {})) == {"IteratorAge": 0}


def test_each_shard_that_a_function_reads_has_an_age() -> None:
    shards = [Stream("events", 5, 0.0, "one"), Stream("events", 9, 3.0, "two")]
    watch = Watch()
    assert [each.value for each in watch.look([], shards, {})] == [0, 3000]
    assert [each.value for each in watch.look([], shards, {})] == [3000], "the other one is read to its end"


def test_a_rule_counts_once_each_time_it_fires() -> None:
    watch = Watch()
    assert named(watch.look([], [], {"tick": 60.0})) == {"TriggeredRules": 1}
    assert named(watch.look([], [], {"tick": 60.0})) == {}
    assert named(watch.look([], [], {"tick": 120.0})) == {"TriggeredRules": 1}


def test_ages_grow_as_fast_as_the_minutes_are_short() -> None:
    watch = Watch(pace=60)
    found = named(watch.look([Queue("tasks", 1, 0, 2.0)], [Stream("scheduler", 1, 2.0)], {}))
    assert (found["ApproximateAgeOfOldestMessage"], found["IteratorAge"]) == (120, 120_000)


def test_prometheus_finds_them_under_the_namespace_of_aws() -> None:
    totals = Totals()
    for value in of_invocation("gust-worker", failed=False, milliseconds=12.0):
        totals.add(value)
    lines = totals.exposition().splitlines()
    assert 'aws_lambda_duration_milliseconds_last{function_name="gust-worker"} 12' in lines
    assert 'aws_lambda_errors_sum{function_name="gust-worker"} 0' in lines


def test_equal_values_of_the_same_moment_are_one_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from ministack.services import cloudwatch

    monkeypatch.setattr(cloudwatch, "_metrics", type(cloudwatch._metrics)())
    for value in (1.23456, 1.23, 2.0, 1.23):
        ministack.record_once("Gust", "Duration", value, dimensions={"Stack": "gust"}, slot=1e9)
    ((_, points),) = cloudwatch._metrics.items()
    assert [(each["Value"], each.get("Count", 1)) for each in points] == [(1.23, 3), (2.0, 1)]
