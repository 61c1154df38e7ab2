"""All trigger rules over upstreams that ended differently: plain ones, mapped ones, groups, mapped groups."""

from itertools import combinations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG, TaskGroup, TriggerRule, task, task_group
from outcomes import FAILED, SKIPPED, SUCCESS, each_ending, end, ending

RULES = sorted(rule.value for rule in TriggerRule)
WAITING = [rule for rule in RULES if rule != "always"]
"""Those that Airflow allows inside a mapped group."""


def one_for_each_rule(upstreams, rules=RULES):
    """Under every rule a task that waits for all the upstreams."""
    for rule in rules:
        upstreams >> EmptyOperator(task_id=rule, trigger_rule=rule)


with DAG("rules_over_pairs", schedule=None):
    # Where something failed and something else was skipped, what is seen first counts: one ends after the other.
    failed = ending("failed", FAILED)
    ends = {
        "failed": failed,
        "skipped": ending("skipped", SKIPPED, trigger_rule="all_done"),
        "success": ending("success", SUCCESS),
        "broken": EmptyOperator(task_id="broken"),  # upstream_failed: the fourth way to end
    }
    failed >> [ends["skipped"], ends["broken"]]
    for (one, ended), (other, also_ended) in combinations(ends.items(), 2):
        with TaskGroup(f"{one}_and_{other}"):
            one_for_each_rule([ended, also_ended])


with DAG("rules_over_mapped", schedule=None):
    for name, outcomes in {
        "all_well": [SUCCESS, SUCCESS],
        "first_failed": [SUCCESS, FAILED, SKIPPED],
        "first_skipped": [SKIPPED, FAILED, SUCCESS],
        "nothing_done": [SKIPPED, SKIPPED],
        "of_length_zero": [],
    }.items():
        with TaskGroup(name):
            one_for_each_rule(each_ending("each", outcomes, max_active_tis_per_dagrun=1))


with DAG("rules_over_mapped_and_plain", schedule=None):
    mixed = each_ending("mixed", [SUCCESS, FAILED])
    mixed >> (skipped := ending("skipped", SKIPPED, trigger_rule="all_done"))
    one_for_each_rule([mixed, skipped])


with DAG("rules_over_groups", schedule=None):

    @task_group
    def two_ends():
        first = ending("first", SUCCESS)
        first >> [ending("well", SUCCESS), ending("badly", FAILED)]

    @task_group
    def after():
        one_for_each_rule([])

    two_ends() >> after()


with DAG("rules_inside_mapped_group", schedule=None):

    @task_group
    def each(outcome):
        ended = task(end, task_id="ended", max_active_tis_per_dagrun=1)(outcome)
        one_for_each_rule(ended, WAITING)

    one_for_each_rule(each.expand(outcome=[SUCCESS, FAILED, SKIPPED]))


with DAG("rules_after_group_whose_length_comes_late", schedule=None):

    @task
    def outcomes():
        return [SUCCESS, SKIPPED]

    @task_group
    def each(outcome):
        ended = task(end, task_id="ended")(outcome)
        ended >> EmptyOperator(task_id="none_failed", trigger_rule="none_failed")
        ended >> EmptyOperator(task_id="one_done", trigger_rule="one_done")

    one_for_each_rule(each.expand(outcome=outcomes()))


with DAG("rules_of_group_over_nothing", schedule=None):

    @task
    def nothing():
        return []

    @task_group
    def each(outcome):
        ended = task(end, task_id="ended")(outcome)
        one_for_each_rule(ended, WAITING)

    one_for_each_rule(each.expand(outcome=nothing()))


with DAG("rules_of_group_over_failure", schedule=None):
    told = ending("told", FAILED)

    @task_group
    def each(outcome):
        ended = task(end, task_id="ended")(outcome)
        one_for_each_rule(ended, ["all_done", "all_success", "none_failed", "one_failed"])

    one_for_each_rule(each.expand(outcome=told.output))


with DAG("rules_that_need_not_wait_for_all", schedule=None) as dag:
    # The third upstream ends well only if those that wait for any of the three have ended before it.
    quick, bad = ending("quick", SUCCESS), ending("bad", FAILED)
    rules = ["one_done", "one_failed", "one_success"]
    last = ExternalTaskSensor(
        task_id="last",
        external_dag_id=dag.dag_id,
        external_task_ids=rules,
        mode="reschedule",
        poke_interval=8,
        timeout=110,
    )
    one_for_each_rule([quick, bad, last], rules)
    [quick, bad, last] >> EmptyOperator(task_id="at_the_end", trigger_rule="all_done")


with DAG("leaves_decide", schedule=None):
    # The run is a success although a task failed: its leaf went well.
    ending("fails", FAILED) >> EmptyOperator(task_id="cleans_up", trigger_rule="all_done")


with DAG("skipped_leaves", schedule=None):
    ending("skips", SKIPPED) >> EmptyOperator(task_id="follows") >> EmptyOperator(task_id="too")
