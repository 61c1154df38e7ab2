from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.sensors.athena import AthenaSensor
from airflow.sdk import DAG

query = {"database": "sales", "output_location": "s3://operators/athena/", "sleep_time": 1}

with DAG("aws_athena"):
    runs = AthenaOperator(task_id="runs", query="SELECT 1", **query)
    runs >> AthenaSensor(task_id="sees", query_execution_id=runs.output, sleep_time=1, poke_interval=1)
    AthenaOperator(task_id="runs_deferred", query="SELECT 2", deferrable=True, **query)

with DAG("aws_athena_fails", default_args={"aws_conn_id": "scripted"}):
    AthenaOperator(task_id="fails", query="SELECT * FROM fails", **query)
    AthenaOperator(task_id="fails_deferred", query="SELECT * FROM fails_deferred", deferrable=True, **query)

with DAG("aws_athena_killed", default_args={"aws_conn_id": "scripted"}):
    AthenaOperator(task_id="lasts", query="SELECT * FROM lasts", **query)
