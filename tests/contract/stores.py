"""Both stores, and AWS as MiniStack plays it: a child process that lives as long as the test session."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from gust.aws.memory import MemoryObjects
from gust.store.dynamodb import DynamoDBStore
from tests.environment import of_a_user

SECOND_OPINION = "GUST_TEST_DYNAMODB_ENDPOINT"
"""Names another DynamoDB to hold the store to, such as Amazon's DynamoDB Local."""


class Aws:
    """Clients of one MiniStack."""

    def __init__(self, endpoint: str) -> None:
        self._session: Any = boto3.Session("test", "test", region_name="us-east-1")
        self._endpoint = endpoint
        self.dynamodb = self._client("dynamodb", os.environ.get(SECOND_OPINION, endpoint))
        self.s3 = self._client("s3", endpoint)
        self.sqs = self._client("sqs", endpoint)
        self.streams = self._client("dynamodbstreams", endpoint)
        self.events = self._client("events", endpoint)

    def client(self, service: str) -> Any:
        return self._client(service, self._endpoint)

    def _client(self, service: str, endpoint: str) -> Any:
        config = Config(max_pool_connections=64, retries={"total_max_attempts": 5, "mode": "standard"})
        return self._session.client(service, endpoint_url=endpoint, config=config)


@dataclass
class CountedCalls:
    """What the store told its meter."""

    operations: list[str] = field(default_factory=list)
    consumed: list[Any] = field(default_factory=list)

    def __call__(self, operation: str, consumed: Any) -> None:
        self.operations.append(operation)
        self.consumed.append(consumed)

    def clear(self) -> None:
        self.operations.clear()
        self.consumed.clear()


@dataclass
class OnDynamoDB:
    """A store on a table of its own, with what a test may look into behind its back."""

    store: DynamoDBStore
    table: str
    client: Any
    objects: MemoryObjects
    calls: CountedCalls


@contextlib.contextmanager
def emulated(home: Path, services: str, **environment: str) -> Iterator[Aws]:
    """A MiniStack with these services, for as long as the context lasts."""
    port = _free_port()
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=home,
            stdout=log,
            stderr=log,
            env=of_a_user(
                HOME=str(home),
                TMPDIR=str(home),
                BIND_HOST="127.0.0.1",
                MINISTACK_HOST="127.0.0.1",
                GATEWAY_PORT=str(port),
                SERVICES=services,
                LOG_LEVEL="WARNING",
                **environment,
            ),
        )
        try:
            _await_answer(process, port, home / "log")
            yield Aws(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it accepts connections or is gone."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError(f"MiniStack ended with {process.returncode}: {log.read_text()}")
