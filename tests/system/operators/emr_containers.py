from airflow.providers.amazon.aws.operators.emr import EmrContainerOperator, EmrEksCreateClusterOperator
from airflow.providers.amazon.aws.sensors.emr import EmrContainerSensor
from airflow.sdk import DAG

job = {
    "virtual_cluster_id": "vc-1",
    "execution_role_arn": "arn:aws:iam::000000000000:role/emr",
    "release_label": "emr-7.5.0-latest",
    "job_driver": {"sparkSubmitJobDriver": {"entryPoint": "s3://operators/job.py"}},
    "poll_interval": 1,
}

with DAG("aws_emr_containers", default_args={"aws_conn_id": "scripted"}):
    EmrEksCreateClusterOperator(
        task_id="makes_cluster", virtual_cluster_name="nightly", eks_cluster_name="jobs", eks_namespace="emr"
    )
    runs = EmrContainerOperator(task_id="runs", name="etl", **job)
    runs >> EmrContainerSensor(task_id="sees", virtual_cluster_id="vc-1", job_id=runs.output, poll_interval=1)
    EmrContainerOperator(task_id="runs_deferred", name="etl_deferred", deferrable=True, **job)

with DAG("aws_emr_containers_fails", default_args={"aws_conn_id": "scripted"}):
    EmrContainerOperator(task_id="fails", name="fails", **job)
    EmrContainerOperator(task_id="fails_deferred", name="fails_deferred", deferrable=True, **job)

with DAG("aws_emr_containers_killed", default_args={"aws_conn_id": "scripted"}):
    EmrContainerOperator(task_id="lasts", name="lasts_blocking", **job)
    EmrContainerOperator(task_id="waits", name="lasts_deferred", deferrable=True, **job)
