"""Sensors: in place, rescheduled, and on other DAGs' runs of the same logical date."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, PokeReturnValue, task, task_group
from outcomes import FAILED, SKIPPED, SUCCESS, each_ending, ending


def empty(task_id):
    return EmptyOperator(task_id=task_id)


with DAG("looked_at", schedule=None):
    ending("slow", SUCCESS, after=4) >> empty("done")
    ending("fails", FAILED)
    ending("skips", SKIPPED)
    each_ending("mapped", [SUCCESS, SUCCESS])

    @task_group
    def group():
        ending("one", SUCCESS) >> empty("two")

    group()


def looks_at(how_it_waits, **how):
    """Sensors that end in every way, of which some never see what they wait for."""

    def on(task_id, **kwargs):
        kwargs = {"external_dag_id": "looked_at", "poke_interval": 8, "timeout": 110} | how | kwargs
        return ExternalTaskSensor(task_id=f"{how_it_waits}_{task_id}", **kwargs)

    on("task", external_task_id="slow") >> empty(f"{how_it_waits}_after")
    on("tasks", external_task_ids=["slow", "done"])
    on("group", external_task_group_id="group")
    whole = on("dag", allowed_states=["success", "failed"])
    # Two successes are not one, so this sensor never sees what it waits for; while the second runs, it would.
    whole >> on("mapped", external_task_id="mapped", timeout=3)
    on("failed", external_task_id="fails", failed_states=["failed"])
    on("skipped", external_task_id="skips", skipped_states=["skipped"]) >> empty(f"{how_it_waits}_after_skip")
    on("other_date", external_task_id="slow", execution_delta=timedelta(days=1), timeout=3)
    on("soft", external_task_id="nothing_like_that", timeout=3, soft_fail=True)


with DAG("looks_at_tasks", schedule=None):
    looks_at("deferred", deferrable=True)
    looks_at("rescheduled", mode="reschedule")


with DAG("sensors", schedule=None):

    def on_poke(number):
        """True from this poke on; a sensor in place keeps the count in itself."""
        count = iter(range(1, 100))
        return lambda: next(count) >= number

    quick = {"poke_interval": 0.5, "timeout": 20}
    PythonSensor(task_id="in_place", python_callable=on_poke(3), **quick) >> empty("after")
    PythonSensor(task_id="in_place_too_late", python_callable=lambda: False, poke_interval=0.5, timeout=1)
    PythonSensor(task_id="in_place_soft", python_callable=lambda: False, poke_interval=0.5, timeout=1, soft_fail=True)
    PythonSensor(
        task_id="silent", python_callable=lambda: 1 / 0, poke_interval=0.5, timeout=1, silent_fail=True, retries=0
    )
    PythonSensor(
        task_id="never_fails", python_callable=lambda: 1 / 0, poke_interval=0.5, timeout=1, never_fail=True
    ) >> empty("after_never_fails")

    @task.sensor(poke_interval=0.5, timeout=20)
    def with_value():
        return PokeReturnValue(is_done=True, xcom_value={"found": 3})

    @task
    def double(value):
        return value["found"] * 2

    double(with_value())


with DAG("rescheduled_sensors", schedule=None):

    def a_while_after_start(dag_run):
        from airflow.sdk import timezone

        return (timezone.utcnow() - dag_run.start_date).total_seconds() > 5

    how = {"mode": "reschedule", "poke_interval": 8}
    PythonSensor(task_id="in_time", python_callable=a_while_after_start, timeout=60, **how) >> empty("after")
    PythonSensor(task_id="too_late", python_callable=lambda: False, timeout=3, **how)
    PythonSensor(task_id="too_late_soft", python_callable=lambda: False, timeout=3, soft_fail=True, **how)
    PythonSensor(
        # The timeout counts from the first poke of the first try, and ends all tries.
        task_id="too_late_with_retries",
        python_callable=lambda: False,
        timeout=3,
        retries=2,
        retry_delay=timedelta(seconds=1),
        **how,
    )

    def breaks_once(ti):
        if ti.try_number == 1:
            raise ValueError("broken")
        return True

    PythonSensor(
        task_id="breaks", python_callable=breaks_once, timeout=60, retries=1, retry_delay=timedelta(seconds=1), **how
    )

    PythonSensor.partial(
        task_id="mapped",
        python_callable=lambda late, dag_run: a_while_after_start(dag_run) or not late,
        timeout=60,
        **how,
    ).expand(op_args=[[True], [False]])
