from airflow.providers.amazon.aws.operators.lambda_function import (
    LambdaCreateFunctionOperator,
    LambdaInvokeFunctionOperator,
)
from airflow.providers.amazon.aws.sensors.lambda_function import LambdaFunctionStateSensor
from airflow.sdk import DAG

code = {
    "runtime": "python3.12",
    "role": "arn:aws:iam::000000000000:role/lambda",
    "handler": "double.handler",
    "code": {"S3Bucket": "operators", "S3Key": "double.zip"},
}

with DAG("aws_lambda_function"):
    creates = LambdaCreateFunctionOperator(
        task_id="creates", function_name="double", wait_for_completion=True, waiter_delay=1, **code
    )
    LambdaCreateFunctionOperator(
        task_id="creates_deferred",
        function_name="double_deferred",
        waiter_delay=1,
        waiter_max_attempts=3600,
        deferrable=True,
        **code,
    )
    sees = LambdaFunctionStateSensor(task_id="sees", function_name="double", poke_interval=1)
    invokes = LambdaInvokeFunctionOperator(
        task_id="invokes", function_name="double", payload='{"number": {{ 20 + 1 }}}', log_type="Tail"
    )
    versioned = LambdaInvokeFunctionOperator(
        task_id="invokes_version", function_name="thrice", qualifier="$LATEST", payload='{"number": 4}'
    )
    leaves = LambdaInvokeFunctionOperator(
        task_id="leaves", function_name="thrice", invocation_type="Event", payload='{"number": 5}'
    )
    creates >> sees >> invokes
    versioned >> leaves

with DAG("aws_lambda_function_fails"):
    # The function `thrice` is there before.
    LambdaInvokeFunctionOperator(task_id="fails", function_name="thrice", payload='{"number": "no number"}')
