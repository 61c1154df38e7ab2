"""The amazon provider has a hook of Firehose, and no operator."""

from airflow.providers.amazon.aws.hooks.firehose import FirehoseHook
from airflow.sdk import DAG, task

with DAG("aws_firehose"):

    @task
    def puts():
        answer = FirehoseHook("operators", region_name="us-east-1").put_records([{"Data": b"seven rows"}])
        return answer["FailedPutCount"]

    puts()

with DAG("aws_firehose_fails"):

    @task
    def fails():
        FirehoseHook("nowhere", region_name="us-east-1").put_records([{"Data": b"lost"}])

    fails()
