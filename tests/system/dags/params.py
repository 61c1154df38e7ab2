"""Params: their schemas, defaults, what a run's conf makes of them, and the runs that are refused."""

from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, task


@task
def given(params=None):
    return dict(params)


SCHEMAS = {
    "number": Param(3, type="integer", minimum=1, maximum=9),
    "text": Param("a", type=["string", "null"], maxLength=5),
    "choice": Param("x", enum=["x", "y"]),
    "day": Param("2026-01-02", type="string", format="date"),
    "list": Param([1, 2], type="array", items={"type": "integer"}),
    "nested": Param({"a": {"b": 1}}, type="object"),
    "plain": "no schema",
}

with DAG("params_by_default", schedule=None, params=SCHEMAS):
    given()
    BashOperator(task_id="templated", bash_command="echo {{ params.number + 1 }} {{ params.nested.a.b }}")


with DAG("params_by_conf", schedule=None, params=SCHEMAS):
    # `conf` of the run is in tests/oracle/features.py; it has more than there are params.
    given()

    @task
    def conf(dag_run=None):
        return dag_run.conf

    conf()


with DAG("params_of_tasks", schedule=None, params={"shared": "of the DAG", "own": "of the DAG"}):
    given.override(task_id="as_it_is")()
    given.override(task_id="overridden", params={"own": "of the task", "more": Param(1, type="integer")})()


with DAG("params_native", schedule=None, render_template_as_native_obj=True, params={"list": [1, 2]}):

    @task
    def passed(value):
        return [type(value).__name__, value]

    passed("{{ params.list }}")
    passed("{{ params.list | length }}")


# These are refused; what the answer says is compared.

for name, params in {
    "missing": {"needed": Param(type="string")},
    "of_wrong_type": {"number": Param(1, type="integer")},
    "too_large": {"number": Param(1, type="integer", maximum=10)},
    "not_a_choice": {"choice": Param("x", enum=["x", "y"])},
}.items():
    with DAG(f"refused_{name}", schedule=None, params=params):
        given()

with DAG(
    "refused_run_type",
    schedule="@once",
    start_date=datetime(2025, 6, 1),
    allowed_run_types=["scheduled"],
    tags=["triggered"],
):
    given()
