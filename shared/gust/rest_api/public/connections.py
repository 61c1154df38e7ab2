"""`/api/v2/connections`: credentials and addresses for hooks. Passwords and secrets in `extra` are masked.

Connection tests are off by default, as in Airflow: a test's answer may reveal something of a stored secret, and the
test connects from the workers' network. A worker runs the test, since this function has no provider's hook; the
synchronous operation waits for the worker's report.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, field_validator

from gust.errors import ServiceUnavailable, Unreadable
from gust.http.answer import Answer, Json, Problem, bad_request, not_found
from gust.model.connection import CONNECTIONS, Connection
from gust.model.connection_test import ConnectionTestState
from gust.model.user import User
from gust.rest_api.access.permissions import Permission, Resource
from gust.rest_api.http.masking import MASK, redact, unmasked
from gust.rest_api.http.request import Body, Request, UpdateMask, Whole, WithoutTeam
from gust.rest_api.http.routing import operation
from gust.rest_api.lists import bulk
from gust.rest_api.lists.bulk import BulkCreateNamed, BulkDeleteNamed, BulkUpdateNamed, Named
from gust.rest_api.lists.filters import Filters, ListQuery, query_of, search
from gust.rest_api.lists.listing import Ordering, filtered_page
from gust.rest_api.lists.setting_row import SettingRow
from gust.services.context import Services
from gust.services.settings import connections
from gust.services.settings.enqueue_connection_test import (
    Enqueued,
    await_connection_test,
    enqueue_connection_test,
    find_connection_test,
)
from gust.services.time_left import TimeLeft

TEST_CONNECTION: Final = "AIRFLOW__CORE__TEST_CONNECTION"
"""Airflow's setting, in the function's environment; `TestConnection` in `template.yaml`."""
TESTING_IS_OFF: Final = (
    "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it."
)
TEST_HEADER: Final = "Airflow-Connection-Test-Token"

PLAIN_FIELDS: Final = ("conn_type", "description", "host", "login", "schema", "port")


def connection_response(connection: Connection) -> Json:
    return {
        "connection_id": connection.conn_id,
        "conn_type": connection.conn_type,
        "description": connection.description,
        "host": connection.host,
        "login": connection.login,
        "schema": connection.schema,
        "port": connection.port,
        "password": None if connection.password is None else str(redact(connection.password, "password")),
        "extra": _shown_extra(connection.extra),
        "team_name": None,
    }


def _shown_extra(extra: str | None) -> str | None:
    if not extra:
        return extra
    try:
        return json.dumps(redact(json.loads(extra)))
    except (ValueError, RecursionError):  # which parts are secret is unknown
        return MASK


def _unreadable_response(conn_id: str, stored: dict[str, Any]) -> Json:
    """A connection whose key is missing: its plain fields, and masks for the encrypted ones."""
    plain = {name: value for name, value in stored.items() if name not in connections.SECRETS.values()}
    hidden = {name: MASK if plain.get(name) else plain.get(name) for name in connections.SECRETS}
    return connection_response(Connection(**plain | hidden | {"conn_id": conn_id}))


# --- reading ----------------------------------------------------------------------------------------------------------


FILTERS: Final = Filters[SettingRow](search("connection_id", lambda row: row.name))
ConnectionsQuery: Final = query_of(ListQuery, FILTERS)
ORDERING: Final = Ordering[SettingRow](
    attributes={
        "id": lambda row: row.place,
        "conn_id": lambda row: row.name,
        "connection_id": lambda row: row.name,
        "conn_type": lambda row: row.stored.get("conn_type", ""),
        "description": lambda row: row.stored.get("description"),
        "host": lambda row: row.stored.get("host"),
        "port": lambda row: row.stored.get("port"),
        "team_name": lambda _: None,
    },
    key=lambda row: (row.place,),
)


@operation("get_connections")
def get_connections(services: Services, request: Request) -> Json:
    query = request.query(ConnectionsQuery)
    found = filtered_page(SettingRow.of(connections.list_connections(services)), query, ORDERING, FILTERS)
    return found.answer("connections", lambda row: _response(services, row.name, row.stored))


@operation("get_connection")
def get_connection(services: Services, request: Request) -> Json:
    conn_id = request.path["connection_id"]
    return _response(services, conn_id, _existing(services, conn_id))


def _response(services: Services, conn_id: str, stored: dict[str, Any]) -> Json:
    try:
        return connection_response(connections.read_connection(services, conn_id, stored))
    except Unreadable:
        return _unreadable_response(conn_id, stored)


def _existing(services: Services, conn_id: str) -> dict[str, Any]:
    stored: dict[str, Any] | None = services.store.get_setting(CONNECTIONS, conn_id)
    if stored is None:
        raise connections.missing(conn_id)
    return stored


# --- changing ---------------------------------------------------------------------------------------------------------


class ConnectionBody(WithoutTeam):
    model_config = ConfigDict(populate_by_name=True)

    connection_id: str = Field(max_length=200, pattern=r"^[\w.-]+$")
    conn_type: str
    description: str | None = None
    host: str | None = None
    login: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    port: Whole | None = None
    password: str | None = None
    extra: str | None = None

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: str | None) -> str | None:
        if extra == "":
            return "{}"
        if extra is None:
            return extra
        try:
            given = json.loads(extra)
        except ValueError as error:
            raise ValueError(
                "The `extra` field must be a valid JSON object (e.g., {'key': 'value'}), "
                "but encountered non-JSON in `extra` field"
            ) from error
        if not isinstance(given, dict):
            raise ValueError("The `extra` field must be a valid JSON object (e.g., {'key': 'value'})")
        return extra

    @property
    def given(self) -> set[str]:
        """Names of the body's fields, in the contract's spelling."""
        return {"schema" if name == "schema_" else name for name in self.model_fields_set}

    @property
    def plain(self) -> dict[str, Any]:
        return {name: self.schema_ if name == "schema" else getattr(self, name) for name in PLAIN_FIELDS}


@operation("post_connection")
def post_connection(services: Services, request: Request) -> Answer:
    made = _connection(request.body(ConnectionBody))
    connections.create_connection(services, made)
    return Answer(201, connection_response(made))


@operation("patch_connection")
def patch_connection(services: Services, request: Request) -> Json:
    body, mask = request.body(ConnectionBody), request.query(UpdateMask).update_mask
    conn_id = request.path["connection_id"]
    if body.connection_id != conn_id:
        raise bad_request("The connection_id in the request body does not match the URL parameter")
    return connection_response(connections.change_connection(services, conn_id, _change(body, mask)))


@operation("delete_connection")
def delete_connection(services: Services, request: Request) -> Answer:
    connections.delete_connection(services, request.path["connection_id"])
    return Answer(204)


@operation("create_default_connections")
def create_default_connections(services: Services, request: Request) -> Answer:  # noqa: ARG001 - a handler's signature
    connections.create_default_connections(services)
    return Answer(204)


def _connection(body: ConnectionBody) -> Connection:
    return Connection(conn_id=body.connection_id, password=body.password or None, extra=body.extra, **body.plain)


def _change(body: ConnectionBody, mask: Collection[str] | None) -> Callable[[Connection], Connection]:
    """Applies the body's fields, or those in the mask. A password can be changed but not removed, as in Airflow 3.3."""
    fields = body.given & set(mask) if mask else body.given
    touched = set(mask or body.given)

    def change(connection: Connection) -> Connection:
        changed = replace(connection, **{name: value for name, value in body.plain.items() if name in fields})
        if "password" in touched and body.password:
            changed = replace(changed, password=unmasked(body.password, connection.password, "password"))
        if "extra" in touched:
            changed = replace(changed, extra=_kept(body.extra, connection.extra))
        return changed

    return change


def _kept(new: str | None, old: str | None) -> str | None:
    """The new extra with the old secrets in place of their masks."""
    if new is None or old is None:
        return new
    try:
        return json.dumps(unmasked(json.loads(new), json.loads(old)))
    except (ValueError, RecursionError):
        return new


# --- in bulk ----------------------------------------------------------------------------------------------------------


class BulkConnections(Body):
    actions: list[
        Annotated[
            BulkCreateNamed[ConnectionBody] | BulkUpdateNamed[ConnectionBody] | BulkDeleteNamed,
            Field(discriminator="action"),
        ]
    ]


@operation("bulk_connections")
def bulk_connections(services: Services, request: Request) -> Json:
    def overwrite(body: ConnectionBody, _: object = None) -> None:
        """A bulk update ignores its mask, as in Airflow."""
        connections.change_connection(services, body.connection_id, _change(body, None))

    named: Named[ConnectionBody] = Named(
        "connections with these connection_ids",
        name=lambda body: body.connection_id,
        names=lambda: connections.list_connections(services).keys(),
        create=lambda body: connections.create_connection(services, _connection(body)),
        overwrite=overwrite,
        update=overwrite,
        delete=partial(connections.delete_connection, services),
        time_left=TimeLeft.of(services.clock, since=request.now),
    )
    return named.answer(bulk.read(request, BulkConnections).actions)


# --- testing ----------------------------------------------------------------------------------------------------------


class ConnectionTestBody(ConnectionBody):
    commit_on_success: bool = False
    executor: str | None = None
    queue: str | None = None


READING: Final = Permission(Resource.CONNECTION, "GET")

PATIENCE: Final = timedelta(seconds=20)
"""An HTTP API times out after 30 seconds, which include a cold start."""


def testing_is() -> str:
    """Enabled, Disabled, or Hidden: disabled, and the web UI shows no button."""
    return os.environ.get(TEST_CONNECTION, "Disabled").strip()


@operation("test_connection")
def test_connection(services: Services, request: Request) -> Json:
    body = request.body(ConnectionBody)
    _check_testing_is_on()
    tested = _as_it_would_be(services, request.user, body)
    # Under a name of its own, as in Airflow: a worker's own connection of that id must not replace it.
    tested = replace(tested, conn_id=f"test_{secrets.token_hex(8)}")
    test = await_connection_test(services, _enqueued(services, tested), until=request.now + PATIENCE)
    if not test.has_ended:
        raise Problem(
            504,
            f"The test did not finish within {PATIENCE.seconds} seconds. POST /api/v2/connections/enqueue-test starts a "
            "test and returns at once.",
        )
    return {"status": test.state is ConnectionTestState.SUCCESS, "message": test.result_message or ""}


@operation("enqueue_connection_test")
def enqueue_test(services: Services, request: Request) -> Answer:
    """All workers are alike: the names of executor and queue are ignored, as with tasks."""
    body = request.body(ConnectionTestBody)
    _check_testing_is_on()
    token, test = _enqueued(services, _connection(body), commit_on_success=body.commit_on_success)
    return Answer(202, {"token": token, "connection_id": test.connection_id, "state": test.state})


@operation("get_connection_test")
def get_connection_test(services: Services, request: Request) -> Json:
    token = request.headers.get(TEST_HEADER.lower())
    if token is None:
        missing = {"type": "missing", "loc": ["header", TEST_HEADER], "msg": "Field required", "input": None}
        raise Problem(422, [missing])
    test = find_connection_test(services, token)
    if test is None:
        raise not_found(f"No connection test found for token: `{token}`")
    return {
        "token": token,
        "connection_id": test.connection_id,
        "state": test.state,
        "result_message": test.result_message,
        "created_at": test.created_at,
    }


def _check_testing_is_on() -> None:
    if testing_is().lower() != "enabled":
        raise Problem(403, TESTING_IS_OFF)


def _enqueued(services: Services, connection: Connection, *, commit_on_success: bool = False) -> Enqueued:
    try:
        return enqueue_connection_test(services, connection, commit_on_success=commit_on_success)
    except ServiceUnavailable as unavailable:
        raise Problem(503, "The connection test could not be sent to a worker. Try again.") from unavailable


def _as_it_would_be(services: Services, user: User, body: ConnectionBody) -> Connection:
    """The stored connection with the body's fields; the form sends back the masks that it shows. Stored secrets are
    sent only to the stored host and port."""
    stored = connections.find_connection(services, body.connection_id) if READING.allows(user.role) else None
    if stored is None:
        return _connection(body)
    if _leads_elsewhere(body, stored):
        if not body.password or body.password == MASK:
            raise bad_request(
                "The host or port to test differs from the stored connection. "
                "Include the credentials to test in the request body."
            )
        return _connection(body)
    changed = _change(body, None)(stored)
    return replace(changed, port=changed.port or None)


def _leads_elsewhere(body: ConnectionBody, stored: Connection) -> bool:
    """The web UI sends an empty host and port 0 for none."""
    return ("host" in body.given and (body.host or None) != (stored.host or None)) or (
        "port" in body.given and (body.port or None) != (stored.port or None)
    )
