"""Tasks that end as they are told, for the DAG files of Airflow features beside this one."""

import time

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"


def end(outcome: str, *, after: float = 0.0) -> str:
    """Take so many seconds, then succeed, fail without another try, or skip."""
    time.sleep(after)
    if outcome == FAILED:
        raise AirflowFailException("told to fail")
    if outcome == SKIPPED:
        raise AirflowSkipException("told to skip")
    return outcome


def ending(task_id: str, outcome: str, *, after: float = 0.0, **kwargs) -> PythonOperator:
    """A task with this end."""
    return PythonOperator(task_id=task_id, python_callable=end, op_args=[outcome], op_kwargs={"after": after}, **kwargs)


def each_ending(task_id: str, outcomes: list[str], **kwargs) -> PythonOperator:
    """A mapped task, one instance for each end."""
    operator = PythonOperator.partial(task_id=task_id, python_callable=end, **kwargs)
    return operator.expand(op_args=[[outcome] for outcome in outcomes])
