"""Dynamic task mapping: what can be expanded over, in what order the instances come, and what they see of each other."""

import time
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, dag, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException


@task
def numbers(count=3):
    return list(range(1, count + 1))


@task
def letters():
    return ["a", "b"]


@task
def told(x=None, y=None, z=None):
    """What one instance was given."""
    return [x, y, z]


@task
def collected(values):
    return list(values)


@dag(schedule=None)
def mapping_over_literals():
    told.override(task_id="one_list").expand(x=[1, "two", {"three": 3}, None])
    told.override(task_id="one_dict").expand(x={"b": 2, "a": 1})
    told.override(task_id="crossed").expand(x=[1, 2], y=["a", "b", "c"])
    told.override(task_id="crossed_with_dict").expand(x=[1, 2], y={"k": "v", "l": "w"})
    told.override(task_id="partly").partial(z="same").expand(x=[1, 2])
    told.override(task_id="kwargs").partial(z="same").expand_kwargs([{"x": 1}, {"y": 2}, {"x": 3, "z": "other"}])
    told.override(task_id="nothing").expand(x=[]) >> EmptyOperator(task_id="after_nothing")


mapping_over_literals()


@dag(schedule=None)
def mapping_over_results():
    @task
    def a_dict():
        return {"x": 1, "y": [2, 3]}

    @task
    def some_kwargs():
        return [{"x": 1, "y": 2}, {"x": 3}]

    @task
    def a_tuple():
        return ("first", "second")

    @task
    def nothing():
        return []

    told.override(task_id="over_list").expand(x=numbers())
    told.override(task_id="over_dict").expand(x=a_dict())
    told.override(task_id="over_tuple").expand(x=a_tuple())
    told.override(task_id="over_kwargs").expand_kwargs(some_kwargs())
    told.override(task_id="crossed").expand(x=numbers.override(task_id="more_numbers")(2), y=letters())
    none = told.override(task_id="over_nothing").expand(x=nothing())
    collected(none) >> EmptyOperator(task_id="after_skip")
    none >> EmptyOperator(task_id="none_failed_after_nothing", trigger_rule="none_failed")


mapping_over_results()


@dag(schedule=None)
def mapping_algebra():
    some, others = numbers(), letters()
    told.override(task_id="mapped").expand(x=some.map(lambda x: x * 10))
    told.override(task_id="mapped_twice").expand(x=some.map(lambda x: x * 10).map(lambda x: f"<{x}>"))
    told.override(task_id="zipped").expand(x=some.zip(others))
    told.override(task_id="zipped_filled").expand(x=some.zip(others, fillvalue="-"))
    told.override(task_id="concatenated").expand(x=some.concat(others))
    told.override(task_id="all_of_it").expand(
        x=some.map(lambda x: x + 1).concat(others).zip(others.concat(some), fillvalue=0)
    )
    told.override(task_id="kwargs").partial(z=0).expand_kwargs(
        some.zip(others).map(lambda pair: {"x": pair[0], "y": pair[1]})
    )

    def small(x):
        if x > 2:
            raise AirflowSkipException(f"{x} is too large")
        return x

    def fragile(x):
        if x == 2:
            raise ValueError("cannot bear a two")
        return x

    kept = told.override(task_id="some_skipped").expand(x=some.map(small))
    collected.override(task_id="without_skipped", trigger_rule="all_done")(kept)
    told.override(task_id="one_fails").expand(x=some.map(fragile))


mapping_algebra()


@dag(schedule=None)
def mapped_over_mapped():
    @task
    def double(x):
        return x * 2

    @task
    def only_odd(x):
        if x % 2 == 0:
            raise AirflowSkipException("even")
        return x

    @task
    def only_even(x):
        if x % 2:
            raise AirflowFailException("odd")
        return x

    doubled = double.expand(x=numbers())
    again = double.override(task_id="again").expand(x=doubled)
    collected(again)
    told.override(task_id="crossed").expand(x=doubled, y=["a", "b"])
    odd = only_odd.expand(x=[1, 2, 3, 4, 5])
    told.override(task_id="after_some_skipped").expand(x=odd)
    told.override(task_id="after_some_skipped_none_failed", trigger_rule="none_failed").expand(x=odd)
    collected.override(task_id="odd_ones", trigger_rule="none_failed")(odd)
    even = only_even.expand(x=[1, 2, 3, 4])
    told.override(task_id="after_some_failed").expand(x=even)
    told.override(task_id="after_some_failed_all_done", trigger_rule="all_done").expand(x=even)
    told.override(task_id="zipped").expand(x=odd.zip(doubled))
    told.override(task_id="concatenated", trigger_rule="none_failed").expand(x=odd.concat(doubled))


mapped_over_mapped()


@dag(schedule=None)
def lazy_sequences():
    """What a task sees of a mapped upstream: a sequence that fetches its items when they are asked for."""

    @task
    def square(x):
        if x == 3:
            raise AirflowSkipException("leaves a gap")
        return x * x

    @task(trigger_rule="none_failed")
    def looked_at(values):
        return {
            "type": type(values).__name__,
            "length": len(values),
            "first": values[0],
            "last": values[-1],
            "slice": list(values[1:3]),
            "stepped": list(values[::2]),
            "from_behind": list(values[-2:]),
            "reversed": list(values[::-1]),
            "all": list(values),
            "contains": 16 in values,
        }

    @task(trigger_rule="none_failed")
    def beyond_the_end(values):
        return values[10]

    @task(trigger_rule="none_failed")
    def pulled(ti=None):
        return {
            "all": list(ti.xcom_pull(task_ids="square")),
            "one": ti.xcom_pull(task_ids="square", map_indexes=1),
            "some": list(ti.xcom_pull(task_ids="square", map_indexes=[3, 0])),
            "gap": ti.xcom_pull(task_ids="square", map_indexes=2),
            "default": ti.xcom_pull(task_ids="square", map_indexes=2, default="nothing"),
            "several_tasks": list(ti.xcom_pull(task_ids=["square", "looked_at"])),
            "other_key": ti.xcom_pull(task_ids="square", key="absent"),
        }

    squares = square.expand(x=[1, 2, 3, 4, 5])
    looked_at(squares) >> pulled()
    beyond_the_end(squares)


lazy_sequences()


@dag(schedule=None)
def names_of_instances():
    """`map_index_template`: rendered before the task runs, and again after it."""

    @task(map_index_template="{{ my_name }}")
    def named(x):
        from airflow.sdk import get_current_context

        get_current_context()["my_name"] = f"number {x}"
        return x

    @task(map_index_template="{{ my_name }}")
    def fails_after_naming(x):
        from airflow.sdk import get_current_context

        get_current_context()["my_name"] = f"number {x}"
        raise AirflowFailException

    @task(map_index_template="{{ task.op_kwargs['x'] }} of {{ ti.map_index }}")
    def named_by_argument(x):
        return x

    named.expand(x=[7, 8])
    fails_after_naming.expand(x=[7])
    named_by_argument.expand(x=["a", "b"])
    BashOperator.partial(task_id="shell", map_index_template="{{ task.bash_command }}").expand(
        bash_command=["echo one", "echo two"]
    )
    EmptyOperator.partial(task_id="empty", map_index_template="{{ ti.map_index + 1 }}").expand_kwargs([{}, {}])


names_of_instances()


@dag(schedule=None)
def mapped_groups():
    @task
    def plus(x, y):
        return x + y

    @task_group
    def each(x):
        return plus.override(task_id="second")(plus.override(task_id="first")(x, 1), 10)

    collected(each.expand(x=numbers()))

    @task_group
    def pair(x, y):
        told.override(task_id="pair")(x, y=y)

    pair.override(group_id="crossed").expand(x=[1, 2], y=["a", "b"])
    pair.override(group_id="partly").partial(y="same").expand(x=letters())
    pair.override(group_id="kwargs").expand_kwargs([{"x": 1, "y": 2}, {"x": 3, "y": 4}])


mapped_groups()


@dag(schedule=None)
def nested_mapped_groups():
    @task
    def tagged(x, y):
        return f"{x}{y}"

    @task_group
    def outer(x):
        @task_group
        def inner(y):
            made = tagged(x, y)
            return told.override(task_id="seen")(made)

        inside = inner.expand(y=["a", "b"])
        collected.override(task_id="of_turn")(inside)

    outer.expand(x=[1, 2, 3]) >> EmptyOperator(task_id="after")


nested_mapped_groups()


@dag(schedule=None)
def mapped_task_in_plain_group_in_mapped_group():
    @task_group
    def outer(x):
        @task_group
        def plain():
            return told.override(task_id="seen")(x)

        plain() >> EmptyOperator(task_id="done")

    outer.expand(x={"k": 1, "l": 2}) >> EmptyOperator(task_id="after")


mapped_task_in_plain_group_in_mapped_group()


@dag(schedule=None)
def group_with_failures_and_skips():
    @task
    def check(x, ti):
        if x == 1:
            raise AirflowSkipException
        if x == 2:
            # all_well follows the upstream instance that ends first. The failure waits, so the skip is first everywhere.
            while ti.get_task_states(dag_id=ti.dag_id, task_ids=["all_well"])[ti.run_id]["all_well"] is None:
                time.sleep(0.5)
            raise AirflowFailException
        return x

    @task_group
    def each(x):
        return told.override(task_id="use")(check(x))

    results = each.expand(x=[0, 1, 2, 3])
    collected.override(trigger_rule="all_done")(results)
    collected.override(task_id="all_well")(results)


group_with_failures_and_skips()


@dag(schedule=None)
def too_much():
    """More than `[core] max_map_length` (1024) cannot be expanded over: the task that pushes it fails."""

    @task
    def many(count):
        return list(range(count))

    told.expand(x=many(1025))


too_much()


@dag(schedule=None)
def not_mappable():
    @task
    def text():
        return "a string has a length, too"

    @task
    def number():
        return 5

    @task
    def nothing():
        return None

    told.override(task_id="over_text").expand(x=text())
    told.override(task_id="over_number").expand(x=number())
    told.override(task_id="over_none").expand(x=nothing())
    told.override(task_id="kwargs_over_numbers").expand_kwargs(numbers(2))


not_mappable()


with DAG("classic_mapping", schedule=None):
    made = PythonOperator(task_id="made", python_callable=lambda: [["a"], ["b"]])
    PythonOperator.partial(task_id="args", python_callable=lambda *args: args).expand(op_args=made.output)
    PythonOperator.partial(task_id="kwargs", python_callable=lambda **kwargs: kwargs["x"]).expand(
        op_kwargs=[{"x": 1}, {"x": 2}]
    )
    shells = BashOperator.partial(task_id="shells", append_env=True).expand_kwargs(
        [{"bash_command": "echo $NAME", "env": {"NAME": "one"}}, {"bash_command": "echo two"}]
    )
    PythonOperator(task_id="all_shells", python_callable=list, op_args=[shells.output])


@dag(schedule=None)
def mapped_tries():
    """Instances are tried again one by one."""

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def once_more(x, ti=None):
        if x == ti.try_number:
            raise ValueError("not yet")
        return [x, ti.try_number]

    collected(once_more.expand(x=[0, 1]))


mapped_tries()
