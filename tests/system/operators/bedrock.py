from airflow.providers.amazon.aws.operators.bedrock import (
    BedrockBatchInferenceOperator,
    BedrockCreateGuardrailOperator,
    BedrockCustomizeModelOperator,
    BedrockDeleteGuardrailOperator,
    BedrockInvokeModelOperator,
)
from airflow.providers.amazon.aws.sensors.bedrock import BedrockCustomizeModelCompletedSensor
from airflow.sdk import DAG

where = {
    "role_arn": "arn:aws:iam::000000000000:role/bedrock",
    "base_model_id": "amazon.titan-text-lite-v1:0:4k",
    "training_data_uri": "s3://operators/train.jsonl",
    "output_data_uri": "s3://operators/bedrock/",
    "hyperparameters": {"epochCount": "1"},
    "ensure_unique_job_name": False,
    "waiter_delay": 1,
    "aws_conn_id": "scripted",
}

with DAG("aws_bedrock", max_active_tasks=3):
    BedrockInvokeModelOperator(
        task_id="invokes", model_id="amazon.titan-text-lite-v1", input_data={"inputText": "How many rows?"}
    )
    runs = BedrockCustomizeModelOperator(task_id="runs", job_name="tune", custom_model_name="tuned", **where)
    runs >> BedrockCustomizeModelCompletedSensor(
        task_id="sees", job_name="tune", poke_interval=1, aws_conn_id="scripted"
    )
    BedrockCustomizeModelOperator(
        task_id="runs_deferred", job_name="tune-deferred", custom_model_name="tuned", deferrable=True, **where
    )
    BedrockBatchInferenceOperator(
        task_id="infers_deferred",
        job_name="infer",
        role_arn=where["role_arn"],
        model_id="amazon.titan-text-lite-v1",
        input_uri="s3://operators/in.jsonl",
        output_uri="s3://operators/bedrock/",
        waiter_delay=1,
        aws_conn_id="scripted",
        deferrable=True,
    )
    makes = BedrockCreateGuardrailOperator(
        task_id="makes_guardrail",
        guardrail_name="polite",
        blocked_input_messaging="no",
        blocked_outputs_messaging="no",
        aws_conn_id="scripted",
    )
    makes >> BedrockDeleteGuardrailOperator(
        task_id="deletes_guardrail", guardrail_identifier=makes.output, aws_conn_id="scripted"
    )

with DAG("aws_bedrock_fails"):
    BedrockCustomizeModelOperator(task_id="fails", job_name="fails", custom_model_name="tuned", **where)
    BedrockCustomizeModelOperator(
        task_id="fails_deferred", job_name="fails-deferred", custom_model_name="tuned", deferrable=True, **where
    )
