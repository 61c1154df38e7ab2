"""Setups and teardowns: what runs for what, whose failure counts, and scopes inside one another."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, dag, setup, task, task_group, teardown
from outcomes import FAILED, SKIPPED, SUCCESS, each_ending, end, ending


def empty(task_id, **kwargs):
    return EmptyOperator(task_id=task_id, **kwargs)


@dag(schedule=None)
def cluster_for_queries():
    @setup
    def create():
        return "cluster-1"

    @task
    def query(cluster, number):
        return f"{number} on {cluster}"

    @teardown
    def delete(cluster):
        return f"{cluster} is gone"

    cluster = create()
    deleted = delete(cluster)
    [query(cluster, 1), query.override(task_id="another")(cluster, 2)] >> deleted
    deleted >> empty("after")


cluster_for_queries()


with DAG("work_fails_between", schedule=None):
    made = empty("make").as_setup()
    removed = empty("remove").as_teardown(setups=made)
    made >> ending("work", FAILED) >> empty("more_work") >> removed
    removed >> empty("outside")


with DAG("setup_fails", schedule=None):
    made = ending("make", FAILED).as_setup()
    made >> empty("work") >> empty("remove").as_teardown(setups=made) >> empty("outside")


with DAG("setup_is_skipped", schedule=None):
    made = ending("make", SKIPPED).as_setup()
    made >> empty("work") >> empty("remove").as_teardown(setups=made) >> empty("outside")


with DAG("one_of_two_setups_fails", schedule=None):
    # A teardown runs if one of its setups went well and all that it waits for is done.
    good, bad = empty("good").as_setup(), ending("bad", FAILED).as_setup()
    removed = empty("remove").as_teardown(setups=[good, bad])
    [good, bad] >> empty("work") >> removed
    bad >> empty("remove_bad").as_teardown(setups=bad)
    good >> empty("remove_good").as_teardown(setups=good)


for does_it_count in (True, False):
    with DAG(f"teardown_fails_and_counts_{does_it_count}".lower(), schedule=None):
        made = empty("make").as_setup()
        removed = ending("remove", FAILED).as_teardown(setups=made, on_failure_fail_dagrun=does_it_count)
        made >> empty("work") >> removed


with DAG("teardown_fails_before_a_leaf", schedule=None):
    made = empty("make").as_setup()
    removed = ending("remove", FAILED).as_teardown(setups=made)
    made >> empty("work") >> removed >> empty("leaf")


with DAG("only_a_teardown", schedule=None):
    ending("work", FAILED) >> empty("tidy").as_teardown()


with DAG("scopes_inside_one_another", schedule=None):
    outer, inner = empty("outer_setup").as_setup(), empty("inner_setup").as_setup()
    inner_end = empty("inner_teardown").as_teardown(setups=inner)
    outer_end = empty("outer_teardown").as_teardown(setups=outer)
    outer >> inner >> ending("work", FAILED) >> inner_end
    inner_end >> outer_end
    inner >> empty("other_work") >> inner_end
    [inner_end, empty("beside")] >> empty("after_inner") >> outer_end


with DAG("inner_setup_fails", schedule=None):
    outer, inner = empty("outer_setup").as_setup(), ending("inner_setup", FAILED).as_setup()
    inner_end = empty("inner_teardown").as_teardown(setups=inner)
    outer_end = empty("outer_teardown").as_teardown(setups=outer)
    outer >> inner >> empty("work") >> inner_end >> outer_end
    outer >> empty("independent") >> outer_end


with DAG("scope_by_context", schedule=None):
    with empty("remove").as_teardown(setups=empty("make").as_setup()):
        empty("first") >> ending("second", FAILED) >> empty("third")
        empty("aside")


with DAG("setup_far_above", schedule=None):
    # The failed setup is not a direct upstream of what it is needed for.
    made, other = ending("make", FAILED).as_setup(), empty("between")
    removed = empty("remove").as_teardown(setups=made)
    made >> other >> empty("work", trigger_rule="all_done") >> removed


@dag(schedule=None)
def group_with_its_own_setup():
    @task_group
    def section():
        @setup
        def begin():
            return "begun"

        @teardown(on_failure_fail_dagrun=True)
        def finish():
            return "finished"

        begin() >> ending("work", FAILED) >> finish()

    section() >> empty("after")


group_with_its_own_setup()


@dag(schedule=None)
def mapped_setup_and_teardown():
    made = each_ending("make", [SUCCESS, FAILED, SUCCESS]).as_setup()
    made >> empty("work") >> each_ending("remove", [SUCCESS, SUCCESS]).as_teardown(setups=made)


mapped_setup_and_teardown()


@dag(schedule=None)
def setup_inside_mapped_group():
    @task_group
    def each(outcome):
        made = PythonOperator(task_id="make", python_callable=end, op_args=[outcome]).as_setup()
        made >> empty("work") >> empty("remove").as_teardown(setups=made)

    each.expand(outcome=[SUCCESS, FAILED, SKIPPED]) >> empty("after", trigger_rule="all_done")


setup_inside_mapped_group()


@dag(schedule=None)
def teardown_after_mapped_work():
    made = empty("make").as_setup()
    work = each_ending("work", [SUCCESS, FAILED, SKIPPED])
    made >> work >> empty("remove").as_teardown(setups=made)
    work >> empty("after", trigger_rule="none_failed")


teardown_after_mapped_work()
