"""The stand-in for AWS answers only what AWS could answer."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.system.aws_plays import Batch
from tests.system.scripted_aws import Play, serving


def client(url: str, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"{url}/{service}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def test_a_job_goes_as_its_name_says() -> None:
    with serving({"batch": Batch()}) as aws:
        batch = client(aws.url, "batch")
        ids = {
            name: batch.submit_job(jobName=name, jobQueue="q", jobDefinition="d:1")["jobId"]
            for name in ("etl", "fails", "lasts")
        }

        def states(name: str) -> list[str]:
            return [batch.describe_jobs(jobs=[ids[name]])["jobs"][0]["status"] for _ in range(4)]

        assert states("etl") == ["SUBMITTED", "RUNNING", "SUCCEEDED", "SUCCEEDED"]
        assert states("fails") == ["SUBMITTED", "RUNNING", "FAILED", "FAILED"]
        assert states("lasts") == ["SUBMITTED", "RUNNING", "RUNNING", "RUNNING"]
        batch.terminate_job(jobId=ids["lasts"], reason="cancelled")
        assert states("lasts") == ["FAILED"] * 4
        with pytest.raises(ClientError, match="there is no job-0"):
            batch.terminate_job(jobId="job-0", reason="cancelled")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"jobs": [{"jobName": "etl"}]}, "Missing required parameter"),
        ({"jbos": []}, "Unknown parameter"),
        (
            {
                "jobs": [
                    {
                        "jobName": "a",
                        "jobId": "1",
                        "jobQueue": "q",
                        "status": "DONE",
                        "startedAt": 1,
                        "jobDefinition": "d",
                    }
                ]
            },
            "DONE is no JobStatus",
        ),
    ],
)
def test_an_answer_that_aws_does_not_have_breaks_the_test(answer: dict[str, Any], complaint: str) -> None:
    class Wrong(Play):
        def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
            return answer

    with (
        pytest.raises(AssertionError, match=complaint),
        serving({"batch": Wrong()}) as aws,
        pytest.raises(ClientError, match="ScriptFault"),
    ):
        client(aws.url, "batch").describe_jobs(jobs=["1"])
