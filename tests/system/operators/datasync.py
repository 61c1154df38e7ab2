from airflow.providers.amazon.aws.operators.datasync import DataSyncOperator
from airflow.sdk import DAG

TASKS = "arn:aws:datasync:us-east-1:000000000000:task/"
quick = {"aws_conn_id": "scripted", "wait_interval_seconds": 1}

with DAG("aws_datasync"):
    DataSyncOperator(task_id="runs", task_arn=f"{TASKS}task-nightly", **quick)

with DAG("aws_datasync_fails"):
    DataSyncOperator(task_id="fails", task_arn=f"{TASKS}task-fails", **quick)

with DAG("aws_datasync_killed"):
    DataSyncOperator(task_id="lasts", task_arn=f"{TASKS}task-lasts", max_iterations=1800, **quick)
