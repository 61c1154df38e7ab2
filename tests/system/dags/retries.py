"""Tries: how many, how long between them, what ends them early, and what they know of each other."""

import time
from datetime import timedelta

from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryDecision, RetryPolicy, RetryRule, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

SOON = timedelta(seconds=1)


class Flaky(Exception):
    """Goes away by itself."""


class Hopeless(Flaky):
    """Does not."""


class GiveUpOnHopeless(RetryPolicy):
    def evaluate(self, exception, try_number, max_tries, context=None):
        if isinstance(exception, Hopeless):
            return RetryDecision.fail(f"hopeless after {try_number} of {max_tries}")
        return RetryDecision.retry(delay=SOON, reason="flaky")


with DAG("tries", schedule=None):

    @task(retries=2, retry_delay=SOON)
    def third_time_lucky(ti=None):
        if ti.try_number < 3:
            raise AirflowException("not yet")
        return ti.try_number

    @task(retries=1, retry_delay=SOON)
    def never():
        raise AirflowException("never")

    @task(retries=3, retry_delay=SOON)
    def gives_up(ti=None):
        if ti.try_number == 2:
            raise AirflowFailException("no use")
        raise AirflowException("not yet")

    @task(retries=1, retry_delay=SOON)
    def skips(ti=None):
        if ti.try_number == 2:
            raise AirflowSkipException("not needed after all")
        raise AirflowException("not yet")

    @task(retries=1, retry_delay=SOON)
    def xcoms_go_with_their_try(ti=None):
        ti.xcom_push(f"try_{ti.try_number}", ti.try_number)
        ti.xcom_push("last", ti.try_number)
        if ti.try_number == 1:
            raise AirflowException("once more")

    @task(retries=1, retry_delay=SOON)
    def exits(ti=None):
        import os

        if ti.try_number == 1:
            os._exit(7)
        return "lives"

    third_time_lucky()
    never()
    gives_up()
    skips()
    xcoms_go_with_their_try()
    exits()


with DAG("time_between_tries", schedule=None):

    @task(retries=1)
    def waits(ti=None):
        if ti.try_number == 1:
            raise AirflowException("not yet")

    waits.override(task_id="constant", retry_delay=timedelta(seconds=2))()
    waits.override(task_id="growing", retry_delay=SOON, retry_exponential_backoff=True)()
    waits.override(
        task_id="bounded",
        retry_delay=timedelta(minutes=5),
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(seconds=2),
    )()
    waits.override(task_id="by_factor", retry_delay=SOON, retry_exponential_backoff=1.5)()


with DAG("retry_policies", schedule=None):
    by_rules = ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=Hopeless, action=RetryAction.FAIL, reason="it is hopeless"),
            RetryRule(exception=Flaky, action=RetryAction.RETRY, retry_delay=SOON),
        ]
    )

    @task(retries=2, retry_delay=timedelta(minutes=10))
    def fails_with(kind, ti=None):
        if ti.try_number < 3:
            raise {"flaky": Flaky, "hopeless": Hopeless}[kind](kind)
        return ti.try_number

    fails_with.override(task_id="flaky_by_rules", retry_policy=by_rules)("flaky")
    fails_with.override(task_id="hopeless_by_rules", retry_policy=by_rules)("hopeless")
    fails_with.override(task_id="flaky_by_policy", retry_policy=GiveUpOnHopeless())("flaky")
    fails_with.override(task_id="hopeless_by_policy", retry_policy=GiveUpOnHopeless())("hopeless")
    # A policy cannot give more tries than there are.
    fails_with.override(task_id="runs_out", retries=1, retry_policy=GiveUpOnHopeless())("flaky")
    fails_with.override(task_id="without_retries", retries=0, retry_policy=GiveUpOnHopeless())("flaky")


with DAG("execution_timeouts", schedule=None):

    @task(execution_timeout=timedelta(seconds=1))
    def too_slow():
        time.sleep(30)

    @task(execution_timeout=timedelta(seconds=1), retries=1, retry_delay=SOON)
    def faster_next_time(ti=None):
        if ti.try_number == 1:
            time.sleep(30)
        return ti.try_number

    too_slow()
    faster_next_time()
