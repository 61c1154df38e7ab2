"""The functions on the critical path, and those of events, start without Airflow, whose import alone takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import of_a_user

ROOT = Path(__file__).parents[2]

START = """
import sys
sys.modules["airflow"] = None
sys.path[:0] = ["shared", "functions/{function}"]
import app
assert callable(app.lambda_handler)
print(*(name for name, module in sys.modules.items() if module and name.split(".")[0] == "airflow"))
"""


@pytest.mark.parametrize("function", ["scheduler", "execution_api", "api", "events", "announcer"])
def test_the_function_starts_where_airflow_cannot_be_imported(function: str) -> None:
    environment = of_a_user() | {
        "GUST_TABLE": "table",
        "GUST_BUCKET": "bucket",
        "GUST_LOG_GROUP": "logs",
        "GUST_TASK_QUEUE_URL": "http://127.0.0.1:9/tasks",
        "GUST_TRIGGER_QUEUE_URL": "http://127.0.0.1:9/triggers",
        "GUST_WAKE_QUEUE_URL": "http://127.0.0.1:9/wakes",
        "GUST_EVENTS_QUEUE_ARN": "arn:aws:sqs:eu-central-1:1:events",
        "GUST_SIGNING_KEYS": "secret",
        "GUST_ENCRYPTION_KEYS": "keys",
        "GUST_STACK": "gust",
        "GUST_TELL_EVENTS": "All",
        "GUST_HAS_ALERTS": "true",
        "AIRFLOW__API__BASE_URL": "https://gust.example.com",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    started = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", START.format(function=function)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (started.returncode, started.stdout.strip()) == (0, ""), started.stderr
