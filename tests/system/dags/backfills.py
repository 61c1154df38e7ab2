"""DAGs whose past is filled in by request. The requests are in tests/oracle/features.py."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

DAYS = {"schedule": "@daily", "start_date": datetime(2025, 1, 1), "end_date": datetime(2025, 1, 4)}


@task
def fails_on_the_second(logical_date=None, ti=None, dag_run=None):
    if logical_date.day == 2 and ti.try_number == 1:
        raise AirflowFailException
    return [ti.try_number, dag_run.conf]


for dag_id in ("backfilled", "backfilled_in_reverse"):
    with DAG(dag_id, catchup=False, max_active_runs=1, **DAYS):
        fails_on_the_second()

for behavior in ("none", "failed", "completed"):
    # Runs of the first three days are there already.
    with DAG(f"backfilled_reprocessing_{behavior}", catchup=True, **DAYS | {"end_date": datetime(2025, 1, 3)}):
        fails_on_the_second() >> EmptyOperator(task_id="after")
