"""Between the functions and the emulator: refuses what AWS would refuse, throttles what it would throttle, and keeps a
record of what was allowed by what.

An ASGI application in front of the emulator's. It judges calls of Gust's own functions and containers, which name
themselves in their requests; calls of tests and of tasks' own clients pass. The record is a file of JSON lines, each
written when something happens for the first time, so that a `kill -9` loses none:

    {"role": "WorkerRole", "grant": "worker 2 s3:GetObject 0", "action": "s3:GetObject", "on": "bundles"}
    {"role": "WorkerRole", "refused": "AccessDenied", "action": "s3:ListBucket", "resource": "arn:…"}
    {"throttled": "ThrottlingException", "service": "ssm", "action": "GetParameter"}
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from gust.local.asgi import Application, Receive, Scope, Send
from tests.aws_like import limits
from tests.aws_like.requests import Request
from tests.aws_like.rights import Grant, Need, Role, judge, needs, role_of
from tests.aws_like.throttles import Busy, Quotas

FILE: Final = "aws-calls.jsonl"
"""The record's name in the folder of the stack."""

_EXECUTE_API: Final = "/_aws/execute-api/"
"""Where the emulator has its HTTP APIs; the front door leads there."""

log = logging.getLogger("gust.border")


class Record:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: set[str] = set()

    def add(self, **what: str) -> None:
        line = json.dumps(what)
        if line not in self._known:
            self._known.add(line)
            with self._file.open("a") as file:
                file.write(line + "\n")


class Border:
    def __init__(
        self,
        application: Application,
        record: Record,
        role_of: Callable[[str], Role | None] = role_of,
        *,
        quotas: Quotas | None = None,
        busy: Busy | None = None,
    ) -> None:
        self._application = application
        self._quotas = quotas or Quotas()
        self._busy = busy
        self._record = record
        self._find_role = role_of
        self._roles: dict[str, Role | None] = {}
        self._roles_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        body = await _body_of(receive)
        replayed = _replaying(body, receive)
        if scope["path"].startswith(_EXECUTE_API):
            await self._of_a_person(scope, body, replayed, send)
            return
        request = Request.of(scope, body)
        role = self._role_of(request.caller) if request and request.caller else None
        if request is None or request.caller is None:
            await self._application(scope, replayed, send)
        elif role is None:
            self._record.add(refused="NoRole", caller=request.caller)
            await _answer(
                send, *_refused(request, limits.Refusal("AccessDenied", f"{request.caller} has no role", 403))
            )
        else:
            await self._of_a_function(request, role, scope, replayed, send)

    async def _of_a_person(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        path = scope["path"].split("$default", 1)[-1]
        status = limits.refused_by_http_api({**scope, "path": path, "raw_path": path.encode()}, len(body))
        if status is None:
            await self._application(scope, receive, send)
            return
        message = {413: "Request Entity Too Large", 431: "Request Header Fields Too Large"}[status]
        await _answer(send, status, {"content-type": "application/json"}, json.dumps({"message": message}).encode())

    async def _of_a_function(self, request: Request, role: Role, scope: Scope, receive: Receive, send: Send) -> None:
        for need in needs(request):
            if not self._granted(role, need):
                self._note_refusal(role, "AccessDenied", need.action, need.resource)
                await _answer(send, *_denied(request, role, need))
                return
        if (refusal := limits.refusal(request)) is not None:
            self._note_refusal(role, refusal.code, request.operation, refusal.message)
            await _answer(send, *_refused(request, refusal))
            return
        if (refusal := self._throttled(request)) is not None:
            self._record.add(
                throttled=refusal.code, service=request.service, action=request.operation or request.method
            )
            await _answer(send, *_refused(request, refusal))
            return
        send = self._counting(request, send)
        if self._busy is not None and (kept_back := self._busy.kept_back(request)) is not None:
            body, more = kept_back
            self._record.add(throttled="a part", service=request.service, action=request.operation)
            await self._application(scope, _replaying(body, receive), _saying_more(more, send))
            return
        is_read = request.service == "s3" and request.method in ("GET", "HEAD")
        await self._application(scope, receive, self._telling_what_is_missing(request, role, send) if is_read else send)

    def _throttled(self, request: Request) -> limits.Refusal | None:
        if self._busy is not None and (refusal := self._busy.refusal(request)) is not None:
            return refusal
        return self._quotas.refusal(request)

    def _counting(self, request: Request, send: Send) -> Send:
        async def answer(message: Any) -> None:
            if message["type"] == "http.response.body":
                self._quotas.answered(request, len(message.get("body", b"")))
            await send(message)

        return answer

    def _note_refusal(self, role: Role, code: str, action: str, resource: str) -> None:
        log.error("%s may not %s %s: %s", role.logical_id, action, resource, code)
        self._record.add(role=role.logical_id, refused=code, action=action, resource=resource)

    def _telling_what_is_missing(self, request: Request, role: Role, send: Send) -> Send:
        """S3 answers 403 for a missing key where the caller may not list the bucket."""
        is_hidden = False

        async def answer(message: Any) -> None:
            nonlocal is_hidden
            if message["type"] == "http.response.start" and message["status"] == 404:
                is_hidden = not self._may_list(role, request)
                if is_hidden:
                    status, headers, body = _refused(request, limits.Refusal("AccessDenied", "Access Denied", 403))
                    await _answer(send, status, headers, b"" if request.method == "HEAD" else body)
            if not is_hidden:
                await send(message)

        return answer

    def _may_list(self, role: Role, request: Request) -> bool:
        bucket = request.path.lstrip("/").partition("/")[0]
        need = Need("s3:ListBucket", f"arn:aws:s3:::{bucket}")
        return bool(self._granted(role, need))

    def _granted(self, role: Role, need: Need) -> tuple[Grant, ...]:
        """What allows it, recorded."""
        granted = judge(role, need)
        for grant in granted:
            self._record.add(role=role.logical_id, grant=grant.name, action=need.action, on=_folder(need))
        return granted

    def _role_of(self, caller: str) -> Role | None:
        """Read anew once a second: a deployment may change it."""
        if time.monotonic() > self._roles_until:
            self._roles.clear()
            self._roles_until = time.monotonic() + 1
        if caller not in self._roles:
            self._roles[caller] = self._find_role(caller)
        return self._roles[caller]


def _folder(need: Need) -> str:
    """The first part of an object's key: what a role could be narrowed to."""
    _, _, path = need.resource.partition(":::")
    return path.split("/")[1] if need.action.startswith("s3:") and "/" in path else ""


Answer = tuple[int, Mapping[str, str], bytes]


def _denied(request: Request, role: Role, need: Need) -> Answer:
    message = (
        f"User: arn:aws:sts::000000000000:assumed-role/{role.name}/{request.caller} is not authorized to perform: "
        f"{need.action} on resource: {need.resource} because no identity-based policy allows the {need.action} action"
    )
    return _refused(request, limits.Refusal("AccessDenied", message, 403))


def _refused(request: Request, refusal: limits.Refusal) -> Answer:
    """In the service's protocol."""
    if request.service == "sts":
        kind = f"<Type>Sender</Type><Code>{refusal.code}</Code><Message>{refusal.message}</Message>"
        text = f"<ErrorResponse><Error>{kind}</Error><RequestId>1</RequestId></ErrorResponse>"
        return refusal.status, {"content-type": "text/xml"}, text.encode()
    if request.service == "s3":
        text = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
        return refusal.status, {"content-type": "application/xml"}, text.encode()
    if request.service == "sts":
        text = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
        text = f"<ErrorResponse><Error><Type>Sender</Type>{text}</Error></ErrorResponse>"
        return refusal.status, {"content-type": "text/xml"}, text.encode()
    code = "AccessDeniedException" if refusal.code == "AccessDenied" else refusal.code
    said = {"__type": code, "message": refusal.message, "Message": refusal.message, **refusal.more}
    body = json.dumps(said).encode()
    return refusal.status, {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": code}, body


def _saying_more(more: Mapping[str, Any], send: Send) -> Send:
    """The JSON of the answer with further fields. Its checksum would be wrong, and SDKs need none."""
    start: list[Any] = []
    body = bytearray()

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.append(message)
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        whole = body if start[0]["status"] != 200 else json.dumps(json.loads(body) | more).encode()
        dropped = (b"content-length", b"x-amz-crc32")
        headers = [(name, value) for name, value in start[0]["headers"] if name.lower() not in dropped]
        headers.append((b"content-length", str(len(whole)).encode()))
        await send({**start[0], "headers": headers})
        await send({"type": "http.response.body", "body": bytes(whole)})

    return answer


async def _body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body once, then what the server says next: that the caller has gone."""
    left: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return left.pop() if left else await receive()

    return replay


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


# --- what crosses no border: invocations by queues, streams and state machines, inside the emulator ------------------------

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "ministack.core.iam_actions": (
        "dynamodb_resource_arns",
        "dynamodb_transaction_checks",
        "extract_iam_action",
        "extract_resource_arn",
        "s3_additional_checks",
    ),
    "ministack.core.iam_evaluator": ("EvalContext", "ParsedStatement", "evaluate", "parse_policy_document"),
    "ministack.services.iam": ("_roles._data",),
    "ministack.services.lambda_svc": ("_execute_function_warm", "_functions._data"),
    "ministack.services.stepfunctions": ("_ExecutionError", "_invoke_resource"),
}
"""Names of MiniStack that this folder uses, beside those in `gust.local.ministack`."""

Execute = Callable[[dict[str, Any], Any, str], dict[str, Any]]


def limit_invocations(record: Record) -> None:
    """Events and answers of functions, and what the states of a state machine hand on."""
    from ministack.services import lambda_svc, stepfunctions

    lambda_svc._execute_function_warm = _within_payload(lambda_svc._execute_function_warm, record)
    stepfunctions._invoke_resource = _within_state(
        stepfunctions._invoke_resource, stepfunctions._ExecutionError, record
    )


def _within_payload(execute: Execute, record: Record) -> Execute:
    @wraps(execute)
    def execute_within(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        name = (function.get("config") or function)["FunctionName"]
        if limits.too_large(event, limits.SYNCHRONOUS):
            if isinstance(event, dict) and "requestContext" in event:  # an HTTP API answers for its function
                return {"body": {"statusCode": 413, "body": '{"message": "Request Too Long"}'}}
            return refused(name, "Request.TooLarge", "The event is larger than 6 MB")
        answer = execute(function, event, request_id)
        if limits.too_large(answer.get("body"), limits.SYNCHRONOUS):
            return refused(name, "Function.ResponseSizeTooLarge", "The answer is larger than 6 MB")
        return answer

    def refused(name: str, code: str, message: str) -> dict[str, Any]:
        record.add(refused=code, caller=name)
        return {"body": {"errorMessage": message, "errorType": code}, "error": True, "log": message}

    return execute_within


def _within_state(
    invoke: Callable[[str, Any], Any], error: type[Exception], record: Record
) -> Callable[[str, Any], Any]:
    def require_small(resource: str, value: Any) -> None:
        if limits.too_large(value, limits.STATE):
            record.add(refused="States.DataLimitExceeded", caller=resource)
            raise error("States.DataLimitExceeded", f"{resource} takes and returns at most {limits.STATE} bytes")

    @wraps(invoke)
    def invoke_within(resource: str, given: Any) -> Any:
        require_small(resource, given)
        result = invoke(resource, given)
        require_small(resource, result)
        return result

    return invoke_within
