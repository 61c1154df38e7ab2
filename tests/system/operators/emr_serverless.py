from airflow.providers.amazon.aws.operators.emr import (
    EmrServerlessCreateApplicationOperator,
    EmrServerlessDeleteApplicationOperator,
    EmrServerlessStartJobOperator,
)
from airflow.providers.amazon.aws.sensors.emr import EmrServerlessJobSensor
from airflow.sdk import DAG

quick = {"waiter_delay": 1, "waiter_max_attempts": 3600}
LOGS = {
    "monitoringConfiguration": {
        "s3MonitoringConfiguration": {"logUri": "s3://operators/emr-serverless/"},
        "cloudWatchLoggingConfiguration": {"enabled": True, "logGroupName": "operators"},
    }
}
job = {
    "execution_role_arn": "arn:aws:iam::000000000000:role/emr",
    "job_driver": {"sparkSubmit": {"entryPoint": "s3://operators/job.py"}},
    "configuration_overrides": LOGS,
    **quick,
}

with DAG("aws_emr_serverless", default_args={"aws_conn_id": "scripted"}, max_active_tasks=3):
    creates = EmrServerlessCreateApplicationOperator(
        task_id="creates", release_label="emr-7.5.0", job_type="SPARK", config={"name": "nightly"}, **quick
    )
    runs = EmrServerlessStartJobOperator(
        task_id="runs", application_id=creates.output, name="etl", enable_application_ui_links=True, **job
    )
    sees = EmrServerlessJobSensor(
        task_id="sees", application_id=creates.output, job_run_id=runs.output, poke_interval=1
    )
    starts = EmrServerlessStartJobOperator(
        task_id="starts", application_id=creates.output, name="seen", wait_for_completion=False, **job
    )
    sees_deferred = EmrServerlessJobSensor(
        task_id="sees_deferred",
        application_id=creates.output,
        job_run_id=starts.output,
        poke_interval=1,
        deferrable=True,
    )
    runs_deferred = EmrServerlessStartJobOperator(
        task_id="runs_deferred", application_id=creates.output, name="etl_deferred", deferrable=True, **job
    )
    deletes = EmrServerlessDeleteApplicationOperator(
        task_id="deletes_deferred", application_id=creates.output, deferrable=True, **quick
    )
    [sees, sees_deferred, runs_deferred] >> deletes

with DAG("aws_emr_serverless_fails", default_args={"aws_conn_id": "scripted"}):
    EmrServerlessStartJobOperator(task_id="fails", application_id="app-0", name="fails", **job)
    EmrServerlessStartJobOperator(
        task_id="fails_deferred", application_id="app-0", name="fails_deferred", deferrable=True, **job
    )

with DAG("aws_emr_serverless_killed", default_args={"aws_conn_id": "scripted"}):
    EmrServerlessStartJobOperator(task_id="lasts", application_id="app-0", name="lasts_blocking", **job)
    EmrServerlessStartJobOperator(
        task_id="waits", application_id="app-0", name="lasts_deferred", deferrable=True, **job
    )
