"""Tasks that ask people. The answers, and their moments, are in tests/oracle/features.py."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import (
    ApprovalOperator,
    HITLBranchOperator,
    HITLEntryOperator,
    HITLOperator,
)
from airflow.sdk import DAG, Param, dag, task


@task(trigger_rule="all_done")
def heard(said):
    """What was said, without the moment."""
    return said and {name: value for name, value in said.items() if name != "responded_at"}


@task(trigger_rule="all_done")
def after(ti=None):
    return ti.try_number


@dag(schedule=None)
def asks_and_is_answered():
    ask = HITLOperator(
        task_id="ask",
        subject="{{ ti.task_id }} of {{ run_id }}",
        body="*Which*?",
        options=["a", "b", "c"],
        multiple=True,
        params={"how": Param("soon", type="string"), "often": 2},
    )
    heard(ask.output) >> after()


asks_and_is_answered()

for answer in ("approved", "rejected"):
    with DAG(f"asks_and_is_{answer}", schedule=None):
        ask = ApprovalOperator(task_id="ask", subject="Shall it?")
        ask >> EmptyOperator(task_id="next") >> EmptyOperator(task_id="last")
        ask >> EmptyOperator(task_id="whatever", trigger_rule="all_done")

with DAG("asks_and_is_rejected_for_all", schedule=None):
    ask = ApprovalOperator(task_id="ask", subject="Shall it?", ignore_downstream_trigger_rules=True)
    ask >> EmptyOperator(task_id="next") >> EmptyOperator(task_id="whatever", trigger_rule="all_done")


@dag(schedule=None)
def asks_which_way():
    ask = HITLBranchOperator(
        task_id="ask", subject="Where?", options=["left", "r", "none"], multiple=True, options_mapping={"r": "right"}
    )
    ask >> [EmptyOperator(task_id=way) for way in ("left", "right", "none")] >> after()


asks_which_way()


@dag(schedule=None)
def asks_until_the_time_is_up():
    entry = HITLEntryOperator(
        task_id="ask", subject="How many?", params={"n": 3}, response_timeout=timedelta(seconds=8)
    )
    heard(entry.output)
    failing = HITLOperator(
        task_id="ask_without_defaults",
        subject="?",
        options=["a"],
        response_timeout=timedelta(seconds=8),
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
    failing >> after()


asks_until_the_time_is_up()


@dag(schedule=None)
def asks_again_after_failing():
    ask = ApprovalOperator(
        task_id="ask",
        subject="Try {{ ti.try_number }}",
        fail_on_reject=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
    ask >> after()


asks_again_after_failing()


@dag(schedule=None)
def asks_of_each():
    # Long enough for the answer to one of them to come before, also on a busy machine.
    ask = HITLOperator.partial(
        task_id="ask", options=["yes", "no"], defaults="no", response_timeout=timedelta(seconds=60)
    ).expand(subject=["one", "two"])
    heard.expand(said=ask.output)


asks_of_each()


@dag(schedule=None)
def asks_and_is_cleared():
    ask = HITLOperator(task_id="ask", subject="Try {{ ti.try_number }}", options=["a", "b"])
    heard(ask.output)


asks_and_is_cleared()


@dag(schedule=None)
def asks_and_is_marked():
    HITLOperator(task_id="ask", subject="?", options=["a"]) >> after()


asks_and_is_marked()


@dag(schedule=None, dagrun_timeout=timedelta(seconds=40))
def asks_longer_than_its_run_may_take():
    HITLOperator(task_id="ask", subject="?", options=["a"]) >> after()


asks_longer_than_its_run_may_take()
