"""Which event tells of what which trigger waits for: the installed provider's classes, and events in AWS's shapes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.amazon import aws as amazon
from airflow.sdk.module_loading import import_string
from airflow.sdk.serde import serialize

from gust.local import deployment
from gust.model.awaited import EVENTS, MOST_RESOURCES, TRIGGERS, Row, StateEvent, awaited, patterns, resource_of

ROOT: Final = Path(__file__).parents[2]
REGION: Final = "eu-west-1"
EXECUTION: Final = "arn:aws:states:eu-west-1:111122223333:execution:machine:one"
TASK: Final = "arn:aws:ecs:eu-west-1:111122223333:task/cluster/0b69d5c0"
STEPS: Final = "step_function.StepFunctionsExecutionCompleteTrigger"
GLUE: Final = "glue.GlueJobCompleteTrigger"

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "Glue Job State Change": {"jobName": "etl", "severity": "INFO", "state": "SUCCEEDED", "jobRunId": "NAME"},
    "Glue Crawler State Change": {"crawlerName": "NAME", "state": "Succeeded", "tablesCreated": "0"},
    "Data Quality Evaluation Results Available": {
        "context": {"contextType": "GLUE_DATA_CATALOG", "runId": "NAME", "tableName": "t"},
        "resultID": "dqresult-1",
        "state": "FAILED",
    },
    "DataBrew Job State Change": {"jobName": "a", "severity": "INFO", "state": "STOPPED", "jobRunId": "NAME"},
    "Batch Job State Change": {"jobName": "a", "jobId": "NAME", "status": "FAILED", "attempts": []},
    "ECS Task State Change": {
        "clusterArn": "c",
        "lastStatus": "STOPPED",
        "desiredStatus": "STOPPED",
        "taskArn": "NAME",
    },
    "EMR Step Status Change": {"severity": "ERROR", "stepId": "NAME", "clusterId": "j-1", "state": "FAILED"},
    "EMR Cluster State Change": {"severity": "INFO", "clusterId": "NAME", "state": "WAITING"},
    "EMR Job Run State Change": {"id": "NAME", "virtualClusterId": "v", "state": "COMPLETED"},
    "EMR Serverless Job Run State Change": {"jobRunId": "NAME", "applicationId": "a", "state": "SUCCESS"},
    "EMR Serverless Application State Change": {"applicationId": "NAME", "arn": "arn", "state": "STARTED"},
    "Step Functions Execution Status Change": {"executionArn": "NAME", "status": "ABORTED", "output": None},
    "Athena Query State Change": {"currentState": "FAILED", "previousState": "RUNNING", "queryExecutionId": "NAME"},
    "Redshift Data Statement Status Change": {"statementId": "NAME", "clusterId": "c", "state": "FINISHED"},
    "Model Customization Job State Change": {"jobName": "NAME", "jobArn": "arn", "jobStatus": "Failed"},
    "Batch Inference Job State Change": {"batchJobArn": "NAME", "batchJobName": "n", "status": "Completed"},
    "SageMaker Training Job State Change": {"TrainingJobName": "NAME", "TrainingJobStatus": "Completed"},
    "SageMaker HyperParameter Tuning Job State Change": {
        "HyperParameterTuningJobName": "NAME",
        "HyperParameterTuningJobStatus": "Completed",
    },
    "SageMaker Transform Job State Change": {"TransformJobName": "NAME", "TransformJobStatus": "Failed"},
    "SageMaker Processing Job State Change": {"ProcessingJobName": "NAME", "ProcessingJobStatus": "Stopped"},
    "SageMaker Endpoint State Change": {"EndpointName": "NAME", "EndpointStatus": "IN_SERVICE"},
    "SageMaker Model Building Pipeline Execution Status Change": {
        "pipelineExecutionArn": "NAME",
        "currentPipelineExecutionStatus": "Succeeded",
    },
    "EC2 Instance State-change Notification": {"instance-id": "NAME", "state": "running"},
}
"""By detail-type: `detail` as AWS documents it, shortened; NAME stands for the resource's name."""


def event_of(kind: StateEvent, name: str) -> dict[str, Any]:
    detail = json.loads(json.dumps(SHAPES[kind.detail_type]).replace("NAME", name))
    return {"id": "1", "source": kind.source, "detail-type": kind.detail_type, "detail": detail}


def waits(trigger: str, **kwargs: Any) -> tuple[str, ...] | None:
    found = awaited(f"airflow.providers.amazon.aws.triggers.{trigger}", serialize(kwargs), region=REGION)
    return found and found.resources


@pytest.mark.parametrize("classpath", TRIGGERS)
def test_the_provider_has_the_trigger_and_its_arguments(classpath: str) -> None:
    kind = import_string(classpath)
    parameters = inspect.signature(kind.__init__).parameters
    for row in TRIGGERS[classpath]:
        named = {row.argument, row.looks_for, row.only_if and row.only_if[0]} - {None}
        assert named <= parameters.keys()


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.detail_type)
def test_an_event_in_awss_shape_names_its_resource(kind: StateEvent) -> None:
    assert resource_of(event_of(kind, "it")) == f"{kind.detail_type}: it"
    unfinished = event_of(kind, "it")
    unfinished["detail"][kind.state] = "PENDING"
    assert resource_of(unfinished) is None


@pytest.mark.parametrize(("classpath", "row"), [(name, row) for name, rows in TRIGGERS.items() for row in rows])
def test_a_trigger_and_its_event_meet(classpath: str, row: Row) -> None:
    kwargs = {row.argument: ["it"] if row.argument.endswith("s") else "it"}
    if row.only_if is not None:
        kwargs[row.only_if[0]] = row.only_if[1]
    found = awaited(classpath, serialize(kwargs), region=REGION)
    assert found is not None
    assert found.resources == (resource_of(event_of(row.event, "it")),)


WAITERS: Final = [
    ("athena", "query_complete", "Athena Query State Change"),
    ("batch", "batch_job_complete", "Batch Job State Change"),
    ("bedrock", "batch_inference_complete", "Batch Inference Job State Change"),
    ("bedrock", "batch_inference_scheduled", "Batch Inference Job State Change"),
    ("bedrock", "model_customization_job_complete", "Model Customization Job State Change"),
    ("databrew", "job_complete", "DataBrew Job State Change"),
    ("emr", "job_flow_terminated", "EMR Cluster State Change"),
    ("emr", "job_flow_waiting", "EMR Cluster State Change"),
    ("emr", "steps_wait_for_terminal", "EMR Step Status Change"),
    ("emr-containers", "container_job_complete", "EMR Job Run State Change"),
    ("emr-serverless", "serverless_app_created", "EMR Serverless Application State Change"),
    ("emr-serverless", "serverless_app_started", "EMR Serverless Application State Change"),
    ("emr-serverless", "serverless_app_terminated", "EMR Serverless Application State Change"),
    ("emr-serverless", "serverless_job_completed", "EMR Serverless Job Run State Change"),
    ("glue", "job_complete", "Glue Job State Change"),
    ("sagemaker", "PipelineExecutionComplete", "SageMaker Model Building Pipeline Execution Status Change"),
    ("sagemaker", "TrainingJobComplete", "SageMaker Training Job State Change"),
    ("stepfunctions", "step_function_succeeded", "Step Functions Execution Status Change"),
]
"""Of the provider's triggers: file, waiter, and the event that tells of what it waits for."""


@pytest.mark.parametrize(("service", "waiter", "detail_type"), WAITERS)
def test_an_event_wakes_for_each_state_in_which_the_trigger_is_content(
    service: str, waiter: str, detail_type: str
) -> None:
    folder = Path(str(amazon.__file__)).parent / "waiters"
    acceptors = json.loads((folder / f"{service}.json").read_text())["waiters"][waiter]["acceptors"]
    ends = {each["expected"] for each in acceptors if each["state"] != "retry"}
    (kind,) = [each for each in EVENTS if each.detail_type == detail_type]
    assert ends - {"Stopping"} <= {*kind.steady}, "one that stops comes to an end soon"


def test_what_an_event_of_this_region_does_not_tell_is_polled_as_ever() -> None:
    assert waits(STEPS, execution_arn=EXECUTION) == (f"Step Functions Execution Status Change: {EXECUTION}",)
    assert waits(STEPS, execution_arn=EXECUTION, region_name=REGION) is not None
    assert waits(STEPS, execution_arn=EXECUTION, region_name="us-east-1") is None
    assert waits(STEPS, execution_arn=EXECUTION.replace(REGION, "us-east-1")) is None
    assert waits(STEPS, execution_arn=None) is None
    assert waits("s3.S3KeyTrigger", bucket_name="b", bucket_key="k") is None
    assert waits("emr.EmrAddStepsTrigger", job_flow_id="j", step_ids=["s"] * (MOST_RESOURCES + 1)) is None
    assert waits("sagemaker.SageMakerTrigger", job_name="a", job_type="Endpoint") == (
        "SageMaker Endpoint State Change: a",
    )
    assert waits("sagemaker.SageMakerTrigger", job_name="a", job_type="labelling") is None


def test_a_trigger_that_looks_for_more_polls_as_often_as_ever() -> None:
    def looks_seldom(trigger: str, **kwargs: Any) -> bool:
        found = awaited(f"airflow.providers.amazon.aws.triggers.{trigger}", serialize(kwargs), region=REGION)
        return found is not None and found.has_all_told

    assert looks_seldom(GLUE, job_name="a", run_id="jr_1", verbose=False)
    assert not looks_seldom(GLUE, job_name="a", run_id="jr_1", verbose=True)
    assert looks_seldom("ecs.TaskDoneTrigger", task_arn=TASK, log_group=None)
    assert not looks_seldom("ecs.TaskDoneTrigger", task_arn=TASK, log_group="/ecs")
    assert not looks_seldom("redshift_data.RedshiftDataTrigger", statement_id="1")


def test_the_templates_rules_are_the_tables() -> None:
    resources = deployment.transform(ROOT, {})["Resources"]
    rules = [
        each for name, each in resources.items() if each["Type"] == "AWS::Events::Rule" and name.startswith("Wakes")
    ]
    assert [rule["Properties"]["EventPattern"] for rule in rules] == list(patterns().values())
    assert all(len(json.dumps(pattern)) < 2048 for pattern in patterns().values()), "EventBridge takes no longer ones"


def test_the_page_has_the_tables_rows() -> None:
    page = (ROOT / "docs/waiting.md").read_text().splitlines()
    written = {tuple(part.strip(" `") for part in line.split("|")[1:5]) for line in page if line.startswith("| `")}
    rows = {
        (classpath.rpartition(".")[2], _argument(row), f"{row.event.source}` {row.event.detail_type}", row.event.name)
        for classpath, rows in TRIGGERS.items()
        for row in rows
    }
    assert written == rows


def _argument(row: Row) -> str:
    return row.argument if row.only_if is None else f"{row.argument}` where `{row.only_if[0]}` is `{row.only_if[1]}"
