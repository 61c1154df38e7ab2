from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor, EmrStepSensor
from airflow.sdk import DAG


def flow(name):
    return {
        "Name": name,
        "ReleaseLabel": "emr-7.5.0",
        "LogUri": "s3://operators/emr/",
        "Instances": {"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": True},
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
    }


def step(name):
    jar = {"Jar": "command-runner.jar", "Args": ["spark-submit", "s3://operators/job.py"]}
    return [{"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}]


quick = {"waiter_delay": 1, "waiter_max_attempts": 3600}

with DAG("aws_emr"):
    creates = EmrCreateJobFlowOperator(task_id="creates", job_flow_overrides=flow("nightly"))
    adds = EmrAddStepsOperator(
        task_id="adds", job_flow_id=creates.output, steps=step("etl"), wait_for_completion=True, **quick
    )
    sees = EmrStepSensor(
        task_id="sees",
        job_flow_id=creates.output,
        step_id="{{ ti.xcom_pull(task_ids='adds')[0] }}",
        poke_interval=1,
    )
    adds_deferred = EmrAddStepsOperator(
        task_id="adds_deferred", job_flow_id=creates.output, steps=step("etl"), deferrable=True, **quick
    )
    terminates = EmrTerminateJobFlowOperator(
        task_id="terminates_deferred", job_flow_id=creates.output, deferrable=True, **quick
    )
    sees_end = EmrJobFlowSensor(task_id="sees_end", job_flow_id=creates.output, poke_interval=1)
    adds >> sees
    [sees, adds_deferred] >> terminates >> sees_end

with DAG("aws_emr_fails", default_args={"aws_conn_id": "scripted"}):
    EmrAddStepsOperator(task_id="fails", job_flow_id="j-1", steps=step("fails"), wait_for_completion=True, **quick)
    EmrAddStepsOperator(
        task_id="fails_deferred", job_flow_id="j-1", steps=step("fails_deferred"), deferrable=True, **quick
    )

with DAG("aws_emr_killed", default_args={"aws_conn_id": "scripted"}):
    EmrCreateJobFlowOperator(task_id="lasts", job_flow_overrides=flow("lasts"), wait_for_completion=True, **quick)
