"""The scripts of `scripted_aws`: per service, what AWS answers about jobs that end well, end badly, or last."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from tests.system.scripted_aws import ACCOUNT, REGION, AwsError, Job, Play

Answer = dict[str, Any]
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


class Batch(Play):
    def submit_job(self, jobName: str, **request: Any) -> Answer:
        job_id = f"job-{self.number()}"
        states = ("SUBMITTED", "RUNNING")
        job = Job(jobName, job_id, states, "SUCCEEDED", "FAILED", "FAILED", request=request)
        self.add(job)
        return {"jobId": job.id, "jobName": jobName, "jobArn": arn("batch", f"job/{job.id}")}

    def describe_jobs(self, jobs: list[str]) -> Answer:
        return {"jobs": [self._told(self.jobs[job_id]) for job_id in jobs if job_id in self.jobs]}

    def terminate_job(self, jobId: str, reason: str) -> Answer:
        self.find(jobId, code="ClientException").is_stopped = True
        return {}

    def create_compute_environment(self, computeEnvironmentName: str, **request: Any) -> Answer:
        environment_arn = arn("batch", f"compute-environment/{computeEnvironmentName}")
        self.add(Job(computeEnvironmentName, environment_arn, ("CREATING",), "VALID", "INVALID", "DELETED"))
        return {"computeEnvironmentName": computeEnvironmentName, "computeEnvironmentArn": environment_arn}

    def describe_compute_environments(self, computeEnvironments: list[str]) -> Answer:
        return {"computeEnvironments": [self._environment(self.find(each)) for each in computeEnvironments]}

    @staticmethod
    def _environment(job: Job) -> Answer:
        named = {"computeEnvironmentName": job.name, "computeEnvironmentArn": job.id}
        return named | {"state": "ENABLED", "status": job.look()}

    @staticmethod
    def _told(job: Job) -> Answer:
        array = {"arrayProperties": job.request["arrayProperties"]} if "arrayProperties" in job.request else {}
        told: Answer = {
            **array,
            "jobId": job.id,
            "jobName": job.name,
            "jobQueue": arn("batch", f"job-queue/{job.request['jobQueue']}"),
            "jobDefinition": arn("batch", f"job-definition/{job.request['jobDefinition']}"),
            "status": job.look(),
            "startedAt": 1_767_225_600_000,
            "container": {
                "image": "etl:1",
                "command": ["run"],
                "logStreamName": "today",
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {"awslogs-group": "operators", "awslogs-region": REGION},
                },
            },
        }
        return told | ({"statusReason": "Essential container in task exited"} if told["status"] == "FAILED" else {})


class SageMaker(Play):
    def create_training_job(self, TrainingJobName: str, **request: Any) -> Answer:
        job = Job(TrainingJobName, TrainingJobName, ("InProgress",), "Completed", "Failed", "Stopped", request=request)
        return {"TrainingJobArn": arn("sagemaker", f"training-job/{self.add(job).id}")}

    def describe_training_job(self, TrainingJobName: str) -> Answer:
        if TrainingJobName not in self.jobs:
            raise AwsError("ValidationException", "Requested resource not found.")
        job = self.jobs[TrainingJobName]
        status = job.look()
        return {
            "TrainingJobName": job.name,
            "TrainingJobArn": arn("sagemaker", f"training-job/{job.name}"),
            "ModelArtifacts": {"S3ModelArtifacts": f"s3://models/out/{job.name}/model.tar.gz"},
            "TrainingJobStatus": status,
            "SecondaryStatus": "Training" if status == "InProgress" else status,
            "AlgorithmSpecification": job.request["AlgorithmSpecification"],
            "ResourceConfig": job.request["ResourceConfig"],
            "StoppingCondition": job.request["StoppingCondition"],
            "CreationTime": BEGINNING,
            "TrainingStartTime": BEGINNING,
            "TrainingEndTime": BEGINNING,
            **({"FailureReason": "AlgorithmError: no rows"} if status == "Failed" else {}),
        }

    def create_processing_job(self, ProcessingJobName: str, **request: Any) -> Answer:
        return {"ProcessingJobArn": self._begun("processing-job", ProcessingJobName, request)}

    def describe_processing_job(self, ProcessingJobName: str) -> Answer:
        job, told = self._seen("processing-job", ProcessingJobName)
        return {
            "ProcessingJobName": job.name,
            "ProcessingJobArn": told["arn"],
            "ProcessingJobStatus": told["status"],
            "ProcessingResources": job.request["ProcessingResources"],
            "AppSpecification": job.request["AppSpecification"],
            "CreationTime": BEGINNING,
            **told["why"],
        }

    def create_model(self, ModelName: str, **request: Any) -> Answer:
        return {"ModelArn": self._begun("model", ModelName, request)}

    def describe_model(self, ModelName: str) -> Answer:
        job, told = self._seen("model", ModelName)
        return {"ModelName": job.name, "ModelArn": told["arn"], "CreationTime": BEGINNING}

    def create_transform_job(self, TransformJobName: str, **request: Any) -> Answer:
        return {"TransformJobArn": self._begun("transform-job", TransformJobName, request)}

    def describe_transform_job(self, TransformJobName: str) -> Answer:
        job, told = self._seen("transform-job", TransformJobName)
        return {
            "TransformJobName": job.name,
            "TransformJobArn": told["arn"],
            "TransformJobStatus": told["status"],
            **{name: job.request[name] for name in ("ModelName", "TransformInput", "TransformResources")},
            "CreationTime": BEGINNING,
            **told["why"],
        }

    def create_hyper_parameter_tuning_job(self, HyperParameterTuningJobName: str, **request: Any) -> Answer:
        name = HyperParameterTuningJobName
        return {"HyperParameterTuningJobArn": self._begun("hyper-parameter-tuning-job", name, request)}

    def describe_hyper_parameter_tuning_job(self, HyperParameterTuningJobName: str) -> Answer:
        job, told = self._seen("hyper-parameter-tuning-job", HyperParameterTuningJobName)
        counters = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
        return {
            "HyperParameterTuningJobName": job.name,
            "HyperParameterTuningJobArn": told["arn"],
            "HyperParameterTuningJobStatus": told["status"],
            "HyperParameterTuningJobConfig": job.request["HyperParameterTuningJobConfig"],
            "CreationTime": BEGINNING,
            "TrainingJobStatusCounters": dict.fromkeys(counters, 0),
            "ObjectiveStatusCounters": dict.fromkeys(("Succeeded", "Pending", "Failed"), 0),
            **told["why"],
        }

    def create_endpoint_config(self, EndpointConfigName: str, **request: Any) -> Answer:
        return {"EndpointConfigArn": self._begun("endpoint-config", EndpointConfigName, request)}

    def describe_endpoint_config(self, EndpointConfigName: str) -> Answer:
        job, told = self._seen("endpoint-config", EndpointConfigName)
        variants = job.request["ProductionVariants"]
        named = {"EndpointConfigName": job.name, "EndpointConfigArn": told["arn"], "ProductionVariants": variants}
        return named | {"CreationTime": BEGINNING}

    def create_endpoint(self, EndpointName: str, **request: Any) -> Answer:
        return {"EndpointArn": self._begun("endpoint", EndpointName, request, ("Creating",), "InService")}

    def describe_endpoint(self, EndpointName: str) -> Answer:
        job, told = self._seen("endpoint", EndpointName)
        named = {"EndpointName": job.name, "EndpointArn": told["arn"], "EndpointStatus": told["status"]}
        return (
            named
            | {"EndpointConfigName": job.request["EndpointConfigName"]}
            | {"CreationTime": BEGINNING, "LastModifiedTime": BEGINNING, **told["why"]}
        )

    def start_pipeline_execution(self, PipelineName: str, **request: Any) -> Answer:
        begun = self._begun("pipeline", PipelineName, request, ("Executing",), "Succeeded")
        return {"PipelineExecutionArn": f"{begun}/execution/one"}

    def describe_pipeline_execution(self, PipelineExecutionArn: str) -> Answer:
        _, told = self._seen("pipeline", PipelineExecutionArn.split("/")[1])
        return {"PipelineExecutionArn": PipelineExecutionArn, "PipelineExecutionStatus": told["status"], **told["why"]}

    def list_pipeline_execution_steps(self, PipelineExecutionArn: str) -> Answer:
        return {"PipelineExecutionSteps": [{"StepName": "train", "StepStatus": "Executing", "StartTime": BEGINNING}]}

    def _begun(
        self, kind: str, name: str, request: Answer, before: tuple[str, ...] = ("InProgress",), good: str = "Completed"
    ) -> str:
        self.add(Job(name, f"{kind}/{name}", before, good, "Failed", "Stopped", request=request))
        return arn("sagemaker", f"{kind}/{name}")

    def _seen(self, kind: str, name: str) -> tuple[Job, Answer]:
        """What a look sees: `arn`, `status`, and `why` if it failed."""
        if f"{kind}/{name}" not in self.jobs:
            raise AwsError("ValidationException", f'Could not find {kind} "{name}".')
        job = self.jobs[f"{kind}/{name}"]
        status = job.look()
        why = {"FailureReason": "AlgorithmError: no rows"} if job.failed else {}
        return job, {"arn": arn("sagemaker", job.id), "status": status, "why": why}


class Logs(Play):
    """CloudWatch Logs: each stream has two lines."""

    def get_log_events(self, nextToken: str = "", **_: Any) -> Answer:
        return {"events": [] if nextToken else self._lines(), "nextForwardToken": "f/1", "nextBackwardToken": "b/1"}

    def filter_log_events(self, **_: Any) -> Answer:
        return {"events": self._lines()}

    @staticmethod
    def _lines() -> list[Answer]:
        return [{"timestamp": 1_767_225_600_000 + rows, "message": f"{rows} rows"} for rows in (7, 9)]


class Glue(Play):
    """Jobs, checks of data quality, and a crawler: its last crawl has ended badly."""

    def get_job(self, JobName: str) -> Answer:
        return {"Job": {"Name": JobName}}

    def start_job_run(self, JobName: str, **_: Any) -> Answer:
        states = ("STARTING", "RUNNING")
        return {"JobRunId": self.add(Job(JobName, f"jr_{self.number()}", states, "SUCCEEDED", "FAILED", "STOPPED")).id}

    def get_job_run(self, JobName: str, RunId: str, **_: Any) -> Answer:
        job = self.find(RunId, code="EntityNotFoundException")
        told = {"Id": RunId, "JobName": JobName, "StartedOn": BEGINNING, "LogGroupName": "/aws-glue/jobs"}
        return {"JobRun": told | {"JobRunState": job.look()}}

    def create_data_quality_ruleset(self, Name: str, **_: Any) -> Answer:
        return {"Name": Name}

    def get_data_quality_ruleset(self, Name: str) -> Answer:
        return {"Name": Name}

    def start_data_quality_ruleset_evaluation_run(self, RulesetNames: list[str], **_: Any) -> Answer:
        return self._checked(RulesetNames[0], "dqrun")

    def get_data_quality_ruleset_evaluation_run(self, RunId: str) -> Answer:
        job = self.find(RunId, code="EntityNotFoundException")
        return {"RunId": RunId, "Status": job.look(), "ResultIds": [f"dqresult-of-{RunId}"]}

    def batch_get_data_quality_result(self, ResultIds: list[str]) -> Answer:
        job = self.find(ResultIds[0].removeprefix("dqresult-of-"), code="EntityNotFoundException")
        found = "FAIL" if "bad" in job.name else "PASS"
        rule = {"Name": "Rule_1", "Description": "RowCount > 6", "Result": found}
        return {"Results": [{"ResultId": ResultIds[0], "RulesetName": job.name, "RuleResults": [rule]}]}

    def start_data_quality_rule_recommendation_run(self, DataSource: Answer, **_: Any) -> Answer:
        return self._checked(DataSource["GlueTable"]["TableName"], "dqrule")

    def get_data_quality_rule_recommendation_run(self, RunId: str) -> Answer:
        job = self.find(RunId, code="EntityNotFoundException")
        table = {"GlueTable": {"DatabaseName": "sales", "TableName": job.name}}
        return {
            "RunId": RunId,
            "Status": job.look(),
            "DataSource": table,
            "RecommendedRuleset": "Rules = [RowCount > 6]",
        }

    def _checked(self, name: str, kind: str) -> Answer:
        states = ("STARTING", "RUNNING")
        return {"RunId": self.add(Job(name, f"{kind}-{self.number()}", states, "SUCCEEDED", "FAILED", "STOPPED")).id}

    def start_crawler(self, Name: str) -> Answer:
        if "nowhere" in Name:
            raise AwsError("EntityNotFoundException", f"Crawler {Name} not found")
        self.add(Job(Name, Name, ("RUNNING", "STOPPING"), "SUCCEEDED", "FAILED", "CANCELLED"))
        return {}

    def get_crawler(self, Name: str) -> Answer:
        job = self.find(Name, code="EntityNotFoundException")
        state = job.look()
        crawler: Answer = {"Name": Name, "Role": "glue", "DatabaseName": "sales"}
        if state in job.before:
            return {"Crawler": crawler | {"State": state}}
        return {
            "Crawler": crawler | {"State": "READY", "LastCrawl": {"Status": state, "ErrorMessage": "no such prefix"}}
        }


class Ecs(Play):
    """Tasks of one container, `main`."""

    def run_task(self, taskDefinition: str, **_: Any) -> Answer:
        task_arn = arn("ecs", f"task/operators/{self.number():032x}")
        job = self.add(Job(taskDefinition, task_arn, ("PENDING", "RUNNING"), "STOPPED", "STOPPED", "STOPPED"))
        return {"tasks": [self._told(job, "PROVISIONING")], "failures": []}

    def describe_tasks(self, tasks: list[str], **_: Any) -> Answer:
        return {"tasks": [self._told(job, job.look()) for job in map(self.find, tasks)], "failures": []}

    @staticmethod
    def _told(job: Job, status: str) -> Answer:
        end = {"exitCode": 1 if "fails" in job.name else 0} if status == "STOPPED" else {}
        container = {"name": "main", "lastStatus": status, **end}
        return {"taskArn": job.id, "lastStatus": status, "desiredStatus": "RUNNING", "containers": [container]}


class Athena(Play):
    def start_query_execution(self, QueryString: str, **request: Any) -> Answer:
        job_id = f"00000000-0000-0000-0000-{self.number():012d}"
        self.add(Job(QueryString, job_id, ("QUEUED", "RUNNING"), "SUCCEEDED", "FAILED", "CANCELLED", request=request))
        return {"QueryExecutionId": job_id}

    def get_query_execution(self, QueryExecutionId: str) -> Answer:
        job = self.find(QueryExecutionId, code="InvalidRequestException")
        status: Answer = {"State": job.look()}
        if job.failed:
            status["StateChangeReason"] = "TABLE_NOT_FOUND: sales.fails does not exist"
        return {"QueryExecution": {"QueryExecutionId": job.id, "Query": job.name, "Status": status}}

    def stop_query_execution(self, QueryExecutionId: str) -> Answer:
        self.find(QueryExecutionId, code="InvalidRequestException").is_stopped = True
        return {}


class Emr(Play):
    """Steps of the cluster `j-1`, and clusters."""

    def run_job_flow(self, Name: str, **request: Any) -> Answer:
        job = Job(
            Name,
            f"j-{self.number()}NEW",
            ("STARTING", "BOOTSTRAPPING"),
            "WAITING",
            "TERMINATED_WITH_ERRORS",
            "TERMINATED",
        )
        return {"JobFlowId": self.add(job).id, "ClusterArn": arn("elasticmapreduce", f"cluster/{job.id}")}

    def describe_cluster(self, ClusterId: str) -> Answer:
        status = {"State": self.jobs[ClusterId].look() if ClusterId in self.jobs else "WAITING"}
        return {"Cluster": {"Id": ClusterId, "Name": "nightly", "Status": status, "LogUri": "s3n://operators/emr/"}}

    def terminate_job_flows(self, JobFlowIds: list[str]) -> None:
        for job_flow_id in JobFlowIds:
            self.find(job_flow_id).is_stopped = True

    def add_job_flow_steps(self, JobFlowId: str, Steps: list[Answer]) -> Answer:
        added = []
        for step in Steps:
            job = Job(step["Name"], f"s-{self.number()}", ("PENDING", "RUNNING"), "COMPLETED", "FAILED", "CANCELLED")
            added.append(self.add(job).id)
        return {"StepIds": added}

    def describe_step(self, ClusterId: str, StepId: str) -> Answer:
        return {"Step": self._step(StepId)}

    def list_steps(self, ClusterId: str, StepIds: list[str]) -> Answer:
        return {"Steps": [self._step(step_id) for step_id in StepIds]}

    def _step(self, step_id: str) -> Answer:
        job = self.find(step_id, code="InvalidRequestException")
        status: Answer = {"State": job.look()}
        if job.failed:
            status["FailureDetails"] = {"Reason": "Unknown Error.", "LogFile": "s3://operators/emr/stderr.gz"}
        return {"Id": job.id, "Name": job.name, "Status": status}


class EmrServerless(Play):
    """The application `app-0` is there and has started."""

    def __init__(self) -> None:
        super().__init__()
        self.applications = {"app-0": "STARTED"}

    def create_application(self, **request: Any) -> Answer:
        application_id = f"app-{self.number()}"
        self.applications[application_id] = "CREATED"
        return {
            "applicationId": application_id,
            "name": request["name"],
            "arn": arn("emr-serverless", f"/applications/{application_id}"),
        }

    def get_application(self, applicationId: str) -> Answer:
        return {
            "application": {
                "applicationId": applicationId,
                "arn": arn("emr-serverless", f"/applications/{applicationId}"),
                "releaseLabel": "emr-7.5.0",
                "type": "Spark",
                "state": self.applications[applicationId],
                "createdAt": BEGINNING,
                "updatedAt": BEGINNING,
            }
        }

    def start_application(self, applicationId: str) -> Answer:
        self.applications[applicationId] = "STARTED"
        return {}

    def stop_application(self, applicationId: str) -> Answer:
        self.applications[applicationId] = "STOPPED"
        return {}

    def delete_application(self, applicationId: str) -> Answer:
        self.applications[applicationId] = "TERMINATED"
        return {}

    def start_job_run(self, applicationId: str, name: str, **request: Any) -> Answer:
        states = ("SUBMITTED", "RUNNING")
        job = Job(name, f"run-{self.number()}", states, "SUCCESS", "FAILED", "CANCELLED", request=request)
        run_arn = arn("emr-serverless", f"/applications/{applicationId}/jobruns/{self.add(job).id}")
        return {"applicationId": applicationId, "jobRunId": job.id, "arn": run_arn}

    def get_job_run(self, applicationId: str, jobRunId: str) -> Answer:
        job = self.find(jobRunId, code="ResourceNotFoundException")
        return {
            "jobRun": {
                "applicationId": applicationId,
                "jobRunId": job.id,
                "name": job.name,
                "arn": arn("emr-serverless", f"/applications/{applicationId}/jobruns/{job.id}"),
                "createdBy": arn("iam", "user/etl"),
                "createdAt": BEGINNING,
                "updatedAt": BEGINNING,
                "executionRole": job.request["executionRoleArn"],
                "state": job.look(),
                "stateDetails": "Job failed, please check complete logs" if job.failed else "Job is underway",
                "releaseLabel": "emr-7.5.0",
                "jobDriver": job.request["jobDriver"],
            }
        }

    def get_dashboard_for_job_run(self, applicationId: str, jobRunId: str, **_: Any) -> Answer:
        self.find(jobRunId, code="ResourceNotFoundException")
        return {"url": f"https://{applicationId}.emrappui.amazonaws.com/{jobRunId}?authToken=once"}

    def cancel_job_run(self, applicationId: str, jobRunId: str) -> Answer:
        self.find(jobRunId, code="ResourceNotFoundException").is_stopped = True
        return {"applicationId": applicationId, "jobRunId": jobRunId}


class EmrContainers(Play):
    def create_virtual_cluster(self, name: str, **_: Any) -> Answer:
        return {"id": "vc-2", "name": name, "arn": arn("emr-containers", "/virtualclusters/vc-2")}

    def start_job_run(self, name: str, virtualClusterId: str, **request: Any) -> Answer:
        states = ("SUBMITTED", "RUNNING")
        job = self.add(Job(name, f"run-{self.number()}", states, "COMPLETED", "FAILED", "CANCELLED", request=request))
        job_arn = arn("emr-containers", f"/virtualclusters/{virtualClusterId}/jobruns/{job.id}")
        return {"id": job.id, "name": name, "arn": job_arn, "virtualClusterId": virtualClusterId}

    def describe_job_run(self, id: str, virtualClusterId: str) -> Answer:
        job = self.find(id, code="ResourceNotFoundException")
        told = {"id": job.id, "name": job.name, "virtualClusterId": virtualClusterId, "state": job.look()}
        why = {"failureReason": "USER_ERROR", "stateDetails": "exit code 1"} if job.failed else {}
        return {"jobRun": told | why}

    def cancel_job_run(self, id: str, virtualClusterId: str) -> Answer:
        self.find(id, code="ResourceNotFoundException").is_stopped = True
        return {"id": id, "virtualClusterId": virtualClusterId}


class RedshiftData(Play):
    """Its session outlives a statement."""

    SESSION = "5b9b3cf0-7d2c-4f9b-9a61-0f6f2b1f7f11"

    def execute_statement(self, Sql: str, **request: Any) -> Answer:
        job_id = f"00000000-0000-0000-0000-{self.number():012d}"
        self.add(Job(Sql, job_id, ("SUBMITTED", "STARTED"), "FINISHED", "FAILED", "ABORTED", request=request))
        session = {"SessionId": self.SESSION} if "SessionKeepAliveSeconds" in request else {}
        return {"Id": job_id, "CreatedAt": BEGINNING, **session}

    def batch_execute_statement(self, Sqls: list[str], **request: Any) -> Answer:
        return self.execute_statement("; ".join(Sqls), **request)

    def describe_statement(self, Id: str) -> Answer:
        job = self.find(Id)
        told: Answer = {"Id": Id, "Status": job.look(), "QueryString": job.name, "HasResultSet": True, "Duration": 7}
        if ";" in job.name:
            parts = enumerate(job.name.split("; "), 1)
            told["SubStatements"] = [{"Id": f"{Id}:{number}", "QueryString": text} for number, text in parts]
        return told | ({"Error": 'ERROR: relation "fails" does not exist'} if job.failed else {})

    def get_statement_result(self, Id: str) -> Answer:
        """Of a statement, or of one of several."""
        columns = [{"name": "?column?", "typeName": "int4"}]
        return {"Records": [[{"longValue": 42}]], "TotalNumRows": 1, "ColumnMetadata": columns}

    def cancel_statement(self, Id: str) -> Answer:
        self.find(Id).is_stopped = True
        return {"Status": True}


class DataSync(Play):
    def start_task_execution(self, TaskArn: str) -> Answer:
        name = TaskArn.rpartition("/")[2]
        job = Job(
            name,
            f"{TaskArn}/execution/exec-{self.number()}",
            ("LAUNCHING", "TRANSFERRING"),
            "SUCCESS",
            "ERROR",
            "ERROR",
        )
        return {"TaskExecutionArn": self.add(job).id}

    def describe_task_execution(self, TaskExecutionArn: str) -> Answer:
        job = self.find(TaskExecutionArn, code="InvalidRequestException")
        told: Answer = {"TaskExecutionArn": job.id, "Status": job.look(), "StartTime": BEGINNING, "FilesTransferred": 7}
        return told | ({"Result": {"ErrorCode": "AccessDenied", "ErrorDetail": "no rights"}} if job.failed else {})

    def cancel_task_execution(self, TaskExecutionArn: str) -> Answer:
        self.find(TaskExecutionArn, code="InvalidRequestException").is_stopped = True
        return {}


class Bedrock(Play):
    def create_model_customization_job(self, jobName: str, **request: Any) -> Answer:
        job = Job(jobName, jobName, ("InProgress",), "Completed", "Failed", "Stopped", request=request)
        return {"jobArn": arn("bedrock", f"model-customization-job/{self.add(job).id}")}

    def get_model_customization_job(self, jobIdentifier: str) -> Answer:
        job = self.find(jobIdentifier, code="ResourceNotFoundException")
        return {
            "jobArn": arn("bedrock", f"model-customization-job/{job.id}"),
            "jobName": job.name,
            "outputModelName": job.request["customModelName"],
            "roleArn": job.request["roleArn"],
            "status": job.look(),
            "creationTime": BEGINNING,
            "baseModelArn": arn("bedrock", "foundation-model/amazon.titan-text-lite-v1"),
            "hyperParameters": job.request["hyperParameters"],
            "trainingDataConfig": job.request["trainingDataConfig"],
            "validationDataConfig": {"validators": []},
            "outputDataConfig": job.request["outputDataConfig"],
            **({"failureMessage": "no rows"} if job.failed else {}),
        }

    def create_model_invocation_job(self, jobName: str, **request: Any) -> Answer:
        job_arn = arn("bedrock", f"model-invocation-job/{self.number():012d}")
        states = ("Submitted", "InProgress")
        return {"jobArn": self.add(Job(jobName, job_arn, states, "Completed", "Failed", "Stopped", request=request)).id}

    def get_model_invocation_job(self, jobIdentifier: str) -> Answer:
        job = self.find(jobIdentifier, code="ResourceNotFoundException")
        told = {name: job.request[name] for name in ("modelId", "roleArn", "inputDataConfig", "outputDataConfig")}
        return told | {"jobArn": job.id, "jobName": job.name, "status": job.look(), "submitTime": BEGINNING}

    def create_guardrail(self, name: str, **_: Any) -> Answer:
        told = {"guardrailId": f"of{name}", "guardrailArn": arn("bedrock", f"guardrail/of{name}")}
        return told | {"version": "DRAFT", "createdAt": BEGINNING}

    def delete_guardrail(self, guardrailIdentifier: str) -> None:
        pass


class Eks(Play):
    """Clusters. A deleted one is seen once more. `stand-in` is there, and its API server is at the address, with a
    certificate of the authority (PEM)."""

    def __init__(self, address: str, authority: bytes) -> None:
        super().__init__()
        self._address = address
        self._authority = base64.b64encode(authority).decode()
        self.add(Job("stand-in", "stand-in", (), "ACTIVE", "FAILED", "DELETING", request={"roleArn": "any"}))

    def create_cluster(self, name: str, **request: Any) -> Answer:
        return self._told(
            self.add(Job(name, name, ("CREATING",), "ACTIVE", "FAILED", "DELETING", request=request)), "CREATING"
        )

    def describe_cluster(self, name: str) -> Answer:
        job = self.find(name, code="ResourceNotFoundException")
        if job.is_stopped and job.told == job.stopped:
            del self.jobs[name]
        return self._told(job, job.look())

    def delete_cluster(self, name: str) -> Answer:
        job = self.find(name, code="ResourceNotFoundException")
        job.is_stopped = True
        return self._told(job, job.stopped)

    def _told(self, job: Job, status: str) -> Answer:
        return {
            "cluster": {
                "name": job.name,
                "arn": arn("eks", f"cluster/{job.name}"),
                "createdAt": BEGINNING,
                "roleArn": job.request["roleArn"],
                "status": status,
                "endpoint": self._address,
                "certificateAuthority": {"data": self._authority},
            }
        }


def plays(*, kubernetes: str, authority: bytes) -> dict[str, Play]:
    """By boto3's name of the service. `kubernetes`: the address of an API server, and the authority of its certificate."""
    return {
        "athena": Athena(),
        "batch": Batch(),
        "bedrock": Bedrock(),
        "datasync": DataSync(),
        "eks": Eks(kubernetes, authority),
        "ecs": Ecs(),
        "emr": Emr(),
        "emr-containers": EmrContainers(),
        "emr-serverless": EmrServerless(),
        "glue": Glue(),
        "logs": Logs(),
        "redshift-data": RedshiftData(),
        "sagemaker": SageMaker(),
    }
