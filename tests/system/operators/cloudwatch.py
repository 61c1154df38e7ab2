"""The amazon provider has no operator of CloudWatch: its hook reads logs, and operators of Batch and ECS read them by it."""

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.sdk import DAG, task

with DAG("aws_cloudwatch"):

    @task
    def reads():
        events = AwsLogsHook(region_name="us-east-1").get_log_events(log_group="operators", log_stream_name="today")
        return [event["message"] for event in events]

    reads()
    BatchOperator(
        task_id="shows_log_of_job",
        job_name="logs",
        job_queue="main",
        job_definition="etl:1",
        awslogs_enabled=True,
        deferrable=True,
        poll_interval=1,
        aws_conn_id="scripted",
    )

with DAG("aws_cloudwatch_fails"):

    @task
    def fails():
        return AwsLogsHook(region_name="us-east-1").conn.get_log_events(logGroupName="nowhere", logStreamName="x")

    fails()
