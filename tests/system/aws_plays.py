"""The scripts of `scripted_aws`: per service, what AWS answers about jobs that end well, end badly, or last."""

from __future__ import annotations

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

    @staticmethod
    def _told(job: Job) -> Answer:
        told: Answer = {
            "jobId": job.id,
            "jobName": job.name,
            "jobQueue": arn("batch", f"job-queue/{job.request['jobQueue']}"),
            "jobDefinition": arn("batch", f"job-definition/{job.request['jobDefinition']}"),
            "status": job.look(),
            "startedAt": 1_767_225_600_000,
            "container": {"image": "etl:1", "command": ["run"], "logStreamName": f"etl/default/{job.id}"},
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


def plays() -> dict[str, Play]:
    """By boto3's name of the service."""
    return {"batch": Batch(), "sagemaker": SageMaker()}
