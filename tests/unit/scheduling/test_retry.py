"""Delays are Airflow's, to the second, jitter included."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pendulum
from airflow.models.taskinstance import TaskInstance as AirflowTaskInstance
from hypothesis import example, given
from hypothesis import strategies as st

from gust.model.dag_spec import TaskSpec
from gust.scheduling import retry
from tests.unit.scheduling.given import NOW, ti

FAILED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(
    delay=st.one_of(st.floats(0, 3600), st.integers(0, 600).map(float)),
    multiplier=st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, -1.0]),
    longest=st.sampled_from([None, 30.0, 3600.0]),
    try_number=st.integers(1, 20),
    logical_date=st.sampled_from([None, NOW, NOW + timedelta(microseconds=1)]),
    override=st.sampled_from([None, None, 0.0, 17.5]),
)
@example(delay=300.0, multiplier=2.0, longest=None, try_number=5000, logical_date=NOW, override=None)
def test_next_retry_is_airflows(*, delay, multiplier, longest, try_number, logical_date, override):
    task = TaskSpec(
        task_id="a", retry_delay=delay, retry_exponential_backoff=multiplier, max_retry_delay=longest, retries=1
    )
    # The spec has whole microseconds, as the timedelta it comes from.
    task = task.model_copy(update={"retry_delay": timedelta(seconds=delay).total_seconds()})
    actual = retry.next_retry_at(
        task, ti("a", try_number=try_number), logical_date=logical_date, failed_at=FAILED_AT, delay_override=override
    )
    assert actual == airflow_next_retry(task, try_number, logical_date, override)


def airflow_next_retry(task: TaskSpec, try_number: int, logical_date: datetime | None, override: float | None) -> Any:
    failed: Any = SimpleNamespace(
        dag_id="dag",
        task_id="a",
        try_number=try_number,
        logical_date=logical_date and pendulum.instance(logical_date),
        end_date=FAILED_AT,
        retry_delay_override=override,
        log=SimpleNamespace(warning=lambda *_: None),
        task=SimpleNamespace(
            retry_delay=timedelta(seconds=task.retry_delay),
            retry_exponential_backoff=task.retry_exponential_backoff,
            max_retry_delay=None if task.max_retry_delay is None else timedelta(seconds=task.max_retry_delay),
        ),
    )
    return AirflowTaskInstance.next_retry_datetime(failed)


def test_tries_remain_as_long_as_retries_do():
    assert [retry.is_eligible(ti("a", try_number=n, max_tries=2)) for n in (1, 2, 3)] == [True, True, False]
    assert not retry.is_eligible(ti("a", try_number=0, max_tries=0))
