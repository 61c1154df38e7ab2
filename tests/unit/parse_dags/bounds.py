"""Values that Python allows and that the control plane must bound."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference

START = datetime(2026, 1, 1, tzinfo=UTC)


async def late(**kwargs):
    pass


def alerts(how_many):
    return [
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(minutes=minute + 1), AsyncCallback(late))
        for minute in range(how_many)
    ]


with DAG("endless", schedule=None, start_date=START, dagrun_timeout=timedelta(days=3_000_000)):
    EmptyOperator(task_id="a", retry_delay=timedelta(days=3_000_000))

with DAG("as_many_deadlines_as_fit", schedule=None, start_date=START, deadline=alerts(80)):
    EmptyOperator(task_id="a")

with DAG("too_many_deadlines", schedule=None, start_date=START, deadline=alerts(81)):
    EmptyOperator(task_id="a")
