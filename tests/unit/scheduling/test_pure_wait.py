"""Serialized time triggers of the standard provider are recognized, and give the provider's event."""

import json
from datetime import UTC, datetime, timedelta

import pendulum
import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger, TimeDeltaTrigger
from airflow.sdk.serde import deserialize, serialize

from gust.model.task_instance import ParkedTrigger
from gust.scheduling.pure_wait import encoded_moment, pure_wait

MOMENT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


def parked(classpath, kwargs):
    """As the worker parks it: encoded by serde, through JSON."""
    return ParkedTrigger(classpath=classpath, kwargs=json.loads(json.dumps(serialize(kwargs))), next_method="go")


@pytest.mark.parametrize("ends_task", [True, False])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_date_time_trigger(ends_task, zone):
    moment = pendulum.instance(MOMENT).in_timezone(zone)
    wait = pure_wait(parked(*DateTimeTrigger(moment, end_from_trigger=ends_task).serialize()), since=None)
    assert wait is not None
    assert (wait.until, wait.ends_task) == (MOMENT, ends_task)


def test_a_target_time_in_words():
    wait = pure_wait(parked(*DateTimeTrigger(target_time="2026-03-01T18:00:00+05:30").serialize()), since=None)
    assert wait is not None
    assert wait.until == MOMENT.replace(microsecond=0)


def test_a_time_delta_trigger_is_a_date_time_trigger_once_it_is_made():
    trigger = TimeDeltaTrigger(timedelta(minutes=5))
    wait = pure_wait(parked(*trigger.serialize()), since=None)
    assert wait is not None
    assert wait.until == trigger.moment


def test_a_time_delta_that_a_task_starts_with_counts_from_its_start():
    classpath = "airflow.providers.standard.triggers.temporal.TimeDeltaTrigger"
    trigger = parked(classpath, {"delta": timedelta(minutes=5), "end_from_trigger": True})
    wait = pure_wait(trigger, since=MOMENT)
    assert wait is not None
    assert (wait.until, wait.ends_task) == (MOMENT + timedelta(minutes=5), True)


def test_the_event_is_the_triggers():
    moment = pendulum.instance(MOMENT)
    event = json.loads(json.dumps(encoded_moment(MOMENT)))
    assert deserialize(event) == moment
    assert event == json.loads(json.dumps(serialize(moment)))


@pytest.mark.parametrize(
    ("classpath", "kwargs"),
    [
        ("airflow.providers.standard.triggers.file.FileTrigger", {"moment": "2026-03-01T12:00:00Z"}),
        ("airflow.providers.standard.triggers.temporal.DateTimeTrigger", {"target_time": "{{ ds }}"}),
        ("airflow.providers.standard.triggers.temporal.DateTimeTrigger", "gAAAAA=="),
        ("airflow.providers.standard.triggers.temporal.DateTimeTrigger", {}),
        (
            "airflow.providers.standard.triggers.temporal.TimeDeltaTrigger",
            {"delta": {"__classname__": "datetime.timedelta", "__data__": 3_000_000 * 86400.0}},
        ),
        (
            "airflow.providers.standard.triggers.temporal.DateTimeTrigger",
            {"moment": {"__classname__": "pendulum.datetime.DateTime", "__data__": {"timestamp": 1e18}}},
        ),
    ],
)
def test_anything_else_is_the_triggerers(classpath, kwargs):
    assert pure_wait(ParkedTrigger(classpath=classpath, kwargs=kwargs, next_method="go"), since=MOMENT) is None
