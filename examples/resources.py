"""Make the AWS resources that the examples use. `./gust local` does, in its emulator, when it runs the examples.

`weekday_settlement` invokes a Lambda function and runs a Glue job, `landing_zone` waits for an object in a bucket.
Making them twice changes nothing. On real AWS you have your own; the names are in the DAG files. Both DAGs template the
logical date, so a run that is triggered by hand needs one, as in Airflow.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, Final

import boto3

ROLE: Final = "gust-examples"
SCRIPTS: Final = "gust-examples-scripts"
LANDING: Final = "landing-zone"

CLOSE_ORDERS: Final = '''
def handler(event, context):
    """Close the orders of one day; says how many there were."""
    return {"day": event["day"], "closed": 42}
'''

SETTLE_ORDERS: Final = """
print("every order of the day is settled")
"""

ORDERS: Final = """order,customer,cents
1,ada,1250
2,grace,990
3,ada,310
"""


MakeClient = Callable[[str], Any]
"""Makes a client of the service named."""


def _client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload]  # the stubs know each service by its literal name


def create(client: MakeClient = _client) -> None:
    """The role, the function, the job and the bucket; what exists already stays as it is."""
    role = _role(client("iam"))
    _close_orders(client("lambda"), role)
    s3 = client("s3")
    for bucket in (SCRIPTS, LANDING):
        _ignoring(s3, ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"), s3.create_bucket, Bucket=bucket)
    s3.put_object(Bucket=SCRIPTS, Key="settle_orders.py", Body=SETTLE_ORDERS.encode())
    _settle_orders(client("glue"), role)


def land_orders(day: str, client: MakeClient = _client) -> None:
    """Put the file of one day (`YYYY-MM-DD`) where `landing_zone` waits for it."""
    client("s3").put_object(Bucket=LANDING, Key=f"orders/{day}.csv", Body=ORDERS.encode())


def _role(iam: Any) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": ["lambda.amazonaws.com", "glue.amazonaws.com"]},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    _ignoring(iam, ("EntityAlreadyExists",), iam.create_role, RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))
    return str(iam.get_role(RoleName=ROLE)["Role"]["Arn"])


def _close_orders(functions: Any, role: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("close_orders.py", CLOSE_ORDERS)
    _ignoring(
        functions,
        ("ResourceConflictException",),
        functions.create_function,
        FunctionName="orders-close",
        Runtime="python3.12",
        Handler="close_orders.handler",
        Role=role,
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
    )


def _settle_orders(glue: Any, role: str) -> None:
    _ignoring(
        glue,
        ("AlreadyExistsException",),
        glue.create_job,
        Name="orders-settle",
        Role=role,
        Command={
            "Name": "pythonshell",
            "ScriptLocation": f"s3://{SCRIPTS}/settle_orders.py",
            "PythonVersion": "3.9",
        },
    )


def _ignoring(client: Any, codes: tuple[str, ...], call: Any, **arguments: Any) -> None:
    try:
        call(**arguments)
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
