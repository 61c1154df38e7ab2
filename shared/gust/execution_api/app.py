"""Airflow's Task Execution API, version 2026-06-30, over Gust's store.

The worker's transport invokes the function with the event that API Gateway's HTTP API (payload 2.0) would send: no
network stands between them, and an HTTP client could use the same handler. `rawPath` and `rawQueryString` are still
percent-encoded: ids and keys may hold slashes.
"""

import base64
import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.logging import Logger
from pydantic import TypeAdapter

from gust.errors import Forbidden, Rejected, Stale, Unauthorized
from gust.execution_api.problems import answer_problem, answer_rejected, answer_stale
from gust.execution_api.routes import ROUTES
from gust.execution_api.routing import Access, Call, Fence, Route
from gust.http.answer import Answer, Problem, wrong_value
from gust.http.check import checked, parse_json, parse_query
from gust.http.resolver import Resolver, headers_of
from gust.model import bucket_keys, transfer
from gust.model.correlation import OF_WORKERS, is_accepted
from gust.model.dispatch import UNBEGUN, Dispatch
from gust.model.execution_paths import BASE_PATH
from gust.model.keys import TaskInstanceKey
from gust.services.context import Services
from gust.services.worker.check_caller import check_caller

API_VERSION: Final = "2026-06-30"
JSON: Final = "application/json"

SHORT: Final = 300
"""Bytes of rendered fields that are stored with the report of a dispatch's end: with them most instances stay below
1 KB, a write unit. Longer ones are stored beside the instance, where the scheduler does not read them."""

NOBODY: Final = Dispatch(TaskInstanceKey("", "", ""), 0, 0)
"""The caller of a route that needs no token."""


class ExecutionApi:
    """Made once per cold start. Called with an event it returns an answer and never raises.

    An event may carry rendered fields in `carried`, a request whose answer the worker does not await. It is handled first.
    Beside a report of the same try it comes after it: a fence would read what an accepted report's write has told. Short
    fields are then stored by the report's own write: they are the first of their dispatch, as far as the worker knows."""

    def __init__(self, services: Services, *, log: Logger) -> None:
        self._services = services
        self._log = log
        self._caller = NOBODY
        """Of the current request, for the log: a function answers one at a time."""
        self._is_fenced = False
        """The current request needs no fence any longer."""
        self._rendered_fields: dict[str, Any] | None = None
        """What the report that is being served stores with its move."""
        self._reported = ""
        """The state that the current request reports, for the log."""
        self._resolver = Resolver(strip_prefixes=[BASE_PATH])
        for route in ROUTES:
            self._resolver.route(_rule(route.path), method=route.method)(self._endpoint(route))
        self._resolver.not_found(lambda _: Response(status_code=404, content_type=JSON, body='{"detail":"Not Found"}'))

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        if (carried := event.get("carried")) is None:
            return self._answer(event, context)
        if (of_try := _matched(RENDERED_FIELDS, carried)) is None:
            return {
                "statusCode": 400,
                "headers": {"content-type": JSON},
                "body": '{"detail":"No such request is carried"}',
            }
        if of_try == _matched(REPORT, event):
            fields = _short_fields(carried)
            answer = self._answer(event, context, rendered_fields=fields)
            if answer["statusCode"] >= 500:
                return answer  # the worker repeats both requests
            is_stored = answer["statusCode"] < 300
            if is_stored and fields is not None:
                return answer  # the report's write has stored them, too
            beside = self._answer(carried, context, is_carried=True, is_fenced=is_stored)
            return beside if beside["statusCode"] >= 500 else answer
        beside = self._answer(carried, context, is_carried=True)
        return beside if beside["statusCode"] >= 500 else self._answer(event, context)

    def _answer(
        self,
        event: dict[str, Any],
        context: Any,
        *,
        is_carried: bool = False,
        is_fenced: bool = False,
        rendered_fields: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        began, self._caller, self._is_fenced = time.perf_counter(), NOBODY, is_fenced
        self._rendered_fields, self._reported = rendered_fields, ""
        answer = self._resolver.resolve(event, context)
        if is_carried and answer["statusCode"] < 300:
            return answer  # the other request has the line of the two: bytes of logs are a part of a task's price
        # The report of its end tells of the try, too.
        is_untold = answer["statusCode"] < 300 and _matched(START, event) is not None
        tell = self._log.debug if is_untold else self._log.info
        tell(
            "%s %s",
            event["requestContext"]["http"]["method"],
            self._path_in_words(event),
            extra={
                "status": answer["statusCode"],
                "ms": round((time.perf_counter() - began) * 1000, 1),
                **({"state": self._reported} if self._reported else {}),
                **self._names(event),
            },
        )
        return answer

    def _path_in_words(self, event: Mapping[str, Any]) -> str:
        """The path, without the id of a try that the line names by its parts: so equal requests have equal messages."""
        path = str(event["rawPath"]).removeprefix(BASE_PATH)
        return path.replace(str(self._caller.id), "{id}") if self._caller.key.task_id else path

    def _names(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What a log line says of the request: of its caller, and of the request that its run began with."""
        caller = self._caller
        names = {**asdict(caller.key), "try_number": caller.try_number} if caller.key.task_id else {}
        if caller.callback_id:
            names["callback_id"] = caller.callback_id
        if correlation_id := _correlation_id(event):
            names["correlation_id"] = correlation_id
        return names

    def _endpoint(self, route: Route) -> Any:
        def endpoint(**encoded: str) -> Response[str]:
            event = self._resolver.current_event.raw_event
            answer = self._guarded(route, {name: unquote(part) for name, part in encoded.items()}, event)
            body, headers = _text(self._services, answer, route.method)
            return Response(
                status_code=answer.status,
                content_type=None if answer.status == 204 else JSON,
                headers={**headers, **_echoed(event)},
                body=body or "",
            )

        return endpoint

    def _guarded(self, route: Route, path: Mapping[str, str], event: Mapping[str, Any]) -> Answer:
        try:
            return route.handler(self._checked(route, path, event))
        except Problem as problem:
            return answer_problem(problem)
        except Rejected as problem:
            return answer_rejected(problem)
        except Stale as problem:
            return answer_stale(problem)
        except RecursionError:
            return answer_problem(wrong_value("value_error", ("body",), "The body is nested too deeply"))
        except Exception:
            self._log.exception("The request failed", extra=self._names(event))
            return Answer(500, {"message": "Internal server error"})

    def _checked(self, route: Route, path: Mapping[str, str], event: Mapping[str, Any]) -> Call[Any, Any]:
        """Checks the caller before the request, so that an unknown caller learns nothing of valid requests; last the
        fence, which costs a read."""
        headers = headers_of(event)
        self._caller = caller = NOBODY if route.access is Access.OPEN else _caller(self._services, headers)
        _authorize(route, caller, path)
        _check_version(headers)
        query = None if route.query is None else parse_query(route.query, event.get("rawQueryString") or "")
        body = _parsed_body(self._services, route, event, headers)
        self._reported = str(getattr(body, "state", ""))
        if route.fence in (Fence.AT_WORK, Fence.LAST_WORDS) and not self._is_fenced:
            check_caller(self._services, caller, last_words=route.fence is Fence.LAST_WORDS)
        services = replace(self._services, correlation_id=_correlation_id(event), rendered_fields=self._rendered_fields)
        return Call(services, caller.begun(), path, query, body)


RENDERED_FIELDS: Final = re.compile(f"PUT {BASE_PATH}/task-instances/([^/]+)/rtif")
START: Final = re.compile(f"PATCH {BASE_PATH}/task-instances/([^/]+)/run")
REPORT: Final = re.compile(f"PATCH {BASE_PATH}/task-instances/([^/]+)/state")


def _matched(pattern: re.Pattern[str], event: Mapping[str, Any]) -> tuple[str, str] | None:
    """The task instance that a request is about, and the caller's token; None where it is another request."""
    found = pattern.fullmatch(f"{event['requestContext']['http']['method']} {event['rawPath']}")
    return None if found is None else (found[1], headers_of(event).get("authorization", ""))


def _short_fields(carried: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fields that the report's own write shall store; None where they need a write of their own, or are none at all."""
    text = carried.get("body")
    if not isinstance(text, str) or len(text.encode()) > SHORT or carried.get("isBase64Encoded"):
        return None
    try:
        fields = parse_json(text, finite=False)
    except (Problem, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


# --- the caller ----------------------------------------------------------------------------------------------------


def _caller(services: Services, headers: Mapping[str, str]) -> Dispatch:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("Missing auth token")
    return services.tokens.dispatch_of(token, now=services.clock.now())


def _authorize(route: Route, caller: Dispatch, path: Mapping[str, str]) -> None:
    if route.access is Access.OPEN:
        return
    if caller.scope not in route.scopes or not (caller.is_begun or route.begins):
        allowed = ", ".join(sorted({*route.scopes, *([UNBEGUN] if route.begins else [])}))
        raise Forbidden(f"Token type '{caller.token_type}' not allowed for this endpoint. Allowed types: {allowed}")
    if route.access is Access.OWN and next(iter(path.values())).lower() != str(caller.id):
        whose = "connection test" if "connection_test_id" in path else "task instance"
        raise Forbidden(f"Token subject does not match {whose} ID")


# --- the request ----------------------------------------------------------------------------------------------------


def _check_version(headers: Mapping[str, str]) -> None:
    version = headers.get("airflow-api-version", API_VERSION)
    if version != API_VERSION:
        raise wrong_value(
            "value_error",
            ("header", "airflow-api-version"),
            f"This server supports only version {API_VERSION} of the Task Execution API",
            version,
        )


def _parsed_body(services: Services, route: Route, event: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    if route.body is None:
        return None
    text = _body_text(services, event, headers)
    if not text:
        if route.needs_body:
            raise wrong_value("missing", ("body",), "Field required")
        return None
    # A worker's XCom may hold NaN.
    return checked("body", parse_json(text, finite=False), _adapter(route).validate_python)


def _body_text(services: Services, event: Mapping[str, Any], headers: Mapping[str, str]) -> str | bytes:
    if stored := headers.get(transfer.HEADER):
        if not stored.startswith(bucket_keys.TRANSFERS):
            raise Forbidden(f"A stored body must be under {bucket_keys.TRANSFERS}")
        return services.objects.get(stored)
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else str(body)


@cache
def _adapter(route: Route) -> TypeAdapter[Any]:
    assert route.body is not None  # noqa: S101 - only routes with a body come here
    return route.body()


# --- HTTP -------------------------------------------------------------------------------------------------------------


def _rule(path: str) -> str:
    return path.replace("{", "<").replace("}", ">")


def _echoed(event: Mapping[str, Any]) -> dict[str, str]:
    correlation_id = _correlation_id(event)
    return {OF_WORKERS: correlation_id} if correlation_id else {}


def _correlation_id(event: Mapping[str, Any]) -> str:
    given = headers_of(event).get(OF_WORKERS, "")
    return given if is_accepted(given) else ""


def _text(services: Services, answer: Answer, method: str) -> tuple[str | None, dict[str, str]]:
    """The body as text, and the headers. A body over the limit of an invocation is put into the bucket, and a header
    names it."""
    if answer.status == 204 or method == "HEAD":
        return None, dict(answer.headers)
    text = json.dumps(answer.body, separators=(",", ":"))
    if len(text) <= transfer.LIMIT:
        return text, dict(answer.headers)
    key = bucket_keys.transfer(str(uuid.uuid4()))
    services.objects.put(key, text.encode(), content_type=JSON)
    return None, {**answer.headers, transfer.HEADER: key}
