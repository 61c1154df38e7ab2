"""Refresh a table in full or only what changed, then check it either way.

`choose` looks at how many rows changed. The join must run after whichever branch was taken, so it asks for no failure
and at least one success; the report is written whatever happened.
"""

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Label, Param, TriggerRule, task

FULL_REFRESH_ABOVE = 10_000

with DAG(
    dag_id="refresh_warehouse",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    params={"changed_rows": Param(1_200, type="integer", minimum=0, title="Rows changed since the last refresh")},
    doc_md=__doc__,
    tags=["example", "branch"],
):

    @task.branch
    def choose(params: dict) -> str:
        return "full_refresh" if params["changed_rows"] > FULL_REFRESH_ABOVE else "find_changes"

    @task
    def full_refresh() -> str:
        return "replaced the table"

    @task
    def find_changes(params: dict) -> int:
        return params["changed_rows"]

    @task
    def merge_changes(rows: int) -> str:
        return f"merged {rows} rows"

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def check_table(replaced: str | None, merged: str | None) -> str:
        return f"checked after we {replaced or merged}"

    report = EmptyOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE)

    chosen = choose()
    replaced = full_refresh()
    changes = find_changes()
    chosen >> Label("much changed") >> replaced
    chosen >> Label("little changed") >> changes
    check_table(replaced, merge_changes(changes)) >> report
