"""Variables and connections for DAG files that read them while they are parsed.

The child asks its parent (`ParserComms`), and the parent asks the execution API (`SettingsReader`), with a token that
permits nothing else. As in Airflow, environment variables and secrets backends come first, in the child.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx

from gust.airflow_bridge import compat
from gust.airflow_bridge.transport import EXECUTION_API, Invoke, LambdaTransport
from gust.errors import GustError
from gust.model import execution_paths
from gust.model.connection import CONNECTIONS
from gust.model.secrets_backend import Kind
from gust.model.variable import VARIABLES
from gust.ports.objects import Objects
from gust.services.settings.settings_read import ABSENT, VERSION_HEADER, name_of, name_of_keys

LONGEST_NAMES: Final = 20_000
"""Characters of setting names that are remembered per file. Further settings are answered, but their changes do not
cause the file to be parsed again."""

SECRETS: Final = execution_paths.secret("", "").rstrip("/") + "/"
"""Where names of secrets begin. The version of a secret is not remembered: no event tells of its change."""

UNANSWERED: Final = HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    version: str


Find = Callable[[str, str], Answer]
"""Finds a setting by its name and its path at the execution API."""


class SettingsReader:
    """Reads settings from the execution API for one batch of files, each setting once."""

    def __init__(self, invoke: Invoke, objects: Objects, token: str) -> None:
        self._client = httpx.Client(
            base_url=EXECUTION_API,
            transport=LambdaTransport(invoke, objects),
            headers={"authorization": f"Bearer {token}"},
        )
        self._known: dict[str, Answer] = {}

    def find(self, name: str, path: str) -> Answer:
        if name in self._known:
            return self._known[name]
        try:
            answer = self._client.get(path)
            found = Answer(answer.status_code, answer.json(), answer.headers.get(VERSION_HEADER, ABSENT))
        except (
            httpx.TransportError,
            httpx.InvalidURL,
            GustError,
            ValueError,
        ) as error:  # GustError: it was too large for Lambda's payload
            return Answer(UNANSWERED, {"detail": str(error)}, ABSENT)
        if found.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            self._known[name] = found
        return found


def nothing_stored(name: str, _: str) -> Answer:
    """The `Find` of a parser without an execution API."""
    return Answer(HTTPStatus.NOT_FOUND, {"detail": f"{name} not found"}, ABSENT)


@dataclass(slots=True)
class SettingsOfFile:
    """The settings that one file reads while it is parsed."""

    find: Find
    versions: dict[str, str] = field(default_factory=dict)
    """By name, as in `services.settings_read`."""
    unanswered: str = ""
    """Why a setting could not be read; empty if each was found or is known not to exist."""
    secrets: list[tuple[Any, str | None]] = field(default_factory=list)
    """Values to mask, each with the name that decides whether Airflow masks it."""

    def answer(self, question: Any) -> Any:
        """`{"status": …, "body": …}` for `ParserComms`."""
        try:
            name, path = _place(question)
        except ValueError:
            return {"status": HTTPStatus.BAD_REQUEST, "body": None}
        found = self.find(name, path)
        if found.status == HTTPStatus.OK and not _is_answer(found.body, question):
            return {"status": HTTPStatus.BAD_REQUEST, "body": None}
        if name.startswith(SECRETS) and found.status == HTTPStatus.OK:
            if found.body.get("is_transient"):
                self.unanswered = f"A secret could not be read: {found.body['problem']}"
        elif found.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            if sum(map(len, self.versions)) + len(name) <= LONGEST_NAMES:
                self.versions[name] = found.version
        elif found.status >= HTTPStatus.INTERNAL_SERVER_ERROR or found.status == HTTPStatus.FORBIDDEN:
            self.unanswered = f"{name} could not be read: {found.body}"
        if found.status == HTTPStatus.OK:
            self._note_secrets(question, found.body)
        return {"status": found.status, "body": found.body}

    def _note_secrets(self, question: Any, body: Any) -> None:
        """Remember the values that Airflow masks."""
        match question:
            case {"variable": str(key)}:
                self._note_variable(key, body["value"])
            case {"secret": str(key), "kind": kind} if body["value"]:
                if kind == Kind.VARIABLE:
                    self._note_variable(key, body["value"])
                else:
                    self.secrets.extend((value, None) for value in compat.secrets_in(body["value"]))
            case {"connection": _}:
                self.secrets.extend((body[field], None) for field in ("password", "extra") if body.get(field))

    def _note_variable(self, key: str, text: str) -> None:
        self.secrets.append((text, key))
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            self.secrets.append((value, None if isinstance(value, dict) else key))

    def masked(self, text: str) -> str:
        return compat.masked(text, self.secrets) if self.secrets else text


def _place(question: Any) -> tuple[str, str]:
    """A setting's name, and its path at the execution API. Raises ValueError for a question that `ParserComms` does not
    ask."""
    match question:
        case {"variable": str(key)}:
            return name_of(VARIABLES, key), f"variables/{quote(key, safe='')}"
        case {"connection": str(key)}:
            return name_of(CONNECTIONS, key), f"connections/{quote(key, safe='')}"
        case {"secret": str(key), "kind": str(kind)}:
            path = execution_paths.secret(Kind(kind), key)
            return path, path.removeprefix("/")
        case {"keys": str(prefix), "limit": int(limit), "offset": int(offset)}:
            page = f"limit={limit}&offset={offset}"
            return name_of_keys(prefix), f"variables/keys?prefix={quote(prefix, safe='')}&{page}"
    raise ValueError("Not a question")


_FIELDS: Final = {"variable": "value", "connection": "conn_id", "keys": "keys", "secret": "value"}
"""Question → a field of every answer to it."""


def _is_answer(body: Any, question: Any) -> bool:
    """A key can lead elsewhere: `keys` is no variable, but the path of their list, as at Airflow's own API."""
    return isinstance(body, dict) and any(field in body for asked, field in _FIELDS.items() if asked in question)


# --- the child --------------------------------------------------------------------------------------------------------


class ParserComms:
    """Takes the place of the supervisor for a DAG file: sends questions to `ask`. A DAG file writes nothing while it is
    parsed, and has no run to ask about."""

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        from gust.airflow_bridge import secrets_backend  # now: a DAG folder may hide our package

        self._ask = ask
        self._secrets = secrets_backend

    def send(self, msg: Any) -> Any:
        """As in Airflow, a missing setting is an ErrorResponse. A forbidden request raises AirflowRuntimeError."""
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time import comms

        match msg:
            case comms.GetVariable() if (secret := self._secrets.secret_of(msg.key)) is not None:
                answer = self._ask({"kind": secret[0], "secret": secret[1]})
                if answer["status"] != HTTPStatus.OK:
                    return comms.ErrorResponse(
                        error=ErrorType.API_SERVER_ERROR, detail={"message": str(answer["body"])}
                    )
                return self._secrets.reply(msg.key, answer["body"])
            case comms.GetVariable():
                error, where = ErrorType.VARIABLE_NOT_FOUND, {"key": msg.key}
                answer = self._ask({"variable": msg.key})
            case comms.GetConnection():
                error, where = ErrorType.CONNECTION_NOT_FOUND, {"conn_id": msg.conn_id}
                answer = self._ask({"connection": msg.conn_id})
            case comms.GetVariableKeys():
                error, where = ErrorType.API_SERVER_ERROR, {"prefix": msg.prefix}
                answer = self._ask({"keys": msg.prefix or "", "limit": msg.limit, "offset": msg.offset})
            case comms.MaskSecret():
                return None
            case _:
                detail = {"message": f"A DAG file can not ask for this while it is parsed: {type(msg).__name__}"}
                raise AirflowRuntimeError(comms.ErrorResponse(error=ErrorType.PERMISSION_DENIED, detail=detail))
        if answer["status"] != HTTPStatus.OK:
            if answer["status"] != HTTPStatus.NOT_FOUND:
                error = ErrorType.API_SERVER_ERROR
            return comms.ErrorResponse(error=error, detail={**where, "status_code": answer["status"]})
        match msg:
            case comms.GetVariable():
                return comms.VariableResult(**answer["body"])
            case comms.GetConnection():
                return comms.ConnectionResult(**answer["body"])
        return comms.VariableKeysResult(**answer["body"])

    async def asend(self, msg: Any) -> Any:
        return self.send(msg)
