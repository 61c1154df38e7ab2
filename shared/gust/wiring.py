"""Ports of functions without the table: workers, the triggerer, the parser. From the environment that `template.yaml` sets.

Apart from `bootstrap`, which imports the whole control plane: a cold worker does without.
"""

import os
from typing import Any

from gust.aws.clients import PATIENCE_WITH_EXECUTION_API, PATIENCE_WITH_RECEIPTS, client
from gust.aws.invoke import LambdaInvoker
from gust.aws.objects import S3Objects


def execution_api() -> LambdaInvoker:
    return LambdaInvoker(os.environ["GUST_EXECUTION_API_FUNCTION"], client("lambda", PATIENCE_WITH_EXECUTION_API))


def receipts() -> Any:
    """The client of SQS for functions that hide the message they work on."""
    return client("sqs", PATIENCE_WITH_RECEIPTS)


def bucket() -> S3Objects:
    return S3Objects(os.environ["GUST_BUCKET"], client("s3"))


def package_index_secret() -> str:
    """The text of the secret that the stack names; empty if it names none."""
    name = os.environ.get("GUST_PACKAGE_INDEX_SECRET", "")
    if not name:
        return ""
    return str(client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
