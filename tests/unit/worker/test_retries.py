"""Whether and when a failed try is tried again, from the file to the next start."""

from datetime import timedelta

import pytest

from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
import time
from datetime import timedelta
from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryDecision, RetryPolicy, RetryRule, task

def say(what):
    return lambda context: print("said", what, context["ti"].try_number, type(context["exception"]).__name__)

CALLBACKS = {f"on_{kind}_callback": say(kind) for kind in ("success", "failure", "retry")}

class Throttled(Exception): ...

POLICY = ExceptionRetryPolicy(rules=[
    RetryRule(Throttled, retry_delay=timedelta(seconds=90), reason="slow down"),
    RetryRule(KeyError, action=RetryAction.FAIL, reason="no use"),
])

class Patient(RetryPolicy):
    def evaluate(self, exception, try_number, max_tries, context=None):
        return RetryDecision.retry(delay=timedelta(minutes=10 * try_number), reason=f"try {try_number} of {max_tries}")
"""


def failing(whole: Whole, arguments: str, body: str) -> DagRunKey:
    lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
    whole.upload(
        d=f"{HEAD}\nwith DAG('d'):\n    @task({arguments}, **CALLBACKS)\n    def t(**context):\n{lines}\n    t()\n"
    )
    key = whole.trigger()
    whole.work(key)
    return key


def wait(whole: Whole, key: DagRunKey) -> timedelta:
    """From the end of the try to the start of the next."""
    instance = whole.instance(key, "t")
    assert instance.state is S.UP_FOR_RETRY
    assert instance.due_at
    assert instance.end_date
    return instance.due_at - instance.end_date


def test_a_policy_says_how_long_to_wait_for_one_kind_of_error(whole: Whole) -> None:
    key = failing(whole, "retries=2, retry_delay=timedelta(minutes=5), retry_policy=POLICY", "raise Throttled()")

    assert wait(whole, key) == timedelta(seconds=90)
    assert whole.instance(key, "t").reason == "slow down"
    assert whole.said("said ") == ["retry 1 Throttled"]


def test_a_policy_says_that_another_kind_is_of_no_use(whole: Whole) -> None:
    key = failing(whole, "retries=2, retry_policy=POLICY", "raise KeyError('x')")

    assert whole.run(key).state is DagRunState.FAILED
    assert whole.instance(key, "t").try_number == 1
    assert whole.said("said ") == ["failure 1 KeyError"]


def test_what_a_policy_does_not_know_goes_by_the_tasks_own_rules(whole: Whole) -> None:
    key = failing(whole, "retries=2, retry_delay=timedelta(minutes=5), retry_policy=POLICY", "raise OSError()")

    assert wait(whole, key) == timedelta(minutes=5)


def test_a_policy_of_ones_own_is_asked_at_each_try_and_bound_by_retries(whole: Whole) -> None:
    key = failing(whole, "retries=2, retry_policy=Patient()", "raise OSError()")
    assert wait(whole, key) == timedelta(minutes=10)
    whole.clock.advance(601)
    advance(whole.services, key)
    whole.run_tasks()
    assert wait(whole, key) == timedelta(minutes=20)
    whole.clock.advance(1201)

    assert whole.work(key).state is DagRunState.FAILED
    assert whole.said("said ") == ["retry 1 OSError", "retry 2 OSError", "failure 3 OSError"]


def test_a_delay_of_a_policy_holds_for_its_try_alone(whole: Whole) -> None:
    body = """
if context["ti"].try_number == 1:
    raise Throttled()
raise OSError()
"""
    key = failing(whole, "retries=2, retry_delay=timedelta(minutes=5), retry_policy=POLICY", body)
    assert wait(whole, key) == timedelta(seconds=90)
    whole.clock.advance(91)
    advance(whole.services, key)
    whole.run_tasks()

    assert wait(whole, key) == timedelta(minutes=5)


def test_a_task_that_takes_too_long_is_stopped_and_tried_again(whole: Whole) -> None:
    arguments = "retries=1, retry_delay=timedelta(minutes=5), execution_timeout=timedelta(seconds=1)"
    key = failing(whole, arguments, "time.sleep(60)")
    assert wait(whole, key) == timedelta(minutes=5)
    whole.clock.advance(301)

    assert whole.work(key).state is DagRunState.FAILED
    assert whole.said("said ") == ["retry 1 AirflowTaskTimeout", "failure 2 AirflowTaskTimeout"]


def test_tries_are_numbered_and_kept_as_airflow_keeps_them(whole: Whole) -> None:
    key = failing(whole, "retries=1, retry_delay=timedelta(minutes=5)", "raise OSError()")
    whole.clock.advance(301)
    whole.work(key)

    (first,) = whole.store.list_tries(key.task_instance("t"))
    assert (first.try_number, first.state) == (1, S.FAILED)
    last = whole.instance(key, "t")
    assert (last.try_number, last.max_tries, last.state) == (2, 1, S.FAILED)
