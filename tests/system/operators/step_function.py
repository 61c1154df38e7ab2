"""State machines `passes`, `gives_up` and what they answer."""

from airflow.providers.amazon.aws.operators.step_function import (
    StepFunctionGetExecutionOutputOperator,
    StepFunctionStartExecutionOperator,
)
from airflow.providers.amazon.aws.sensors.step_function import StepFunctionExecutionSensor
from airflow.sdk import DAG

MACHINES = "arn:aws:states:us-east-1:000000000000:stateMachine:"

with DAG("aws_step_function"):
    starts = StepFunctionStartExecutionOperator(
        task_id="starts", state_machine_arn=f"{MACHINES}passes", state_machine_input={"rows": 7}
    )
    sees = StepFunctionExecutionSensor(task_id="sees", execution_arn=starts.output, poke_interval=1)
    sees >> StepFunctionGetExecutionOutputOperator(task_id="gets", execution_arn=starts.output)
    StepFunctionStartExecutionOperator(
        task_id="runs_deferred",
        state_machine_arn=f"{MACHINES}passes",
        waiter_delay=1,
        waiter_max_attempts=3600,
        deferrable=True,
    )

with DAG("aws_step_function_fails"):
    bad = StepFunctionStartExecutionOperator(task_id="starts", state_machine_arn=f"{MACHINES}gives_up")
    bad >> StepFunctionExecutionSensor(task_id="fails", execution_arn=bad.output, poke_interval=1)
    StepFunctionStartExecutionOperator(
        task_id="fails_deferred",
        state_machine_arn=f"{MACHINES}gives_up",
        waiter_delay=1,
        waiter_max_attempts=3600,
        deferrable=True,
    )
