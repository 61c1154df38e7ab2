"""Our own examples on any server, with the AWS resources they use in an emulator."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import boto3
import httpx

from examples import resources
from tests.environment import of_a_user
from tests.oracle.drive import LOGICAL_DATE, Plan
from tests.oracle.server import ROOT, free_port

EXCLUDED: Final[dict[str, str]] = {}
"""File → why it cannot be compared."""


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with our examples."""
    shutil.copytree(ROOT / "examples" / "dags", dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def plan(dag_ids: Iterable[str]) -> Plan:
    return Plan(batches=(tuple(sorted(dag_ids)),))


def create_resources(client: resources.MakeClient) -> None:
    """What the examples need of AWS, the file that `landing_zone` waits for included."""
    resources.create(client)
    resources.land_orders(LOGICAL_DATE[:10], client)


@contextmanager
def emulator() -> Iterator[dict[str, str]]:
    """The environment variables that lead a process to a fresh emulator of AWS with the examples' resources in it."""
    port = free_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with tempfile.TemporaryDirectory(prefix="gust-emulator-") as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack.app"],
            env=of_a_user(GATEWAY_PORT=str(port), BIND_HOST="127.0.0.1"),
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await(variables["AWS_ENDPOINT_URL"], process)
            create_resources(
                partial(
                    boto3.client,
                    endpoint_url=variables["AWS_ENDPOINT_URL"],
                    region_name="us-east-1",
                    aws_access_key_id="test",
                    aws_secret_access_key="test",
                )
            )
            yield variables
        finally:
            process.terminate()
            process.wait(timeout=20)


def _await(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            httpx.get(f"{endpoint}/_ministack/health", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        return
    raise RuntimeError("the emulator of AWS did not start")
