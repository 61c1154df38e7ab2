"""Which events of AWS tell that what a parked trigger waits for has come to a steady state.

`TRIGGERS` says for a trigger's class which events speak of its resource, and which of its arguments names the resource.
Event and trigger meet at the resource's name (`Wait.resource`): a trigger that waits stores a `Wait` under it, and an event
reads what is stored there. To add a trigger, add a row, and its event to `EVENTS` if there is none; docs/waiting.md and the
rules of template.yaml follow from both, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gust.model.dispatch import Dispatch
from gust.model.keys import OfInstance

MOST_RESOURCES: Final = 10
"""A trigger that waits for more (steps of EMR) is not woken: each takes a write."""

LONGEST_NAME: Final = 500
"""Characters, all of ASCII: no service has other names, and a key of the table holds this one."""


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A kind of event that tells the state of a resource."""

    source: str
    detail_type: str
    state: str
    """The field of `detail` with the state."""
    steady: tuple[str, ...]
    """The states in which a trigger may see what it waits for. Other states wake none."""
    name: str
    """The field of `detail` with the resource's name; a dot separates fields within fields."""

    def resource_in(self, detail: Mapping[str, Any]) -> str | None:
        if detail.get(self.state) not in self.steady:
            return None
        found: Any = detail
        for part in self.name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return self.resource(found) if isinstance(found, str) and found else None

    def resource(self, name: str) -> str:
        return f"{self.detail_type}: {name}"


@dataclass(frozen=True, slots=True)
class Row:
    """What tells of a trigger's resource."""

    event: StateEvent
    argument: str
    """The trigger's argument with the resource's name, or with a list of names."""
    only_if: tuple[str, str] | None = None
    """The row holds only where this argument has this value, whatever its case."""
    always_comes: bool = True
    """False: AWS sends the event only where it was asked for it, or not for every end. The trigger looks as often as without
    it."""
    looks_for: str | None = None
    """An argument with which the trigger looks for something else, too (lines of a log): then it looks as often as without
    events."""


_JOB = ("SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED", "ERROR")
_SAGEMAKER = ("Completed", "Failed", "Stopped")

GLUE_JOB: Final = StateEvent("aws.glue", "Glue Job State Change", "state", _JOB, "jobRunId")
GLUE_CRAWLER: Final = StateEvent(
    "aws.glue", "Glue Crawler State Change", "state", ("Succeeded", "Failed"), "crawlerName"
)
GLUE_DATA_QUALITY: Final = StateEvent(
    "aws.glue-dataquality", "Data Quality Evaluation Results Available", "state", _JOB, "context.runId"
)
DATABREW_JOB: Final = StateEvent("aws.databrew", "DataBrew Job State Change", "state", _JOB, "jobRunId")
BATCH_JOB: Final = StateEvent("aws.batch", "Batch Job State Change", "status", ("SUCCEEDED", "FAILED"), "jobId")
ECS_TASK: Final = StateEvent("aws.ecs", "ECS Task State Change", "lastStatus", ("STOPPED",), "taskArn")
EMR_STEP: Final = StateEvent(
    "aws.emr",
    "EMR Step Status Change",
    "state",
    ("COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"),
    "stepId",
)
EMR_CLUSTER: Final = StateEvent(
    "aws.emr",
    "EMR Cluster State Change",
    "state",
    # A trigger that waits for a cluster to be made is content with one that runs its first steps.
    ("RUNNING", "WAITING", "TERMINATED", "TERMINATED_WITH_ERRORS"),
    "clusterId",
)
EMR_ON_EKS_JOB: Final = StateEvent(
    "aws.emr-containers", "EMR Job Run State Change", "state", ("COMPLETED", "FAILED", "CANCELLED"), "id"
)
EMR_SERVERLESS_JOB: Final = StateEvent(
    "aws.emr-serverless",
    "EMR Serverless Job Run State Change",
    "state",
    ("SUCCESS", "FAILED", "CANCELLED"),
    "jobRunId",
)
EMR_SERVERLESS_APPLICATION: Final = StateEvent(
    "aws.emr-serverless",
    "EMR Serverless Application State Change",
    "state",
    ("CREATED", "STARTED", "STOPPED", "TERMINATED"),
    "applicationId",
)
EXECUTION: Final = StateEvent(
    "aws.states",
    "Step Functions Execution Status Change",
    "status",
    ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"),
    "executionArn",
)
ATHENA_QUERY: Final = StateEvent(
    "aws.athena",
    "Athena Query State Change",
    "currentState",
    ("SUCCEEDED", "FAILED", "CANCELLED"),
    "queryExecutionId",
)
REDSHIFT_STATEMENT: Final = StateEvent(
    "aws.redshift-data",
    "Redshift Data Statement Status Change",
    "state",
    ("FINISHED", "FAILED", "ABORTED"),
    "statementId",
)
BEDROCK_CUSTOMIZATION: Final = StateEvent(
    "aws.bedrock", "Model Customization Job State Change", "jobStatus", _SAGEMAKER, "jobName"
)
BEDROCK_BATCH: Final = StateEvent(
    "aws.bedrock",
    "Batch Inference Job State Change",
    "status",
    ("Scheduled", "Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"),
    "batchJobArn",
)
SAGEMAKER_TRAINING: Final = StateEvent(
    "aws.sagemaker", "SageMaker Training Job State Change", "TrainingJobStatus", _SAGEMAKER, "TrainingJobName"
)
SAGEMAKER_TUNING: Final = StateEvent(
    "aws.sagemaker",
    "SageMaker HyperParameter Tuning Job State Change",
    "HyperParameterTuningJobStatus",
    _SAGEMAKER,
    "HyperParameterTuningJobName",
)
SAGEMAKER_TRANSFORM: Final = StateEvent(
    "aws.sagemaker", "SageMaker Transform Job State Change", "TransformJobStatus", _SAGEMAKER, "TransformJobName"
)
SAGEMAKER_PROCESSING: Final = StateEvent(
    "aws.sagemaker", "SageMaker Processing Job State Change", "ProcessingJobStatus", _SAGEMAKER, "ProcessingJobName"
)
SAGEMAKER_ENDPOINT: Final = StateEvent(
    "aws.sagemaker",
    "SageMaker Endpoint State Change",
    "EndpointStatus",
    # The service speaks of IN_SERVICE in events and of InService in its API.
    ("IN_SERVICE", "InService", "FAILED", "Failed", "OUT_OF_SERVICE", "OutOfService"),
    "EndpointName",
)
SAGEMAKER_PIPELINE: Final = StateEvent(
    "aws.sagemaker",
    "SageMaker Model Building Pipeline Execution Status Change",
    "currentPipelineExecutionStatus",
    ("Succeeded", "Failed", "Stopped"),
    "pipelineExecutionArn",
)
EC2_INSTANCE: Final = StateEvent(
    "aws.ec2",
    "EC2 Instance State-change Notification",
    "state",
    ("running", "stopped", "terminated"),
    "instance-id",
)

EVENTS: Final = (
    GLUE_JOB,
    GLUE_CRAWLER,
    GLUE_DATA_QUALITY,
    DATABREW_JOB,
    BATCH_JOB,
    ECS_TASK,
    EMR_STEP,
    EMR_CLUSTER,
    EMR_ON_EKS_JOB,
    EMR_SERVERLESS_JOB,
    EMR_SERVERLESS_APPLICATION,
    EXECUTION,
    ATHENA_QUERY,
    REDSHIFT_STATEMENT,
    BEDROCK_CUSTOMIZATION,
    BEDROCK_BATCH,
    SAGEMAKER_TRAINING,
    SAGEMAKER_TUNING,
    SAGEMAKER_TRANSFORM,
    SAGEMAKER_PROCESSING,
    SAGEMAKER_ENDPOINT,
    SAGEMAKER_PIPELINE,
    EC2_INSTANCE,
)

_AMAZON: Final = "airflow.providers.amazon.aws.triggers."

TRIGGERS: Final[Mapping[str, tuple[Row, ...]]] = {
    _AMAZON + name: rows
    for name, rows in {
        "athena.AthenaTrigger": (Row(ATHENA_QUERY, "query_execution_id"),),
        "batch.BatchJobTrigger": (Row(BATCH_JOB, "job_id"),),
        "bedrock.BedrockBatchInferenceCompletedTrigger": (Row(BEDROCK_BATCH, "job_arn"),),
        "bedrock.BedrockBatchInferenceScheduledTrigger": (Row(BEDROCK_BATCH, "job_arn"),),
        "bedrock.BedrockCustomizeModelCompletedTrigger": (Row(BEDROCK_CUSTOMIZATION, "job_name"),),
        "ec2.EC2StateSensorTrigger": (Row(EC2_INSTANCE, "instance_id"),),
        "ecs.TaskDoneTrigger": (Row(ECS_TASK, "task_arn", looks_for="log_group"),),
        "emr.EmrAddStepsTrigger": (Row(EMR_STEP, "step_ids"),),
        "emr.EmrStepSensorTrigger": (Row(EMR_STEP, "step_id"),),
        "emr.EmrCreateJobFlowTrigger": (Row(EMR_CLUSTER, "job_flow_id"),),
        "emr.EmrTerminateJobFlowTrigger": (Row(EMR_CLUSTER, "job_flow_id"),),
        "emr.EmrContainerTrigger": (Row(EMR_ON_EKS_JOB, "job_id"),),
        "emr.EmrServerlessStartJobTrigger": (Row(EMR_SERVERLESS_JOB, "job_id"),),
        "emr.EmrServerlessJobSensorTrigger": (Row(EMR_SERVERLESS_JOB, "job_run_id"),),
        "emr.EmrServerlessCreateApplicationTrigger": (Row(EMR_SERVERLESS_APPLICATION, "application_id"),),
        "emr.EmrServerlessStartApplicationTrigger": (Row(EMR_SERVERLESS_APPLICATION, "application_id"),),
        "emr.EmrServerlessStopApplicationTrigger": (Row(EMR_SERVERLESS_APPLICATION, "application_id"),),
        "emr.EmrServerlessDeleteApplicationTrigger": (Row(EMR_SERVERLESS_APPLICATION, "application_id"),),
        "glue.GlueJobCompleteTrigger": (Row(GLUE_JOB, "run_id", looks_for="verbose"),),
        "glue.GlueDataQualityRuleSetEvaluationRunCompleteTrigger": (Row(GLUE_DATA_QUALITY, "evaluation_run_id"),),
        "glue_crawler.GlueCrawlerCompleteTrigger": (Row(GLUE_CRAWLER, "crawler_name", always_comes=False),),
        "glue_databrew.GlueDataBrewJobCompleteTrigger": (Row(DATABREW_JOB, "run_id"),),
        "redshift_data.RedshiftDataTrigger": (Row(REDSHIFT_STATEMENT, "statement_id", always_comes=False),),
        "sagemaker.SageMakerPipelineTrigger": (Row(SAGEMAKER_PIPELINE, "pipeline_execution_arn"),),
        "sagemaker.SageMakerTrigger": tuple(
            Row(event, "job_name", only_if=("job_type", kind))
            for kind, event in {
                "training": SAGEMAKER_TRAINING,
                "tuning": SAGEMAKER_TUNING,
                "transform": SAGEMAKER_TRANSFORM,
                "processing": SAGEMAKER_PROCESSING,
                "endpoint": SAGEMAKER_ENDPOINT,
            }.items()
        ),
        "step_function.StepFunctionsExecutionCompleteTrigger": (Row(EXECUTION, "execution_arn"),),
    }.items()
}
"""By the trigger's classpath."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a trigger waits for, as events name it."""

    resources: tuple[str, ...]
    has_all_told: bool
    """Events tell everything that the trigger looks for, so it may look seldom."""


def awaited(classpath: str, kwargs: Any, *, region: str) -> Awaited | None:
    """`kwargs`: the trigger's arguments as Airflow encodes them. None where no event of that region's default bus tells of
    it."""
    if not isinstance(kwargs, Mapping) or kwargs.get("region_name") not in (None, "", region):
        return None
    for row in TRIGGERS.get(classpath, ()):
        if row.only_if is not None and str(kwargs.get(row.only_if[0])).lower() != row.only_if[1]:
            continue
        names = list(_texts(kwargs.get(row.argument)))
        if not 0 < len(names) <= MOST_RESOURCES or not all(_is_here(name, region) for name in names):
            return None
        has_all_told = row.always_comes and not (row.looks_for and kwargs.get(row.looks_for))
        return Awaited(tuple(row.event.resource(name) for name in names), has_all_told)
    return None


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str() if value:
            yield value
        case [*values]:
            yield from (one for one in values if isinstance(one, str) and one)
        case _:
            pass


def _is_here(name: str, region: str) -> bool:
    """False for an ARN of another region."""
    parts = name.split(":")
    names_region = name.startswith("arn:") and len(parts) > 4 and parts[3] != ""
    return name.isascii() and len(name) <= LONGEST_NAME and (not names_region or parts[3] == region)


_BY_TYPE: Final = {(event.source, event.detail_type): event for event in EVENTS}


def is_state_event(event: Mapping[str, Any]) -> bool:
    return (str(event.get("source")), str(event.get("detail-type"))) in _BY_TYPE


def resource_of(event: Mapping[str, Any]) -> str | None:
    """The resource of which the event says that it has come to a steady state; None of any other event."""
    kind = _BY_TYPE.get((str(event.get("source")), str(event.get("detail-type"))))
    detail = event.get("detail")
    return kind.resource_in(detail) if kind is not None and isinstance(detail, Mapping) else None


def patterns() -> dict[str, dict[str, Any]]:
    """EventBridge's patterns that together match the events, by the field with the state: one field, one pattern. SageMaker
    has a field for each kind of job, and one pattern for all of its states."""
    fields: dict[str, list[StateEvent]] = {}
    for event in EVENTS:
        fields.setdefault("SageMaker" if event.source == "aws.sagemaker" else event.state, []).append(event)
    return {name: _pattern(name, events) for name, events in fields.items()}


def _pattern(field: str, events: Sequence[StateEvent]) -> dict[str, Any]:
    pattern: dict[str, Any] = {
        "source": _each(event.source for event in events),
        "detail-type": _each(event.detail_type for event in events),
    }
    if field == events[0].state:
        pattern["detail"] = {field: _each(state for event in events for state in event.steady)}
    return pattern


def _each(texts: Iterator[str]) -> Sequence[str]:
    return list(dict.fromkeys(texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(OfInstance):
    """A deferred dispatch waits for a resource of which an event will tell."""

    resource: str
    try_number: int
    dispatch_count: int
    expires_at: datetime

    @classmethod
    def of(cls, resource: str, dispatch: Dispatch, expires_at: datetime) -> Wait:
        key = dispatch.key
        return cls(
            resource=resource,
            dag_id=key.dag_id,
            run_id=key.run_id,
            task_id=key.task_id,
            map_index=key.map_index,
            try_number=dispatch.try_number,
            dispatch_count=dispatch.dispatch_count,
            expires_at=expires_at,
        )
