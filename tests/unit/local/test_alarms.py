"""The local stack's alarms, evaluated as CloudWatch does."""

from __future__ import annotations

from typing import Any

import pytest

from gust.local.alarms import Point, can_evaluate, evaluate

NOW = 1_000_000.0


def an_alarm(**changes: Any) -> dict[str, Any]:
    return {
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 5,
        "DatapointsToAlarm": 3,
        "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmConfigurationUpdatedTimestamp": NOW - 3600,
        "StateValue": "INSUFFICIENT_DATA",
        **changes,
    }


def minutes_ago(*minutes: float, value: float = 1.0) -> list[Point]:
    return [Point(NOW - 60 * each, value) for each in minutes]


def state(alarm: dict[str, Any], points: list[Point], **options: Any) -> str:
    return evaluate(alarm, points, now=NOW, **options).state


def test_so_many_periods_of_so_many_set_it_off() -> None:
    assert state(an_alarm(), minutes_ago(0.5, 2.5)) == "OK"
    assert state(an_alarm(), minutes_ago(0.5, 2.5, 4.5)) == "ALARM"
    assert state(an_alarm(), minutes_ago(0.5, 0.6, 0.7)) == "OK", "three errors of one minute are one period"


def test_without_such_a_number_every_period_must_cross() -> None:
    always = an_alarm(DatapointsToAlarm=None, Statistic="Minimum")
    waiting = minutes_ago(0.5, 1.5, 2.5, 3.5, 4.5)
    assert state(always, waiting) == "ALARM"
    assert state(always, [*waiting, Point(NOW - 200, 0)]) == "OK"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("notBreaching", "OK"), ("breaching", "ALARM"), ("missing", "INSUFFICIENT_DATA"), ("ignore", "OK")],
)
def test_a_metric_without_values_is_judged_as_the_alarm_says(missing: str, expected: str) -> None:
    assert state(an_alarm(TreatMissingData=missing, StateValue="OK"), []) == expected


def test_the_time_before_the_alarm_was_made_says_nothing() -> None:
    new = an_alarm(
        TreatMissingData="breaching",
        Period=300,
        EvaluationPeriods=1,
        DatapointsToAlarm=None,
        AlarmConfigurationUpdatedTimestamp=NOW - 200,
    )
    assert state(new, []) == "INSUFFICIENT_DATA"
    assert state(new | {"AlarmConfigurationUpdatedTimestamp": NOW - 301}, []) == "ALARM"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Sum", "ALARM"), ("SampleCount", "ALARM"), ("Maximum", "OK"), ("Minimum", "OK"), ("Average", "OK")],
)
def test_a_value_counts_as_often_as_it_came(name: str, expected: str) -> None:
    alarm = an_alarm(Statistic=name, EvaluationPeriods=1, DatapointsToAlarm=None, Threshold=10)
    assert state(alarm, [Point(NOW - 1, 2.0, 12.0)]) == expected


def test_a_test_may_have_shorter_minutes() -> None:
    seconds_ago = [Point(NOW - each, 1.0) for each in (0.5, 1.5, 2.5)]
    assert state(an_alarm(), seconds_ago) == "OK"
    assert state(an_alarm(), seconds_ago, minute=1.0) == "ALARM"


def test_other_kinds_of_alarms_are_left_alone() -> None:
    assert can_evaluate(an_alarm())
    assert not can_evaluate(an_alarm(Statistic=None, ExtendedStatistic="p99"))
    assert not can_evaluate(an_alarm(ComparisonOperator="GreaterThanUpperThreshold"))
