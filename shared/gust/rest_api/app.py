"""The public API as one Lambda handler: routes by the contract's table, users by token, errors in Airflow's shapes."""

from __future__ import annotations

import base64
import gzip
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from gust.errors import AlreadyExists, Invalid, Rejected, ServiceUnavailable
from gust.http.answer import Answer, Problem
from gust.http.resolver import Resolver, headers_of
from gust.model.correlation import REQUEST_ID, correlation_id_of
from gust.model.user import User
from gust.rest_api.access.auth import AUTH_OPERATIONS, NOBODY, SIGNED_PREFIX, Authenticator, Caller, brings_something
from gust.rest_api.access.browser_policy import security_headers
from gust.rest_api.access.permissions import PERMISSIONS, authorize
from gust.rest_api.access.readable import readable
from gust.rest_api.http.action_log import Refusals, log_action
from gust.rest_api.http.docs import DOCS_HANDLERS, DOCS_OPERATIONS, DOCS_PAGES
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS, Operation
from gust.rest_api.http.request import Request, encode, unique_constraint, wire_size
from gust.rest_api.http.rest_event import as_http_event, as_rest_answer, is_rest
from gust.rest_api.http.routing import HANDLERS, UI_HANDLERS, Handler, not_yet
from gust.rest_api.http.web import accepts_gzip, base_path, web_files
from gust.services.context import Services
from gust.services.settings.options import export_options

LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]

logger = Logger(service="api", stream=sys.stderr)

COMPRESS_FROM: Final = 64 * 1024
LARGEST_ANSWER: Final = 5_900_000
"""Bytes of JSON. Lambda returns at most 6 MB, headers included."""

LARGEST_BODY: Final = 5_900_000
"""Bytes of a request's body. Lambda accepts at most 6 MB, headers included."""

TRY_AGAIN_AFTER: Final = 5
"""Seconds; `Retry-After` of an answer for which a service was missing."""

LONGEST_ID: Final = 1000
"""Bytes. No stored item has a longer id, and DynamoDB refuses a key of more than 2 KB."""

SLASHED_PARAMETERS: Final = frozenset({"xcom_key", "variable_key", "pool_name", "key"})
"""Path parameters that may hold slashes."""


NAMED: Final = {
    "dag_id": "dag_id",
    "dag_run_id": "run_id",
    "run_id": "run_id",
    "task_id": "task_id",
    "map_index": "map_index",
    "try_number": "try_number",
    "task_try_number": "try_number",
}
"""Path parameter → the name that log lines give it."""


def build(services: Services, authenticator: Authenticator) -> LambdaHandler:
    """The handler of the `api` function, for events of an HTTP API (payload version 2.0) and of a REST API (1.0)."""
    resolver, refusals = _Resolver(), Refusals()
    table = {**OPERATIONS, **UI_OPERATIONS, **DOCS_OPERATIONS, **AUTH_OPERATIONS}
    own = {**DOCS_HANDLERS, **authenticator.handlers()}

    def find(operation_id: str) -> Handler:
        """At the operation's first request: a look-up imports the handler's module."""
        for handlers in (own, UI_HANDLERS, HANDLERS):
            if operation_id in handlers:
                return handlers[operation_id]
        return not_yet(operation_id, table[operation_id])

    for operation_id in sorted(table, key=lambda name: _specific_first(table[name].path)):
        operation = table[operation_id]
        resolver.route(_rule(operation.path), operation.method)(
            _bind(resolver, services, authenticator, operation_id, find, refusals=refusals)
        )
    resolver.exception_handler(NotFoundError)(lambda _: _no_route(resolver, table))

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if is_rest(event):
            return as_rest_answer(_logged(resolver, _without_prefix(as_http_event(event)), context))
        return _logged(resolver, _without_prefix(event), context)

    return handle


def _without_prefix(event: dict[str, Any]) -> dict[str, Any]:
    """The event with the prefix for signed requests removed from its path."""
    if not str(event.get("routeKey", "")).startswith(f"ANY {SIGNED_PREFIX}/"):
        return event
    stage, _, path = event["rawPath"].partition(f"{SIGNED_PREFIX}/")
    return {**event, "rawPath": f"{stage}/{path}"}


class _Resolver(Resolver):
    """With what the log says of the current request: a function answers one at a time."""

    user_name = ""
    correlation_id = ""
    names: Mapping[str, Any] = MappingProxyType({})
    """The DAG, run and task instance in its path."""


def _rule(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: f"<{m[1]}{':path' if m[1] in SLASHED_PARAMETERS else ''}>", path)


def _specific_first(path: str) -> tuple[int, ...]:
    """Sorts `…/taskInstances/list` before `…/taskInstances/{task_id}`."""
    segments = path.split("/")
    return tuple(2 if s.strip("{}") in SLASHED_PARAMETERS else int(s.startswith("{")) for s in segments)


def _bind(
    resolver: _Resolver,
    services: Services,
    authenticator: Authenticator,
    operation_id: str,
    find: Callable[[str], Handler],
    *,
    refusals: Refusals,
) -> Callable[..., Response[str]]:
    reads = all(permission.method == "GET" for permission in PERMISSIONS.get(operation_id, ()))

    def seen_by(user: User) -> Services:
        """For a read by a user with rights for some DAGs, services whose store holds only those; for a change, services that
        know the request's correlation id."""
        if not reads:
            return replace(services, correlation_id=resolver.correlation_id)
        if user.role is not None or not user.dag_roles:
            return services
        return replace(services, store=readable(services.store, user))

    open_to_all = AUTH_OPERATIONS.keys() | DOCS_PAGES | authenticator.public

    def note(refusal: Problem | Rejected, user: User) -> None:
        """Logs the refusal of a user or of credentials. Requests without credentials are in the access log only."""
        event = resolver.current_event.raw_event
        comes_as_somebody = user.names or operation_id in AUTH_OPERATIONS or brings_something(event)
        if refusal.status not in (401, 403) or not comes_as_somebody:
            return
        detail = refusal.detail if isinstance(refusal, Problem) else str(refusal)
        try:
            refusals.note(services, event, operation_id, {"status": refusal.status, "detail": detail}, user)
        except Exception:
            logger.exception(
                "a refusal could not be kept", operation=operation_id, correlation_id=resolver.correlation_id
            )

    def route(**path: str) -> Response[str]:
        event = resolver.current_event
        headers = headers_of(event.raw_event)
        caller, is_let_in = Caller(NOBODY), False
        try:
            now = services.clock.now()
            if operation_id not in open_to_all:
                export_options(services)
            if operation_id in open_to_all:
                caller = Caller(authenticator.signer_of(event.raw_event) or NOBODY)
            else:
                caller = authenticator.authenticate(services.tokens, event.raw_event, now)
            resolver.user_name = caller.user.name
            if len(event.get("body") or "") > LARGEST_BODY:
                raise Problem(413, f"Request body too large: the maximum is {LARGEST_BODY} bytes")
            request = Request(
                # API Gateway has decoded everything but `%25`; decoding once more is right either way.
                path={name: unquote(value) for name, value in path.items()},
                user=caller.user,
                now=now,
                query_string=event.get("rawQueryString") or "",
                headers=headers,
                raw_body=_text(event.get("body"), bool(event.get("isBase64Encoded"))),
                is_text=_is_text(event.get("body"), bool(event.get("isBase64Encoded"))),
                session=caller.session,
                event=event.raw_event,
            )
            _check_lengths(request.path)
            resolver.names = {NAMED[name]: value for name, value in request.path.items() if name in NAMED}
            if operation_id not in open_to_all:
                authorize(services, caller.user, PERMISSIONS[operation_id], request)
            is_let_in = operation_id not in AUTH_OPERATIONS
            log_action(services, operation_id, request, event.http_method)
            answer = find(operation_id)(seen_by(caller.user), request)
            if cookie := authenticator.renewed_cookie(services.tokens, caller, event.raw_event, now):
                answer = answer if isinstance(answer, Answer) else Answer(body=answer)
                answer = replace(answer, headers={"Set-Cookie": cookie, **answer.headers})
        except (Problem, Rejected) as refusal:
            if not is_let_in:
                note(refusal, caller.user)
            answer = _refusal(refusal)
        except RecursionError:
            answer = _refusal(Invalid("The body is nested too deeply", field=("body",)))
        except OverflowError:  # e.g. the first day of year 1 in a zone east of UTC
            place = "body" if event.get("body") else "query"
            answer = _refusal(Invalid("A date or a number is out of range", field=(place,)))
        except ServiceUnavailable:  # the parser, another function, DynamoDB or S3: a part of a change may be done
            logger.warning(
                "a service did not answer",
                exc_info=True,
                operation=operation_id,
                correlation_id=resolver.correlation_id,
                **resolver.names,
            )
            detail = (
                "A part of the stack that this request needs does not answer at the moment. Try again in some seconds."
            )
            answer = Answer(503, {"detail": detail}, headers={"Retry-After": str(TRY_AGAIN_AFTER)})
        except Exception:
            logger.exception(
                "request failed", operation=operation_id, correlation_id=resolver.correlation_id, **resolver.names
            )
            answer = Answer(500, {"detail": "Internal Server Error"})
        return _response(answer if isinstance(answer, Answer) else Answer(body=answer), headers)

    return route


def _check_lengths(path: Mapping[str, str]) -> None:
    """Problem 404 for an id that is too long to be stored."""
    for name, value in path.items():
        if name != "file_token" and len(value.encode("utf-8", "surrogatepass")) > LONGEST_ID:
            raise Problem(404, f"{name} is longer than {LONGEST_ID} bytes: not found")


def _text(body: str | None, is_base64: bool) -> str:
    if not body:
        return ""
    text = base64.b64decode(body).decode("utf-8", "replace") if is_base64 else body
    return text.removeprefix("\ufeff")  # some Windows tools write a byte order mark


def _is_text(body: str | None, is_base64: bool) -> bool:
    if not body or not is_base64:
        return True
    try:
        base64.b64decode(body).decode()
    except UnicodeDecodeError:
        return False
    return True


def _refusal(refusal: Problem | Rejected) -> Answer:
    match refusal:
        case Problem(status=status, detail=detail):
            return Answer(status, {"detail": detail}, headers=refusal.headers)
        case Invalid(field=field, value=value):
            detail = [{"type": "value_error", "loc": list(field), "msg": f"Value error, {refusal}", "input": value}]
            return Answer(422, {"detail": detail})
        case AlreadyExists():
            return Answer(409, {"detail": unique_constraint(str(refusal))})
        case _:
            return Answer(refusal.status, {"detail": str(refusal)})


def _response(answer: Answer, request_headers: Mapping[str, str]) -> Response[str]:
    body = encode(answer.body) if answer.content_type == "application/json" else str(answer.body or "")
    if answer.status == 204:
        return Response(204, headers=dict(answer.headers), body="")
    headers = dict(answer.headers)
    if len(body) <= COMPRESS_FROM:
        return Response(answer.status, answer.content_type, body, headers)
    takes_gzip = accepts_gzip(request_headers)
    if takes_gzip:
        packed = base64.b64encode(gzip.compress(body.encode(), compresslevel=5)).decode()
        if len(packed) < LARGEST_ANSWER:
            response = Response(answer.status, answer.content_type, packed, headers | {"Content-Encoding": "gzip"})
            response.base64_encoded = True
            return response
    if (size := wire_size(body)) > LARGEST_ANSWER:
        return _too_large(size, takes_gzip=takes_gzip)
    return Response(answer.status, answer.content_type, body, headers)


def _too_large(size: int, *, takes_gzip: bool) -> Response[str]:
    what = f"Response too large: {size} bytes, and the maximum is {LARGEST_ANSWER}"
    if takes_gzip:
        detail = f"{what} even with compression: request a smaller page, or read a value of this size in a task"
        return Response(413, "application/json", encode({"detail": detail}))
    detail = f"{what} without compression: send 'Accept-Encoding: gzip' (curl --compressed), or request a smaller page"
    return Response(406, "application/json", encode({"detail": detail}), {"Vary": "Accept-Encoding"})


def _no_route(resolver: _Resolver, table: Mapping[str, Operation]) -> Response[str]:
    """The answer for an unknown route, as in Airflow: 404 for GET, 405 for other methods."""
    event = resolver.current_event
    path, method = event.path, event.http_method
    allowed = {
        operation.method
        for operation in table.values()
        if method != "GET" and resolver._compile_regex(_rule(operation.path)).match(path)
    }
    if allowed or method not in ("GET", "HEAD"):
        headers = {"Allow": ", ".join(sorted(allowed | {"GET"}))}
        return Response(405, "application/json", encode({"detail": "Method Not Allowed"}), headers)
    if path.startswith("/api/v1/"):
        gone = "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead."
        return Response(404, "application/json", encode({"error": gone}))
    if path.startswith("/api/"):
        return Response(404, "application/json", encode({"error": "API route not found"}))
    if path == "/health":
        moved = "Moved in Airflow 3. Please change config to check `/api/v2/monitor/health`"
        return Response(404, "application/json", encode({"error": moved}))
    return _web(event.raw_event, path)


def _web(event: dict[str, Any], path: str) -> Response[str]:
    """A file of the web UI, or its page, which chooses the view from the path in the browser."""
    headers = headers_of(event)
    try:
        if path != "/static" and not path.startswith("/static/"):
            page = web_files().page(base_path(event))
            return Response(200, "text/html; charset=utf-8", page, {"Cache-Control": "no-cache"})
        file = web_files().file(path, headers)
    except Rejected as refusal:
        return _response(_refusal(refusal), headers)
    if file is None:
        return Response(404, "application/json", encode({"detail": "Not Found"}))
    if len(file.body) > LARGEST_ANSWER:
        return Response(
            406, "application/json", encode({"detail": "This file is available with gzip compression only"})
        )
    response = Response(file.status, file.content_type, file.body, dict(file.headers))
    response.base64_encoded = bool(file.body)
    return response


def _logged(resolver: _Resolver, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Logs one line for each invocation to stderr: method, path, status, user, duration."""
    started, resolver.user_name, resolver.names = time.perf_counter(), "", {}
    resolver.correlation_id = correlation_id_of(headers_of(event))
    response = resolver.resolve(event, context)
    response["headers"] = {
        **security_headers(event, response),
        REQUEST_ID: resolver.correlation_id,
        **(response.get("headers") or {}),
    }
    http = event.get("requestContext", {}).get("http", {})
    logger.info(
        "answered",
        method=http.get("method"),
        path=event.get("rawPath"),
        status=response.get("statusCode"),
        user=resolver.user_name or None,
        ip=http.get("sourceIp"),
        correlation_id=resolver.correlation_id,
        **resolver.names,
        milliseconds=round((time.perf_counter() - started) * 1000, 1),
    )
    return response
