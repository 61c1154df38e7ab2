"""A control plane in the test's own process, behind the door that a worker knocks on."""

import io
import json
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.memory import MemoryObjects
from gust.model import bucket_keys
from gust.model.workload import TaskWorkload

DAG_RUN = {
    "dag_id": "d",
    "run_id": "r",
    "logical_date": "2026-03-01T00:00:00Z",
    "data_interval_start": "2026-03-01T00:00:00Z",
    "data_interval_end": "2026-03-01T00:00:00Z",
    "run_after": "2026-03-01T00:00:00Z",
    "start_date": "2026-03-01T00:00:00Z",
    "end_date": None,
    "run_type": "manual",
    "state": "running",
    "conf": {},
    "consumed_asset_events": [],
    "partition_key": None,
}


@dataclass
class Request:
    method: str
    path: str
    body: Any


@dataclass
class ControlPlane:
    """Answers like the execution API function and remembers what it was asked."""

    should_retry: bool = False
    refusals: dict[str, list[int]] = field(default_factory=dict)
    """By last part of the path: statuses to answer with first, one per request."""
    refusal: str = ""
    """AWS's reason for refusing the task's role, if it does."""
    credentials_last: float = 3600
    """Seconds."""
    requests: list[Request] = field(default_factory=list)

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        return {"headers": {"content-type": "application/json"}, **self.answer(event)}

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        method, path = event["requestContext"]["http"]["method"], event["rawPath"]
        body = json.loads(event["body"]) if event["body"] else None
        self.requests.append(Request(method, path.removeprefix("/execution/"), body))
        action = path.rsplit("/", 1)[-1]
        if refusals := self.refusals.get(action):
            return {"statusCode": refusals.pop(0), "body": json.dumps({"detail": {"reason": "invalid_state"}})}
        if action == "run":
            context = {"dag_run": DAG_RUN, "max_tries": 1, "should_retry": self.should_retry}
            return {"statusCode": 200, "body": json.dumps(context)}
        if action == "credentials":
            if self.refusal:
                return {"statusCode": 403, "body": json.dumps({"detail": self.refusal})}
            return {"statusCode": 200, "body": json.dumps(self.credentials())}
        if "/variables/" in path:
            return {"statusCode": 404, "body": json.dumps({"detail": {"reason": "not_found"}})}
        return {"statusCode": 204 if method == "PATCH" else 201, "body": json.dumps({"message": "ok"})}

    def credentials(self) -> dict[str, str]:
        """New ones for each request."""
        number = len(self.asked("credentials"))
        expires_at = datetime.now(tz=UTC) + timedelta(seconds=self.credentials_last)
        return {
            "RoleArn": "arn:aws:iam::123456789012:role/tasks",
            "AccessKeyId": f"ASIATASK{number}",
            "SecretAccessKey": "the task's",
            "Token": "of the task",
            "Expiration": expires_at.isoformat(),
        }

    def asked(self, action: str) -> list[Request]:
        return [request for request in self.requests if request.path.rsplit("/", 1)[-1] == action]

    @property
    def reported(self) -> list[str]:
        """States that the worker reported, in order; `lost` where it said that the task died without a word."""
        ends = [request for request in self.requests if request.path.rsplit("/", 1)[-1] in ("state", "lost")]
        return [request.body.get("state", "lost") for request in ends]

    @property
    def returned(self) -> Any:
        (push,) = self.asked("return_value")
        return push.body


@dataclass
class Lines:
    """A sink that keeps what it is given."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    streams: dict[str, "Lines"] = field(default_factory=dict)
    """Others that were asked for, by name; what they are given is among the lines, too."""

    def of_stream(self, name: str | None) -> "Lines":
        return self if name is None else self.streams.setdefault(name, type(self)(lines=self.lines, ends=self.ends))

    def put(self, line: bytes) -> None:
        self.lines.append(json.loads(line))

    def mark_end(self, ti_id: str, dispatch_count: int) -> None:
        self.ends.append((ti_id, dispatch_count))

    def flush(self, timeout: float | None = None) -> bool:
        return True

    @property
    def text(self) -> str:
        return json.dumps(self.lines)

    def has(self, part: str) -> bool:
        return any(part in str(line["event"]) for line in self.lines)


@dataclass
class Site:
    """A worker, its bucket and its control plane."""

    root: Path
    control_plane: ControlPlane = field(default_factory=ControlPlane)
    log: Lines = field(default_factory=Lines)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    hidden: list[tuple[float, int]] = field(default_factory=list)
    """For how long the message was hidden, and how many requests the control plane had had by then."""
    megabytes: int | None = None
    """Memory of the function."""

    def hide(self, seconds: float) -> None:
        self.hidden.append((seconds, len(self.control_plane.requests)))

    def upload(self, version: str, files: dict[str, str]) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as into:
            for name, text in files.items():
                into.writestr(name, text)
        self.objects.put(bucket_keys.bundle(version), archive.getvalue())

    def run(self, version: str, task_id: str = "t", *, remaining: float | None = None, **changes: Any) -> int:
        return run_try(workload(version, task_id, **changes), self.ports(remaining))

    def ports(self, remaining: float | None = None) -> WorkerPorts:
        return WorkerPorts(
            invoke=self.control_plane,
            objects=self.objects,
            bundles=BundleFolder(self.objects, self.root),
            sink=self.log,
            remaining=remaining,
            hide=self.hide,
            megabytes=self.megabytes,
        )


def workload(version: str, task_id: str = "t", **changes: Any) -> TaskWorkload:
    values = {
        "dag_id": "d",
        "run_id": "r",
        "task_id": task_id,
        "map_index": -1,
        "try_number": 1,
        "dispatch_count": 3,
        "max_tries": 1,
        "version_number": 1,
        "bundle_name": "dags-folder",
        "bundle_version": version,
        "relative_fileloc": "d.py",
        "queue": "etl",
        "token": "a-token",
    }
    return TaskWorkload.model_validate(values | changes)
