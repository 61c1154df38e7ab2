"""Tasks that wait in a trigger of this folder's own."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, task, task_group
from waits import PAUSE, BearsFailures, CountsDown, DeferringSensor, EndsInTrigger, Relay, StartsInTrigger

SOON = timedelta(seconds=1)

with DAG("deferrals", schedule=None):
    CountsDown(task_id="fires", payload={"run": "{{ run_id }}"}) >> EmptyOperator(task_id="after")
    CountsDown(task_id="fires_without_payload")
    CountsDown(task_id="breaks", end="raise")
    CountsDown(task_id="says_nothing", end="nothing")
    CountsDown(task_id="is_too_slow", seconds=60, patience=PAUSE)
    BearsFailures(task_id="bears_break", end="raise")
    BearsFailures(task_id="bears_timeout", seconds=60, patience=PAUSE)
    Relay(task_id="relay", laps=3)


with DAG("ends_of_triggers", schedule=None):
    CountsDown(task_id="succeeds", end="succeed", payload=[1]) >> EmptyOperator(task_id="after_success")
    CountsDown(task_id="fails", end="fail", retries=1, retry_delay=SOON) >> EmptyOperator(task_id="after_failure")
    CountsDown(task_id="skips", end="skip") >> EmptyOperator(task_id="after_skip")


with DAG("starts_from_triggers", schedule=None):
    StartsInTrigger(task_id="starts") >> EmptyOperator(task_id="after")
    EndsInTrigger(task_id="ends")
    DateTimeSensorAsync(task_id="at_the_hour", target_time="{{ logical_date }}", start_from_trigger=True)
    DateTimeSensorAsync(task_id="long_ago", target_time="2026-01-01T00:00:00+00:00", start_from_trigger=True)


with DAG("deferrals_tried_again", schedule=None):

    class BreaksOnce(CountsDown):
        def execute(self, context):
            self.end = "raise" if context["ti"].try_number == 1 else "fire"
            super().execute(context)

    class FailsOnceResumed(CountsDown):
        def resume(self, context, event=None, known=None):
            if context["ti"].try_number == 1:
                raise ValueError("not this time")
            return event

    BreaksOnce(task_id="breaks_once", payload="fine", retries=1, retry_delay=SOON)
    FailsOnceResumed(task_id="fails_once_resumed", payload="fine", retries=1, retry_delay=SOON)
    CountsDown(task_id="always_too_slow", seconds=60, patience=PAUSE, retries=1, retry_delay=SOON)


with DAG("mapped_deferrals", schedule=None):
    counted = CountsDown.partial(task_id="counts").expand_kwargs(
        [{"payload": "one"}, {"payload": "two", "seconds": 8}, {"end": "raise"}]
    )

    @task(trigger_rule="all_done")
    def together(values):
        return list(values)

    together(counted.output)

    @task_group
    def each(number):
        CountsDown(task_id="waits", payload="in a group") >> EmptyOperator(task_id="after")

    each.expand(number=[1, 2])


with DAG("deferring_sensors", schedule=None):
    TimeDeltaSensor(task_id="time_has_passed", delta=SOON, deferrable=True)
    DeferringSensor(task_id="in_time", seconds=PAUSE, timeout=60)
    DeferringSensor(task_id="too_late", seconds=60, timeout=PAUSE)
    DeferringSensor(task_id="too_late_but_soft", seconds=60, timeout=PAUSE, soft_fail=True) >> EmptyOperator(
        task_id="after_soft_failure"
    )
