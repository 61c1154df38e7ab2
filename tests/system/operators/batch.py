from airflow.providers.amazon.aws.operators.batch import BatchCreateComputeEnvironmentOperator, BatchOperator
from airflow.providers.amazon.aws.sensors.batch import BatchSensor
from airflow.sdk import DAG

where = {"aws_conn_id": "scripted", "job_queue": "main", "job_definition": "etl:1", "poll_interval": 1}

with DAG("aws_batch", max_active_tasks=3):
    BatchOperator(task_id="runs", job_name="etl", **where)
    BatchOperator(task_id="runs_deferred", job_name="etl_deferred", deferrable=True, **where)
    starts = BatchOperator(task_id="starts", job_name="etl_seen", wait_for_completion=False, **where)
    BatchSensor(task_id="sees", job_id=starts.output, aws_conn_id="scripted", poke_interval=1)
    BatchSensor(task_id="sees_deferred", job_id=starts.output, aws_conn_id="scripted", poke_interval=1, deferrable=True)
    BatchOperator(task_id="runs_array", job_name="array", array_properties={"size": 2}, **where)
    BatchCreateComputeEnvironmentOperator(
        task_id="makes_environment_deferred",
        compute_environment_name="spot",
        environment_type="MANAGED",
        state="ENABLED",
        compute_resources={"type": "FARGATE_SPOT", "maxvCpus": 4, "subnets": ["subnet-1"]},
        poll_interval=1,
        aws_conn_id="scripted",
        deferrable=True,
    )

with DAG("aws_batch_fails"):
    BatchOperator(task_id="fails", job_name="fails", **where)
    BatchOperator(task_id="fails_deferred", job_name="fails_deferred", deferrable=True, **where)

with DAG("aws_batch_killed"):
    BatchOperator(task_id="lasts", job_name="lasts", **where)
