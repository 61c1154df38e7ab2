"""Branches, short circuits and latest-only: what they skip, what joins again, and the same inside mapped groups."""

from datetime import datetime

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, TriggerRule, dag, task, task_group
from outcomes import SUCCESS, ending

RULES = sorted(rule.value for rule in TriggerRule)
JOIN = "none_failed_min_one_success"


def empty(task_id, **kwargs):
    return EmptyOperator(task_id=task_id, **kwargs)


with DAG("branch_and_join", schedule=None):
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "left")
    choose >> empty("left") >> (join := empty("join", trigger_rule=JOIN))
    choose >> empty("right") >> empty("further_right") >> join
    choose >> join
    join >> empty("after")


with DAG("branch_under_every_rule", schedule=None):
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: ["taken"])
    choose >> (taken := empty("taken"))
    choose >> (left_out := empty("left_out"))
    for rule in RULES:
        [taken, left_out] >> empty(f"both_{rule}", trigger_rule=rule)
        left_out >> empty(f"left_out_{rule}", trigger_rule=rule)
        choose >> empty(rule, trigger_rule=rule)


with DAG("branch_into_groups", schedule=None):
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: ["quick", "alone"])

    @task_group
    def quick():
        empty("first") >> empty("second")

    @task_group
    def slow():
        [empty("first"), empty("second")] >> empty("third", trigger_rule="all_done")

    choose >> [quick(), slow()] >> empty("join", trigger_rule=JOIN)
    choose >> [empty("alone"), empty("also")]


with DAG("branch_to_nothing", schedule=None):
    for name, chosen in {"none": None, "no_list": []}.items():
        choose = BranchPythonOperator(task_id=name, python_callable=lambda chosen=chosen: chosen)
        choose >> [empty(f"{name}_a"), empty(f"{name}_b")] >> empty(f"{name}_join", trigger_rule=JOIN)


with DAG("branch_astray", schedule=None):
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "nowhere")
    choose >> [empty("a"), empty("b")]


with DAG("branch_past_its_join", schedule=None):
    # What follows from the chosen task is not skipped, though it is downstream of what was not chosen, too.
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "b")
    choose >> empty("a") >> (c := empty("c"))
    choose >> (b := empty("b")) >> c
    c >> empty("d", trigger_rule="none_failed")


class ByDay(BaseBranchOperator):
    def choose_branch(self, context):
        return f"day_{context['logical_date'].day}"


with DAG("branch_of_ones_own", schedule=None):
    ByDay(task_id="by_day") >> [empty(f"day_{number}") for number in (3, 4, 5)]


with DAG("short_circuits", schedule=None):
    for ignoring in (True, False):
        name = "ignoring" if ignoring else "respecting"
        stop = ShortCircuitOperator(
            task_id=name, python_callable=lambda: False, ignore_downstream_trigger_rules=ignoring
        )
        first, last = empty(f"{name}_first"), empty(f"{name}_last", trigger_rule="all_done")
        stop >> first >> [empty(f"{name}_always", trigger_rule="always"), empty(f"{name}_second")] >> last
        stop >> empty(f"{name}_at_once", trigger_rule="all_done")
        with_another = empty(f"{name}_with_another", trigger_rule=JOIN)
        [first, ending(f"{name}_aside", SUCCESS)] >> with_another
    go_on = ShortCircuitOperator(task_id="go_on", python_callable=lambda: "yes")
    go_on >> empty("went_on")


with DAG("short_circuit_before_teardown", schedule=None):
    for ignoring in (True, False):
        name = "ignoring" if ignoring else "respecting"
        made = empty(f"{name}_make").as_setup()
        stop = ShortCircuitOperator(
            task_id=name, python_callable=lambda: False, ignore_downstream_trigger_rules=ignoring
        )
        made >> stop >> empty(f"{name}_use") >> empty(f"{name}_remove").as_teardown(setups=made)


with DAG("branch_before_teardown", schedule=None):
    made = empty("make").as_setup()
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "use")
    removed = empty("remove").as_teardown(setups=made)
    made >> choose >> [empty("use"), empty("do_not_use")] >> removed


with DAG("conditions_of_tasks", schedule=None):

    @task.run_if(lambda context: context["params"].get("run", False), skip_message="not now")
    @task.python
    def runs_if():
        return 1

    @task.skip_if(lambda context: context["params"].get("skip", False))
    @task.python
    def skips_if():
        return 2

    @task.short_circuit
    def stop_on(number):
        return number > 1

    @task.branch
    def choose(number):
        return "one" if number == 1 else "two"

    runs_if() >> empty("after_skip")
    found = skips_if()
    stop_on(found) >> empty("goes_on")
    choose(found) >> [empty("one"), empty("two")]


@dag(schedule=None)
def branch_inside_mapped_group():
    @task_group
    def each(number):
        @task.branch
        def choose(number):
            return {0: "each.zero", 1: "each.one"}.get(number, ["each.zero", "each.one"])

        choose(number) >> [empty("zero"), empty("one")] >> empty("join", trigger_rule=JOIN)

    each.expand(number=[0, 1, 2]) >> empty("after", trigger_rule="none_failed")


branch_inside_mapped_group()


@dag(schedule=None)
def short_circuit_inside_mapped_group():
    for ignoring in (True, False):

        @task_group("ignoring" if ignoring else "respecting")
        def each(number, ignoring=ignoring):
            @task.short_circuit(ignore_downstream_trigger_rules=ignoring)
            def goes_on(number):
                return number > 0

            goes_on(number) >> empty("use") >> empty("at_the_end", trigger_rule="all_done")

        each.expand(number=[0, 1]) >> empty(f"after_{ignoring}", trigger_rule="all_done")


short_circuit_inside_mapped_group()


@dag(schedule=None)
def mapped_branch():
    """A branch operator that is mapped itself skips by each of its instances."""

    @task.branch
    def choose(branch):
        return branch

    choose.expand(branch=["a", "b"]) >> [empty("a"), empty("b"), empty("c")] >> empty("join", trigger_rule=JOIN)


mapped_branch()


@dag(schedule=None)
def mapped_short_circuit():
    @task.short_circuit
    def goes_on(number):
        return number > 0

    goes_on.expand(number=[0, 1]) >> empty("next") >> empty("last", trigger_rule="all_done")


mapped_short_circuit()


@dag(schedule=None)
def branch_to_mapped():
    @task.branch
    def choose():
        return ["taken", "group.taken"]

    @task
    def taken(number):
        return number

    @task_group
    def group():
        choosing >> taken.expand(number=[1, 2])
        choosing >> taken.override(task_id="left_out").expand(number=[1, 2])

    choosing = choose()
    choosing >> taken.expand(number=[3, 4]) >> empty("after_taken")
    choosing >> taken.override(task_id="left_out").expand(number=[3, 4]) >> empty("after_left_out")
    group()


branch_to_mapped()


with DAG("latest_only_by_hand", schedule=None):
    LatestOnlyOperator(task_id="latest_only") >> empty("recent") >> empty("join", trigger_rule="none_failed")


with DAG(
    "latest_only_on_schedule",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    end_date=datetime(2025, 1, 3),
    catchup=True,
):
    latest = LatestOnlyOperator(task_id="latest_only")
    latest >> empty("recent") >> empty("after")
    latest >> empty("even_so", trigger_rule="all_done")
