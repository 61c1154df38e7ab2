from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from weights import ByRun, ByTry

with DAG("weighted", schedule=None):
    first = EmptyOperator(task_id="first", priority_weight=1)
    second = EmptyOperator(task_id="second", priority_weight=10)
    third = EmptyOperator(task_id="third", priority_weight=100)
    up = EmptyOperator(task_id="up", priority_weight=1000, weight_rule="upstream")
    by_try = EmptyOperator(task_id="by_try", weight_rule=ByTry())
    by_run = EmptyOperator(task_id="by_run", weight_rule=ByRun(), priority_weight=6)
    first >> second >> third >> up
