"""What `test_operators` proves about the amazon provider's operators, as declarations: docs/operators.md is made of them.

Each service has a file of DAGs in `operators/`: `aws_<service>` succeeds, `aws_<service>_fails` fails, and the tasks of
`aws_<service>_killed` run until a person marks them. A `Proof` says of one of their tasks what the run must show; the test
fails if the task's class, state, log, XCom, link or deferral is another, so the page holds nothing that no run has shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

DAGS: Final = Path(__file__).parent / "operators"


class Against(StrEnum):
    MINISTACK = "MiniStack"
    MOTO = "moto"
    SCRIPT = "scripted answers"
    STAND_IN = "stand-in API server"


class Ending(StrEnum):
    SUCCESS = "success"
    FAILURE = "failed"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Of one task."""

    task: str
    operator: str
    """Its class, or `@task`."""
    hook: str = ""
    """What a `@task` uses."""
    against: Against = Against.MINISTACK
    ending: Ending = Ending.SUCCESS
    deferred: bool = False
    """It waited in the triggerer."""
    log: str = ""
    """A regular expression that its log has."""
    xcom: str = ""
    """A regular expression that its return value, as JSON, has."""
    link: str = ""
    """The name of an extra link."""
    leads_to: str = ""
    """What the link's URL has."""
    more_links: tuple[str, ...] = ()
    """The names of its other extra links."""
    knows: str = ""
    """A text of its log after which the operator knows what to cancel; if it has looked at the job, it knows anyway."""


@dataclass(frozen=True, kw_only=True)
class Case:
    service: str
    name: str
    """Of the DAG file and, after `aws_`, of its DAGs."""
    proofs: tuple[Proof, ...]
    not_proven: str
    requirements: str = ""
    """Of its folder: packages that Gust does not bring."""

    @property
    def file(self) -> Path:
        return DAGS / f"{self.name}.py"

    def dag_id(self, ending: Ending) -> str:
        suffix = {Ending.SUCCESS: "", Ending.FAILURE: "_fails", Ending.KILLED: "_killed"}[ending]
        return f"aws_{self.name}{suffix}"

    def of(self, ending: Ending) -> tuple[Proof, ...]:
        return tuple(proof for proof in self.proofs if proof.ending is ending)

    def dags(self) -> Iterator[tuple[str, tuple[Proof, ...]]]:
        """The DAGs that need no person, and their proofs."""
        for ending in (Ending.SUCCESS, Ending.FAILURE):
            if found := self.of(ending):
                yield self.dag_id(ending), found


def fails(task: str, operator: str, **more: object) -> Proof:
    return Proof(task=task, operator=operator, ending=Ending.FAILURE, **more)  # type: ignore[arg-type]


def killed(task: str, operator: str, **more: object) -> Proof:
    return Proof(task=task, operator=operator, ending=Ending.KILLED, **more)  # type: ignore[arg-type]


MOTO, SCRIPT, STAND_IN = Against.MOTO, Against.SCRIPT, Against.STAND_IN

GLUE_RUN = "AWS Glue Job Run Details"

CASES: Final = (
    Case(
        service="Glue jobs",
        name="glue",
        proofs=(
            Proof(
                task="runs",
                operator="GlueJobOperator",
                log="AWS Glue Job: report status: SUCCEEDED",
                xcom=r"^\"[-0-9a-f]{36}\"$",
                link=GLUE_RUN,
                leads_to="gluestudio/home?region=us-east-1#/job/report/run/",
            ),
            Proof(
                task="runs_deferred",
                operator="GlueJobOperator",
                deferred=True,
                xcom=r"^\"[-0-9a-f]{36}\"$",
                link=GLUE_RUN,
            ),
            Proof(task="sees", operator="GlueJobSensor", log="Run State: SUCCEEDED"),
            Proof(task="sees_deferred", operator="GlueJobSensor", deferred=True, log="AWS Glue Job completed"),
            Proof(task="shows_log", operator="GlueJobOperator", against=SCRIPT, log="Logs:(?s:.)*7 rows"),
            Proof(
                task="shows_log_deferred",
                operator="GlueJobOperator",
                against=SCRIPT,
                deferred=True,
                log="Logs:(?s:.)*7 rows",
            ),
            Proof(task="makes_rules", operator="GlueDataQualityOperator", against=SCRIPT),
            Proof(
                task="checks",
                operator="GlueDataQualityRuleSetEvaluationRunOperator",
                against=SCRIPT,
                log="total number of rules failed: 0",
                xcom="dqrun-",
            ),
            Proof(task="sees_check", operator="GlueDataQualityRuleSetEvaluationRunSensor", against=SCRIPT),
            Proof(
                task="checks_deferred",
                operator="GlueDataQualityRuleSetEvaluationRunOperator",
                against=SCRIPT,
                deferred=True,
                xcom="dqrun-",
            ),
            Proof(
                task="recommends_deferred",
                operator="GlueDataQualityRuleRecommendationRunOperator",
                against=SCRIPT,
                deferred=True,
                log="RowCount > 6",
            ),
            fails(
                "finds_bad_data",
                "GlueDataQualityRuleSetEvaluationRunOperator",
                against=SCRIPT,
                log="total number of rules failed: 1",
            ),
            fails("fails", "GlueJobOperator", log="Run State: FAILED"),
            fails("fails_deferred", "GlueJobOperator", deferred=True, log="Error in glue job"),
            killed("lasts", "GlueJobOperator", knows="monitor this Glue Job", log="Stopping AWS Glue Job: long"),
        ),
        not_proven="what a Spark job does: MiniStack runs Python shell scripts",
    ),
    Case(
        service="Batch",
        name="batch",
        proofs=(
            Proof(
                task="runs",
                operator="BatchOperator",
                against=SCRIPT,
                log=r"AWS Batch job \(job-\d+\) succeeded",
                xcom=r"job-\d+",
                link="Batch Job Details",
                leads_to="jobs/detail/job-",
                more_links=("Batch Job Definition", "Batch Job Queue"),
            ),
            Proof(
                task="runs_deferred",
                operator="BatchOperator",
                against=SCRIPT,
                deferred=True,
                xcom=r"job-\d+",
                link="Batch Job Queue",
            ),
            Proof(task="sees", operator="BatchSensor", against=SCRIPT),
            Proof(task="sees_deferred", operator="BatchSensor", against=SCRIPT, deferred=True),
            Proof(task="runs_array", operator="BatchOperator", against=SCRIPT, log="array properties: .'size': 2"),
            Proof(
                task="makes_environment_deferred",
                operator="BatchCreateComputeEnvironmentOperator",
                against=SCRIPT,
                deferred=True,
                xcom="compute-environment/spot",
            ),
            fails("fails", "BatchOperator", against=SCRIPT, log=r"AWS Batch job \(job-\d+\) failed"),
            fails("fails_deferred", "BatchOperator", against=SCRIPT, deferred=True, log="Error while running job"),
            killed("lasts", "BatchOperator", against=SCRIPT, log=r"AWS Batch job \(job-\d+\) terminated"),
        ),
        not_proven="the children of an array job",
    ),
    Case(
        service="SageMaker",
        name="sagemaker",
        proofs=(
            Proof(
                task="trains", operator="SageMakerTrainingOperator", against=MOTO, xcom="TrainingJobStatus.*Completed"
            ),
            Proof(task="sees", operator="SageMakerTrainingSensor", against=MOTO),
            Proof(task="makes_model", operator="SageMakerModelOperator", against=MOTO, xcom="ModelArn"),
            Proof(
                task="trains_deferred",
                operator="SageMakerTrainingOperator",
                against=SCRIPT,
                deferred=True,
                xcom="Completed",
            ),
            Proof(task="processes", operator="SageMakerProcessingOperator", against=SCRIPT, xcom="Completed"),
            Proof(
                task="processes_deferred",
                operator="SageMakerProcessingOperator",
                against=SCRIPT,
                deferred=True,
                xcom="Completed",
            ),
            Proof(
                task="transforms_deferred",
                operator="SageMakerTransformOperator",
                against=SCRIPT,
                deferred=True,
                xcom="TransformJobStatus.*Completed",
                link="Amazon SageMaker Transform Job Details",
                leads_to="transform-jobs/score",
            ),
            Proof(
                task="tunes_deferred",
                operator="SageMakerTuningOperator",
                against=SCRIPT,
                deferred=True,
                xcom="HyperParameterTuningJobStatus.*Completed",
            ),
            Proof(
                task="serves_deferred",
                operator="SageMakerEndpointOperator",
                against=SCRIPT,
                deferred=True,
                xcom="InService",
            ),
            Proof(
                task="starts_pipeline",
                operator="SageMakerStartPipelineOperator",
                against=SCRIPT,
                xcom="pipeline/nightly/execution/",
            ),
            Proof(
                task="starts_pipeline_deferred",
                operator="SageMakerStartPipelineOperator",
                against=SCRIPT,
                deferred=True,
                xcom="pipeline/nightly-deferred/execution/",
            ),
            fails(
                "fails_pipeline_deferred",
                "SageMakerStartPipelineOperator",
                against=SCRIPT,
                deferred=True,
                log="PipelineExecutionComplete failed",
            ),
            fails("fails", "SageMakerTrainingOperator", against=SCRIPT, log="AlgorithmError: no rows"),
            fails(
                "fails_deferred",
                "SageMakerTrainingOperator",
                against=SCRIPT,
                deferred=True,
                log="Error while running job",
            ),
        ),
        not_proven="AutoML, notebooks, experiments. The operators have no on_kill",
    ),
    Case(
        service="S3",
        name="s3",
        proofs=(
            Proof(task="makes_bucket", operator="S3CreateBucketOperator"),
            Proof(task="puts", operator="S3CreateObjectOperator"),
            Proof(task="waits", operator="S3KeySensor", log="Poking for key : s3://landing/in/"),
            Proof(task="waits_deferred", operator="S3KeySensor", deferred=True),
            Proof(task="transforms", operator="S3FileTransformOperator", log="Transform script successful"),
            Proof(task="copies", operator="S3CopyObjectOperator"),
            Proof(task="lists", operator="S3ListOperator", xcom="out/copy.csv.*out/sales.csv"),
            Proof(task="deletes", operator="S3DeleteObjectsOperator"),
            Proof(task="tags", operator="S3PutBucketTaggingOperator"),
            Proof(task="gets_tags", operator="S3GetBucketTaggingOperator", xcom="sales"),
            Proof(task="sees_quiet", operator="S3KeysUnchangedSensor", deferred=True),
            fails("fails", "S3CopyObjectOperator", log="404|NoSuchKey|does not exist"),
            fails("fails_deferred", "S3KeySensor", deferred=True, log="timeout|timed out"),
        ),
        not_proven="S3 Select, access points. The operators have no on_kill",
    ),
    Case(
        service="Glue crawlers",
        name="glue_crawler",
        proofs=(
            Proof(task="creates", operator="GlueCrawlerCreateOperator"),
            Proof(task="runs", operator="GlueCrawlerRunOperator", log="Status: SUCCEEDED", xcom="daily"),
            Proof(task="sees", operator="GlueCrawlerSensor"),
            Proof(task="runs_deferred", operator="GlueCrawlerRunOperator", deferred=True, xcom="hourly"),
            fails("fails", "GlueCrawlerSensor", against=SCRIPT, log="Status: FAILED"),
            fails("fails_to_start", "GlueCrawlerRunOperator", against=SCRIPT, log="Crawler nowhere not found"),
        ),
        not_proven="a crawl that fails while the operator waits: the operator takes it for a success. It has no on_kill",
    ),
    Case(
        service="Athena",
        name="athena",
        proofs=(
            Proof(
                task="runs",
                operator="AthenaOperator",
                xcom="^.[-0-9a-f]{36}.$",
                link="Query Results",
                leads_to="/athena/home?region=us-east-1#/query-editor/history/",
            ),
            Proof(task="sees", operator="AthenaSensor"),
            Proof(
                task="runs_deferred",
                operator="AthenaOperator",
                deferred=True,
                xcom="^.[-0-9a-f]{36}.$",
                link="Query Results",
            ),
            fails("fails", "AthenaOperator", against=SCRIPT, log="TABLE_NOT_FOUND"),
            fails("fails_deferred", "AthenaOperator", against=SCRIPT, deferred=True, log="Error while waiting"),
            killed("lasts", "AthenaOperator", against=SCRIPT, log="to reach final state"),
        ),
        not_proven="what a query returns: MiniStack has no engine here. Spark sessions",
    ),
    Case(
        service="Lambda",
        name="lambda_function",
        proofs=(
            Proof(task="creates", operator="LambdaCreateFunctionOperator", xcom="function:double"),
            Proof(
                task="creates_deferred",
                operator="LambdaCreateFunctionOperator",
                deferred=True,
                xcom="function:double_deferred",
            ),
            Proof(task="sees", operator="LambdaFunctionStateSensor"),
            Proof(task="invokes", operator="LambdaInvokeFunctionOperator", log="doubling", xcom="42"),
            Proof(task="invokes_version", operator="LambdaInvokeFunctionOperator", xcom="8"),
            Proof(task="leaves", operator="LambdaInvokeFunctionOperator", log="status_code|StatusCode|202|Lambda"),
            fails("fails", "LambdaInvokeFunctionOperator", log="Lambda function execution resulted in error"),
        ),
        not_proven="container images. The operators have no on_kill",
    ),
    Case(
        service="Step Functions",
        name="step_function",
        proofs=(
            Proof(
                task="starts",
                operator="StepFunctionStartExecutionOperator",
                xcom="execution:passes:",
                link="State Machine Executions Details",
                leads_to="/states/home?region=us-east-1#/v2/executions/details/",
                more_links=("State Machine Details",),
            ),
            Proof(task="sees", operator="StepFunctionExecutionSensor"),
            Proof(
                task="gets",
                operator="StepFunctionGetExecutionOutputOperator",
                xcom="written.*7",
                link="State Machine Executions Details",
            ),
            Proof(
                task="runs_deferred",
                operator="StepFunctionStartExecutionOperator",
                deferred=True,
                xcom="execution:passes:",
                link="State Machine Details",
            ),
            fails("fails", "StepFunctionExecutionSensor", log="NoRows"),
            fails("fails_deferred", "StepFunctionStartExecutionOperator", deferred=True, log="Trigger error"),
        ),
        not_proven="redrive. The operator has no on_kill",
    ),
    Case(
        service="EMR",
        name="emr",
        proofs=(
            Proof(
                task="creates",
                operator="EmrCreateJobFlowOperator",
                xcom="j-",
                link="EMR Cluster",
                leads_to="clusterDetails/j-",
            ),
            Proof(
                task="adds",
                operator="EmrAddStepsOperator",
                xcom="s-",
                link="EMR Cluster",
                more_links=("EMR Cluster Logs",),
            ),
            Proof(task="sees", operator="EmrStepSensor", link="EMR Cluster", more_links=("EMR Cluster Logs",)),
            Proof(task="adds_deferred", operator="EmrAddStepsOperator", deferred=True, xcom="s-"),
            Proof(task="terminates_deferred", operator="EmrTerminateJobFlowOperator", deferred=True),
            Proof(task="sees_end", operator="EmrJobFlowSensor"),
            fails("fails", "EmrAddStepsOperator", against=SCRIPT, log="Unknown Error|FAILED|steps failed"),
            fails(
                "fails_deferred", "EmrAddStepsOperator", against=SCRIPT, deferred=True, log="Error while running steps"
            ),
            killed("lasts", "EmrCreateJobFlowOperator", against=SCRIPT, log="Terminating job flow j-"),
        ),
        not_proven="notebooks, cancelling steps (EmrAddStepsOperator has no on_kill)",
    ),
    Case(
        service="EMR Serverless",
        name="emr_serverless",
        proofs=(
            Proof(task="creates", operator="EmrServerlessCreateApplicationOperator", against=SCRIPT, xcom="app-"),
            Proof(
                task="runs",
                operator="EmrServerlessStartJobOperator",
                against=SCRIPT,
                xcom="run-",
                link="S3 Logs",
                leads_to="operators",
                more_links=("CloudWatch Logs", "EMR Serverless Dashboard", "Spark Driver stdout"),
            ),
            Proof(task="sees", operator="EmrServerlessJobSensor", against=SCRIPT),
            Proof(task="sees_deferred", operator="EmrServerlessJobSensor", against=SCRIPT, deferred=True),
            Proof(
                task="runs_deferred",
                operator="EmrServerlessStartJobOperator",
                against=SCRIPT,
                deferred=True,
                xcom="run-",
            ),
            Proof(
                task="deletes_deferred",
                operator="EmrServerlessDeleteApplicationOperator",
                against=SCRIPT,
                deferred=True,
            ),
            fails("fails", "EmrServerlessStartJobOperator", against=SCRIPT, log="Serverless Job failed"),
            fails(
                "fails_deferred",
                "EmrServerlessStartJobOperator",
                against=SCRIPT,
                deferred=True,
                log="KeyError: 'job_details'",
            ),
            killed("lasts", "EmrServerlessStartJobOperator", against=SCRIPT, log="Stopping job run with jobId"),
            killed(
                "waits",
                "EmrServerlessStartJobOperator",
                against=SCRIPT,
                deferred=True,
                log="Cancelling EMR Serverless job",
            ),
        ),
        not_proven="sessions. The provider ends a failed deferred job with a KeyError, also in Airflow",
    ),
    Case(
        service="EMR on EKS",
        name="emr_containers",
        proofs=(
            Proof(task="makes_cluster", operator="EmrEksCreateClusterOperator", against=SCRIPT, xcom="vc-2"),
            Proof(task="runs", operator="EmrContainerOperator", against=SCRIPT, xcom="run-"),
            Proof(task="sees", operator="EmrContainerSensor", against=SCRIPT),
            Proof(task="runs_deferred", operator="EmrContainerOperator", against=SCRIPT, deferred=True, xcom="run-"),
            fails("fails", "EmrContainerOperator", against=SCRIPT, log="Final state is FAILED"),
            fails(
                "fails_deferred", "EmrContainerOperator", against=SCRIPT, deferred=True, log="Error while running job"
            ),
            killed("lasts", "EmrContainerOperator", against=SCRIPT, log="Stopping job run with jobId"),
            killed("waits", "EmrContainerOperator", against=SCRIPT, deferred=True, log="[Cc]ancel"),
        ),
        not_proven="managed endpoints: the provider has no operator for them",
    ),
    Case(
        service="ECS on Fargate",
        name="ecs",
        proofs=(
            Proof(task="registers", operator="EcsRegisterTaskDefinitionOperator", xcom="task-definition/registered"),
            Proof(task="runs", operator="EcsRunTaskOperator", log="ECS Task stopped, check status"),
            Proof(task="runs_deferred", operator="EcsRunTaskOperator", deferred=True),
            Proof(task="sees", operator="EcsTaskStateSensor"),
            Proof(task="shows_log", operator="EcsRunTaskOperator", against=SCRIPT, log="7 rows"),
            Proof(
                task="shows_log_deferred", operator="EcsRunTaskOperator", against=SCRIPT, deferred=True, log="7 rows"
            ),
            fails("fails", "EcsRunTaskOperator", log="not in success state"),
            fails("fails_deferred", "EcsRunTaskOperator", deferred=True, log="not in success state"),
            killed("lasts", "EcsRunTaskOperator", knows="ECS task ID is", log="stoppedReason|Task killed by the user"),
        ),
        not_proven="images: a container is a process here",
    ),
    Case(
        service="Redshift Data",
        name="redshift_data",
        proofs=(
            Proof(task="runs", operator="RedshiftDataOperator", against=SCRIPT, xcom="longValue.*42"),
            Proof(task="runs_deferred", operator="RedshiftDataOperator", against=SCRIPT, deferred=True, xcom="0000-"),
            Proof(task="begins_session", operator="RedshiftDataOperator", against=SCRIPT, xcom="0000-.*:2"),
            Proof(task="goes_on", operator="RedshiftDataOperator", against=SCRIPT, xcom="longValue.*42"),
            fails("fails", "RedshiftDataOperator", against=SCRIPT, log="does not exist"),
            fails("fails_deferred", "RedshiftDataOperator", against=SCRIPT, deferred=True, log="error message"),
            killed("lasts", "RedshiftDataOperator", against=SCRIPT, log="Stopping Query with statementId"),
            killed(
                "waits", "RedshiftDataOperator", against=SCRIPT, deferred=True, log="Redshift statement .* cancelled"
            ),
        ),
        not_proven="what SQL does: no database is behind the script",
    ),
    Case(
        service="Redshift",
        name="redshift_cluster",
        proofs=(
            Proof(task="creates", operator="RedshiftCreateClusterOperator", against=MOTO),
            Proof(task="sees", operator="RedshiftClusterSensor", against=MOTO),
            Proof(task="snapshots", operator="RedshiftCreateClusterSnapshotOperator", against=MOTO),
            Proof(task="deletes_snapshot", operator="RedshiftDeleteClusterSnapshotOperator", against=MOTO),
            Proof(task="pauses", operator="RedshiftPauseClusterOperator", against=MOTO),
            Proof(task="resumes", operator="RedshiftResumeClusterOperator", against=MOTO),
            Proof(task="deletes", operator="RedshiftDeleteClusterOperator", against=MOTO),
            fails("fails", "RedshiftDeleteClusterOperator", against=MOTO, log="ClusterNotFound"),
            fails("fails_deferred", "RedshiftClusterSensor", against=MOTO, deferred=True, log="ClusterNotFound"),
        ),
        not_proven="deferred changes of a cluster: moto makes them at once. The operators have no on_kill",
    ),
    Case(
        service="SQS",
        name="sqs",
        proofs=(
            Proof(task="publishes", operator="SqsPublishOperator", xcom="MessageId"),
            Proof(task="waits", operator="SqsSensor"),
            Proof(task="waits_deferred", operator="SqsSensor", deferred=True),
            Proof(task="publishes_in_order", operator="SqsPublishOperator", xcom="SequenceNumber"),
            Proof(task="waits_for_text", operator="SqsSensor"),
            fails("fails", "SqsPublishOperator", log="NonExistentQueue|does not exist"),
            fails("fails_deferred", "SqsSensor", deferred=True, log="timeout|timed out"),
        ),
        not_proven="filters by JSONPath. The operator has no on_kill",
    ),
    Case(
        service="SNS",
        name="sns",
        proofs=(
            Proof(task="publishes", operator="SnsPublishOperator", xcom="MessageId"),
            Proof(task="publishes_in_order", operator="SnsPublishOperator", xcom="MessageId"),
            fails("fails", "SnsPublishOperator", log="NotFound|does not exist"),
        ),
        not_proven="mail and text messages. The operator has no on_kill",
    ),
    Case(
        service="DynamoDB",
        name="dynamodb",
        proofs=(
            Proof(task="puts", operator="@task", hook="DynamoDBHook"),
            Proof(task="waits", operator="DynamoDBValueSensor"),
            Proof(task="waits_deferred", operator="DynamoDBValueSensor", deferred=True),
            Proof(task="exports", operator="DynamoDBToS3Operator"),
            fails("fails", "DynamoDBToS3Operator", log="ResourceNotFound"),
            fails("fails_deferred", "DynamoDBValueSensor", deferred=True, log="timeout|timed out"),
        ),
        not_proven="exports to a point in time, imports from S3. The operators have no on_kill",
    ),
    Case(
        service="EventBridge",
        name="eventbridge",
        proofs=(
            Proof(task="puts_rule", operator="EventBridgePutRuleOperator", xcom="rule/operators"),
            Proof(task="puts_events", operator="EventBridgePutEventsOperator", log="Sent 1 events to EventBridge"),
            Proof(task="disables_rule", operator="EventBridgeDisableRuleOperator"),
            Proof(task="enables_rule", operator="EventBridgeEnableRuleOperator"),
            fails("fails", "EventBridgePutRuleOperator", log="InvalidEventPattern"),
        ),
        not_proven="global endpoints. The operators have no on_kill",
    ),
    Case(
        service="CloudWatch",
        name="cloudwatch",
        proofs=(
            Proof(task="reads", operator="@task", hook="AwsLogsHook", xcom="7 rows.*9 rows"),
            Proof(
                task="shows_log_of_job",
                operator="BatchOperator",
                against=SCRIPT,
                deferred=True,
                log="9 rows",
                link="CloudWatch Events",
                leads_to="cloudwatch/home",
            ),
            fails("fails", "@task", hook="AwsLogsHook", log="ResourceNotFound"),
        ),
        not_proven="metrics and alarms: the provider has no operator for them",
    ),
    Case(
        service="Firehose",
        name="firehose",
        proofs=(
            Proof(task="puts", operator="@task", hook="FirehoseHook", xcom="^0$"),
            fails("fails", "@task", hook="FirehoseHook", log="ResourceNotFound"),
        ),
        not_proven="the delivery. The provider has a hook and no operator",
    ),
    Case(
        service="DataSync",
        name="datasync",
        proofs=(
            Proof(
                task="runs",
                operator="DataSyncOperator",
                against=SCRIPT,
                log="Status=SUCCESS",
                xcom="TaskExecutionArn",
                link="DataSync Task Execution",
                leads_to="/datasync/home?region=us-east-1#/history/task-nightly/exec-",
                more_links=("DataSync Task",),
            ),
            fails("fails", "DataSyncOperator", against=SCRIPT, log="ErrorCode=AccessDenied"),
            killed("lasts", "DataSyncOperator", against=SCRIPT, log="Cancelled TaskExecutionArn"),
        ),
        not_proven="making of tasks and locations. The operator is not deferrable",
    ),
    Case(
        service="Bedrock",
        name="bedrock",
        proofs=(
            Proof(task="invokes", operator="BedrockInvokeModelOperator", log="Bedrock model response", xcom="results"),
            Proof(
                task="runs",
                operator="BedrockCustomizeModelOperator",
                against=SCRIPT,
                xcom="model-customization-job/tune",
            ),
            Proof(task="sees", operator="BedrockCustomizeModelCompletedSensor", against=SCRIPT),
            Proof(
                task="runs_deferred",
                operator="BedrockCustomizeModelOperator",
                against=SCRIPT,
                deferred=True,
                xcom="model-customization-job/tune-deferred",
            ),
            Proof(
                task="infers_deferred",
                operator="BedrockBatchInferenceOperator",
                against=SCRIPT,
                deferred=True,
                xcom="model-invocation-job/",
            ),
            Proof(task="makes_guardrail", operator="BedrockCreateGuardrailOperator", against=SCRIPT, xcom="ofpolite"),
            Proof(task="deletes_guardrail", operator="BedrockDeleteGuardrailOperator", against=SCRIPT),
            fails("fails", "BedrockCustomizeModelOperator", against=SCRIPT, log="terminal failure state"),
            fails(
                "fails_deferred",
                "BedrockCustomizeModelOperator",
                against=SCRIPT,
                deferred=True,
                log="Error while running job",
            ),
        ),
        not_proven="knowledge bases, agents, provisioned throughput. The operators have no on_kill",
    ),
    Case(
        service="EKS",
        name="eks",
        requirements="apache-airflow-providers-cncf-kubernetes",
        proofs=(
            Proof(task="creates", operator="EksCreateClusterOperator", against=SCRIPT),
            Proof(task="sees", operator="EksClusterStateSensor", against=SCRIPT),
            Proof(task="deletes", operator="EksDeleteClusterOperator", against=SCRIPT),
            Proof(task="creates_deferred", operator="EksCreateClusterOperator", against=SCRIPT, deferred=True),
            Proof(task="deletes_deferred", operator="EksDeleteClusterOperator", against=SCRIPT, deferred=True),
            fails(
                "fails", "EksCreateClusterOperator", against=SCRIPT, log="Cluster failed to start and will be torn down"
            ),
            fails("fails_deferred", "EksCreateClusterOperator", against=SCRIPT, deferred=True, log="torn down"),
        ),
        not_proven="node groups, Fargate profiles. The operators have no on_kill",
    ),
    Case(
        service="Pods on Kubernetes",
        name="kubernetes_pod",
        requirements="apache-airflow-providers-cncf-kubernetes",
        proofs=(
            Proof(task="runs", operator="KubernetesPodOperator", against=STAND_IN, log="seven rows"),
            Proof(
                task="runs_deferred",
                operator="KubernetesPodOperator",
                against=STAND_IN,
                deferred=True,
                log="seven rows",
            ),
            fails("fails", "KubernetesPodOperator", against=STAND_IN, log="'phase': 'Failed'"),
            killed("lasts", "KubernetesPodOperator", against=STAND_IN, log="Deleting pod|lasts-blocking"),
            killed(
                "waits", "KubernetesPodOperator", against=STAND_IN, deferred=True, log="Deleting pod lasts-deferred"
            ),
        ),
        not_proven="jobs, XComs of a sidecar",
    ),
    Case(
        service="Pods on EKS",
        name="eks_pod",
        requirements="apache-airflow-providers-cncf-kubernetes",
        proofs=(
            Proof(task="runs", operator="EksPodOperator", against=STAND_IN, log="seven rows"),
            Proof(task="runs_deferred", operator="EksPodOperator", against=STAND_IN, deferred=True, log="seven rows"),
            fails("fails", "EksPodOperator", against=STAND_IN, log="'phase': 'Failed'"),
            killed("lasts", "EksPodOperator", against=STAND_IN, log="eks-lasts-blocking"),
        ),
        not_proven="the signature of the token (the stand-in reads who signed for which cluster). The pod of a deferred "
        "task outlives a mark: the trigger has lost its key by then, also in Airflow",
    ),
)
