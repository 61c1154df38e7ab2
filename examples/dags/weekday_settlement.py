"""Every weekday at 10:00 in India: close yesterday's orders with a Lambda function, then settle them with a Glue job.

The Glue job starts only when the function succeeded. While it runs nothing of ours does: the operator hands the waiting
to a trigger (`deferrable`) and comes back when Glue is done.
"""

import json

import pendulum
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.sdk import DAG

with DAG(
    dag_id="weekday_settlement",
    schedule="0 10 * * 1-5",
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Kolkata"),
    is_paused_upon_creation=True,  # the function and the job must exist first
    doc_md=__doc__,
    tags=["example", "aws"],
):
    close_orders = LambdaInvokeFunctionOperator(
        task_id="close_orders",
        function_name="orders-close",
        payload=json.dumps({"day": "{{ ds }}"}),
    )

    settle_orders = GlueJobOperator(
        task_id="settle_orders",
        job_name="orders-settle",
        script_args={"--day": "{{ ds }}"},
        deferrable=True,
        waiter_delay=10,
    )

    close_orders >> settle_orders
