"""All trigger rules over upstreams that ended differently: plain ones, mapped ones, groups, mapped groups."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TriggerRule, task, task_group
from outcomes import FAILED, SKIPPED, SUCCESS, each_ending, end, ending

RULES = sorted(rule.value for rule in TriggerRule)
WAITING = [rule for rule in RULES if rule != "always"]
"""Those that Airflow allows inside a mapped group."""


def one_for_each_rule(upstreams, rules=RULES):
    """Under every rule a task that waits for all the upstreams."""
    for rule in rules:
        upstreams >> EmptyOperator(task_id=rule, trigger_rule=rule)


with DAG("rules_over_pairs", schedule=None):
    # `broken` is upstream_failed: the fourth way to end.
    failed, skipped, succeeded = (ending(outcome, outcome) for outcome in (FAILED, SKIPPED, SUCCESS))
    failed >> (broken := EmptyOperator(task_id="broken"))
    ends = {"failed": failed, "skipped": skipped, "success": succeeded, "broken": broken}
    for one in ends:
        for other in ends:
            if one < other:

                @task_group(f"{one}_and_{other}")
                def pair(one, other):
                    one_for_each_rule([one, other])

                pair(ends[one], ends[other])


with DAG("rules_over_mapped", schedule=None):
    for name, outcomes in {
        "all_well": [SUCCESS, SUCCESS],
        "mixed": [SUCCESS, FAILED, SKIPPED],
        "failed_and_skipped": [FAILED, SKIPPED],
        "nothing_done": [SKIPPED, SKIPPED],
        "of_length_zero": [],
    }.items():

        @task_group(name)
        def over(outcomes):
            one_for_each_rule(each_ending("each", outcomes))

        over(outcomes)


with DAG("rules_over_mapped_and_plain", schedule=None):
    mixed = each_ending("mixed", [SUCCESS, FAILED])
    skipped = ending("skipped", SKIPPED)
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
        ended = task(end, task_id="ended")(outcome)
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


with DAG("rules_that_need_not_wait_for_all", schedule=None):
    # What starts early says so: at that moment the slow one has not pushed anything.
    quick, bad = ending("quick", SUCCESS), ending("bad", FAILED)
    slow = ending("slow", SUCCESS, after=4)

    @task
    def seen(ti=None):
        return ti.xcom_pull(task_ids=["quick", "slow"])

    for rule in ("one_success", "one_failed", "one_done"):
        [quick, bad, slow] >> seen.override(task_id=rule, trigger_rule=rule)()
    [quick, bad, slow] >> EmptyOperator(task_id="at_the_end", trigger_rule="all_done")


with DAG("leaves_decide", schedule=None):
    # The run is a success although a task failed: its leaf went well.
    ending("fails", FAILED) >> EmptyOperator(task_id="cleans_up", trigger_rule="all_done")


with DAG("skipped_leaves", schedule=None):
    ending("skips", SKIPPED) >> EmptyOperator(task_id="follows") >> EmptyOperator(task_id="too")
