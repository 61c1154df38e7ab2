"""AWS where no emulator goes: an HTTP server that speaks AWS's wire formats and plays a script for each service.

A play has a method for each operation that it knows, in snake case. It gets the request's parameters and returns the answer
as boto3 returns it. The server reads the request and writes the answer by botocore's own model of the service, and refuses
an answer that does not fit this model, so no script can answer what AWS's shapes do not have.

    http://127.0.0.1:PORT/batch/v1/submitjob        → plays["batch"].submit_job(jobName=…, jobQueue=…, …)

The first part of the path is boto3's name of the service: a connection's `service_config` leads each service there.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import SERIALIZERS
from werkzeug.datastructures import Headers, MultiDict

REGION: Final = "us-east-1"
ACCOUNT: Final = "000000000000"


class AwsError(ServiceException):
    """What AWS answers instead, with one of its codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Job:
    """Something that runs at AWS. Each look moves it on by one state, until it ends.

    Its name decides how: one with `fails` in it ends badly, and one with `lasts` runs until it is stopped."""

    name: str
    id: str
    before: Sequence[str]
    """States on the way. The last one lasts."""

    good: str
    bad: str
    stopped: str
    looks: int = 0
    told: str = ""
    is_stopped: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The state, without moving it."""
        if self.is_stopped:
            return self.stopped
        if "lasts" in self.name:
            return self.before[min(self.looks, len(self.before) - 1)]
        if self.looks < len(self.before):
            return self.before[self.looks]
        return self.bad if "fails" in self.name else self.good

    def look(self) -> str:
        self.told = self.state
        self.looks += 1
        return self.told

    @property
    def failed(self) -> bool:
        """Whether the last look saw it."""
        return self.told == self.bad and not self.is_stopped


class Play:
    """One service's script, and the jobs that it was asked for."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        """By id."""
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        """Operation (snake case) and parameters, in order."""
        self._numbers = itertools.count(1)

    def number(self) -> int:
        return next(self._numbers)

    def named(self, part: str) -> Job:
        """The one job whose name has this part. Raises LookupError."""
        found = [job for job in self.jobs.values() if part in job.name]
        if len(found) != 1:
            raise LookupError(f"{part}: {[job.name for job in self.jobs.values()]}")
        return found[0]

    def add(self, job: Job) -> Job:
        self.jobs[job.id] = job
        return job

    def find(self, job_id: str, *, code: str = "ValidationException") -> Job:
        """Raises AwsError."""
        if job_id not in self.jobs:
            raise AwsError(code, f"there is no {job_id}")
        return self.jobs[job_id]


class ScriptedAws:
    def __init__(self, plays: Mapping[str, Play]) -> None:
        self.plays = plays
        self.faults: list[str] = []
        """Traces of scripts that broke."""
        self._lock = threading.Lock()
        self.url = ""

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body."""
        url = urlsplit(target)
        service, _, rest = url.path.removeprefix("/").partition("/")
        try:
            operation, in_path = _operation(service, method, f"/{rest}", headers, body)
            parameters = _parameters(operation, in_path, url.query, headers, body)
            with self._lock:
                result = self._play(service, operation, parameters)
            status, more, text = _written(operation, result)
        except Exception:
            self.faults.append(f"{method} {target}\n{traceback.format_exc()}")
            return 400, {"content-type": "application/json"}, b'{"__type": "ScriptFault", "message": "see the test"}'
        return status, more, text

    def _play(self, service: str, operation: OperationModel, parameters: dict[str, Any]) -> Any:
        play, name = self.plays[service], xform_name(operation.name)
        play.calls.append((name, parameters))
        try:
            result = getattr(play, name)(**parameters) or {}
        except AwsError as error:
            return error
        if operation.output_shape is not None:
            report = ParamValidator().validate(result, operation.output_shape)
            wrong = [report.generate_report()] if report.has_errors() else []
            wrong += _unknown_values(result, operation.output_shape)
            if wrong:
                raise TypeError(f"{service}.{name} has no such answer: {wrong}")
        return result


@contextmanager
def serving(plays: Mapping[str, Play]) -> Iterator[ScriptedAws]:
    """On a free port of 127.0.0.1. Raises AssertionError at its end if a script broke."""
    aws = ScriptedAws(plays)

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, text = aws.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815  http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        aws.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield aws
        server.shutdown()
        thread.join()
    assert not aws.faults, "\n".join(aws.faults)


# -- AWS's wire formats ------------------------------------------------------------------------------------------------


@functools.cache
def _model(service: str) -> ServiceModel:
    session = botocore.session.get_session()
    description = session.get_component("data_loader").load_service_model(service, "service-2")
    return ServiceModel(description, service)


@functools.cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], OperationModel]]:
    """Of a service that names its operations by path; the longest fixed text first."""
    model = _model(service)
    operations = [model.operation_model(name) for name in model.operation_names]
    routes = []
    for each in sorted(operations, key=lambda each: -len(re.sub(r"\{[^}]*\}", "", each.http["requestUri"]))):
        path = each.http["requestUri"].partition("?")[0].rstrip("/") or "/"
        pattern = re.sub(r"\\\{(\w+)(\\\+)?\\\}", _group, re.escape(path))
        routes.append((each.http["method"], re.compile(f"{pattern}/?"), each))
    return routes


def _group(found: re.Match[str]) -> str:
    return f"(?P<{found[1]}>.+)" if "+" in found[0] else f"(?P<{found[1]}>[^/]+)"


def _operation(
    service: str, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[OperationModel, dict[str, str]]:
    """The operation, and what the path names."""
    model = _model(service)
    if target := headers.get("x-amz-target"):
        return model.operation_model(target.rpartition(".")[2]), {}
    if model.metadata["protocol"] == "query":
        return model.operation_model(MultiDict(_pairs(body.decode()))["Action"]), {}
    for verb, pattern, operation in _routes(service):
        if verb == method and (found := pattern.fullmatch(path)):
            return operation, {name: unquote(value) for name, value in found.groupdict().items()}
    raise LookupError(f"{service} has no {method} {path}")


def _pairs(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True)


def _parameters(
    operation: OperationModel, in_path: dict[str, str], query: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    protocol = operation.service_model.metadata["protocol"]
    values = MultiDict(_pairs(body.decode() if protocol == "query" else query))
    request = {
        "body": body,
        "headers": Headers(list(headers.items())),
        "method": operation.http["method"],
        "url_params": in_path,
        "url_path": "",
        "values": values,
    }
    return dict(PROTOCOL_PARSERS[protocol](operation).parse(request))


def _written(operation: OperationModel, result: Any) -> tuple[int, dict[str, str], bytes]:
    protocol = operation.service_model.metadata["protocol"]
    written = SERIALIZERS[protocol](operation).serialize(result)
    body = written["body"]
    return written["status_code"], dict(written["headers"]), body.encode() if isinstance(body, str) else body


def _unknown_values(value: Any, shape: Any) -> list[str]:
    """Values that an enumeration of the service does not have: botocore's validator lets them pass."""
    match shape.type_name:
        case "structure":
            return [
                text
                for name, inner in value.items()
                if name in shape.members
                for text in _unknown_values(inner, shape.members[name])
            ]
        case "list":
            return [text for inner in value for text in _unknown_values(inner, shape.member)]
        case "map":
            return [text for inner in value.values() for text in _unknown_values(inner, shape.value)]
        case "string" if shape.enum and value not in shape.enum:
            return [f"{value} is no {shape.name}"]
    return []
