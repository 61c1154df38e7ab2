"""Tasks that end as they are told, for the DAG files of Airflow features beside this one."""

import time

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"


def await_states(states: dict[str, str]) -> None:
    """Wait until other tasks of the run have these states. Keys: task ids; of a mapped instance `{task id}_{map index}`."""
    ti = get_current_context()["ti"]
    while True:
        found = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        if all(found.get(key) == state for key, state in states.items()):
            return
        time.sleep(0.5)


def end(outcome: str, *, after: float = 0.0, once: dict[str, str] | None = None) -> str:
    """Take so many seconds, await those states of other tasks, then succeed, fail without another try, or skip."""
    time.sleep(after)
    await_states(once or {})
    if outcome == FAILED:
        raise AirflowFailException("told to fail")
    if outcome == SKIPPED:
        raise AirflowSkipException("told to skip")
    return outcome


def ending(
    task_id: str, outcome: str, *, after: float = 0.0, once: dict[str, str] | None = None, **kwargs
) -> PythonOperator:
    """A task with this end."""
    how = {"after": after, "once": once}
    return PythonOperator(task_id=task_id, python_callable=end, op_args=[outcome], op_kwargs=how, **kwargs)


def each_ending(task_id: str, outcomes: list[str], **kwargs) -> PythonOperator:
    """A mapped task, one instance for each end."""
    operator = PythonOperator.partial(task_id=task_id, python_callable=end, **kwargs)
    return operator.expand(op_args=[[outcome] for outcome in outcomes])
