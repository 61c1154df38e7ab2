"""Every way to expand a task."""

from airflow.sdk import Param, dag, task, task_group


@task
def numbers():
    return [1, 2, 3]


@task
def letters():
    return ["a", "b"]


@task
def show(x, y=None): ...


@task
def show_kwargs(x, y): ...


@dag(schedule=None)
def mapping():
    n, text = numbers(), letters()
    show.override(task_id="literal").expand(x=[1, 2, 3, 4])
    show.override(task_id="of_dict").expand(x={"a": 1, "b": 2})
    show.override(task_id="product").partial().expand(x=n, y=[1, 2])
    show.override(task_id="mapped").expand(x=n.map(lambda i: i + 1))
    show.override(task_id="zipped").expand(x=n.zip(text))
    show.override(task_id="zipped_longest").expand(x=n.zip(text, fillvalue=None))
    show.override(task_id="joined").expand(x=n.concat(text))
    show_kwargs.override(task_id="kwargs").expand_kwargs([{"x": 1, "y": 2}, {"x": 3, "y": 4}])
    show_kwargs.override(task_id="kwargs_from_task").expand_kwargs(n.map(lambda i: {"x": i, "y": i}))
    many = show.override(task_id="chained", retries=4, pool="heavy", max_active_tis_per_dag=2)
    chained = many.partial(y=1).expand(x=n)
    show.override(task_id="second", map_index_template="{{ task.x }}").expand(x=chained)

    @task_group
    def group(x):
        first = show.override(task_id="first")(x)
        show.override(task_id="after")(first)

    group.expand(x=n)


mapping()


@dag(schedule=None, fail_fast=True, params={"needed": Param(type="string")})
def asks():
    numbers()


asks()
