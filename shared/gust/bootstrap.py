"""Wire the ports to AWS, once per cold start, from the environment that `template.yaml` sets.

A function is given what its role allows and nothing else: a client that is never used is never made.
"""

import os
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from gust.aws.logs import CloudWatchLogReader
from gust.aws.objects import S3Objects
from gust.aws.queues import SqsQueues
from gust.aws.tokens import JwtTokens
from gust.services.clock import SystemClock
from gust.services.context import Services
from gust.store.dynamodb import DynamoDBStore


def from_environment() -> Services:
    objects = bucket()
    return Services(
        store=DynamoDBStore(os.environ["GUST_TABLE"], client=client("dynamodb"), objects=objects),
        objects=objects,
        queues=SqsQueues(
            client=client("sqs"),
            tasks=os.environ.get("GUST_TASK_QUEUE_URL", ""),
            triggers=os.environ.get("GUST_TRIGGER_QUEUE_URL", ""),
            wakes=os.environ.get("GUST_WAKE_QUEUE_URL", ""),
        ),
        tokens=JwtTokens(signing_key),
        clock=SystemClock(),
        logs=CloudWatchLogReader(os.environ.get("GUST_LOG_GROUP", ""), client=client("logs")),
    )


def bucket() -> S3Objects:
    return S3Objects(os.environ["GUST_BUCKET"], client=client("s3"))


@cache
def signing_key() -> str:
    """The secret that tokens are signed with; read when the first token is made or checked."""
    answer = client("secretsmanager").get_secret_value(SecretId=os.environ["GUST_SIGNING_SECRET"])
    return str(answer["SecretString"])


@cache
def client(service: str) -> Any:
    """One client per service and process. Retries are botocore's standard mode; a Lambda has no time for long ones."""
    config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=3, read_timeout=30, max_pool_connections=32)
    return boto3.client(service, config=config)
