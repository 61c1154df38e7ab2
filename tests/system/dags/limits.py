"""Who goes first where only one may go, and how many go at once. The last task of each DAG tells the order."""

import time
from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task
from outcomes import FAILED, ending
from waits import CountsDown


def began():
    return time.time()


def step(task_id, **kwargs):
    return PythonOperator(task_id=task_id, python_callable=began, **kwargs)


@task(trigger_rule="all_done", weight_rule="absolute")
def order_of(task_ids, ti=None):
    """The tasks in the order in which they began; of a mapped one each index."""
    found = {}
    for task_id in task_ids:
        pulled = ti.xcom_pull(task_ids=task_id)
        moments = [pulled] if isinstance(pulled, float) else list(pulled)
        found |= {f"{task_id} {index}": moment for index, moment in enumerate(moments)}
    return sorted(found, key=found.get)


for rule in ("absolute", "downstream", "upstream"):
    with DAG(f"priorities_{rule}", schedule=None, max_active_tasks=1, default_args={"weight_rule": rule}):
        gate = step("gate")
        # By their own weights c, b, a; by what hangs on them a, c, b.
        a, b, c = (step(name, priority_weight=weight) for name, weight in (("a", 1), ("b", 2), ("c", 3)))
        gate >> [a, b, c]
        after_a = [step(f"a{number}", priority_weight=5 + number) for number in range(3)]
        a >> after_a
        c >> (after_c := step("c0"))
        names = ["a", "b", "c", "a0", "a1", "a2", "c0"]
        [b, *after_a, after_c] >> order_of(names)


with DAG("one_instance_at_a_time", schedule=None):

    @task(max_active_tis_per_dagrun=1)
    def alone(number):
        return time.time()

    mapped = alone.expand(number=[0, 1, 2, 3])
    mapped >> order_of(["alone"])


with DAG("one_slot_for_all", schedule=None, default_args={"pool": "narrow", "weight_rule": "absolute"}):
    gate = step("gate")
    heavy, light = step("heavy", priority_weight=9), step("light", priority_weight=2)
    middle = step("middle", priority_weight=5)
    gate >> [light, heavy, middle] >> order_of.override(pool="default_pool")(["light", "heavy", "middle"])


@task
def span(number):
    begin = time.time()
    time.sleep(1)
    return [begin, time.time()]


@task
def at_once(spans, most):
    """Whether there were never more than may be."""
    spans = list(spans)
    return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) <= most


with DAG("slots_of_different_width", schedule=None):
    narrow = span.override(task_id="narrow", pool="two_wide").expand(number=[0, 1, 2])
    wide = span.override(task_id="wide", pool="two_wide", pool_slots=2).expand(number=[0, 1])
    at_once(narrow, 2)
    at_once.override(task_id="at_once_wide")(wide, 1)
    at_once.override(task_id="at_once_all")(wide.concat(narrow), 2)


with DAG("deferred_in_a_pool", schedule=None):
    # One that waits in its trigger keeps its slot in a pool that says so: the others wait for it.
    for name, pool in {"keeps": "narrow_for_deferred", "gives_back": "narrow"}.items():
        waits = CountsDown(task_id=name, pool=pool, priority_weight=5)
        waits >> EmptyOperator(task_id=f"after_{name}")
        step(f"beside_{name}", pool=pool)


with DAG("as_many_as_may", schedule=None, max_active_tasks=2):
    at_once(span.expand(number=[0, 1, 2, 3]), 2)


with DAG(
    "gives_up_after_two_failures",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    end_date=datetime(2025, 1, 6),
    catchup=True,
    max_active_runs=1,
    max_consecutive_failed_dag_runs=2,
):
    ending("fails", FAILED)
