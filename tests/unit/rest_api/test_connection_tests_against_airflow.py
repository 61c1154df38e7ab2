"""The test of a stored connection tests exactly what Airflow's own route would test, or gives the same refusal."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from gust.errors import GustError
from gust.http.answer import Problem
from gust.model.access import Role
from gust.model.connection import Connection
from gust.model.user import User
from gust.rest_api.public.connections import ConnectionBody, _as_it_would_be
from gust.services.settings.connections import create_connection
from tests.unit.rest_api.world import make_world

STORED = Connection(
    conn_id="pg",
    conn_type="postgres",
    host="db",
    login="me",
    password="s3cret",
    port=5432,
    extra='{"token": "s3cret-t", "a": 1}',
)
STORED_AS = (
    None,
    STORED,
    replace(STORED, host=None, port=None),
    replace(STORED, password=None, extra=None),
)
HOSTS: tuple[dict[str, Any], ...] = ({}, {"host": "db"}, {"host": ""}, {"host": None}, {"host": "evil"})
PORTS: tuple[dict[str, Any], ...] = ({}, {"port": 5432}, {"port": None}, {"port": 1})
SECRETS: tuple[dict[str, Any], ...] = (
    {},
    {"password": "***"},
    {"password": ""},
    {"password": None},
    {"password": "new", "extra": '{"token": "***", "b": 2}'},
    {"extra": '{"token": "***"}', "password": "***", "login": "other"},
    {"extra": ""},
    {"extra": None},
)
CASES = [
    (stored, {"connection_id": "pg", "conn_type": "postgres", **host, **port, **secret})
    for stored, host, port, secret in itertools.product(STORED_AS, HOSTS, PORTS, SECRETS)
]
FIELDS = ("conn_type", "host", "login", "password", "schema", "port", "extra")


def ours(stored: Connection | None, body: dict[str, Any]) -> Any:
    world = make_world()
    if stored is not None:
        create_connection(world.services, stored)
    try:
        tested = _as_it_would_be(world.services, User("ada", Role.OP), ConnectionBody.model_validate(body))
    except (Problem, GustError) as refusal:
        return getattr(refusal, "status", refusal)
    return shown(tested)


def theirs(stored: Connection | None, body: dict[str, Any]) -> Any:
    from airflow.api_fastapi.core_api.datamodels import connections as models
    from airflow.api_fastapi.core_api.routes.public import connections as routes
    from airflow.exceptions import AirflowNotFoundException
    from airflow.models import Connection as AirflowConnection
    from fastapi import HTTPException

    tested: list[Any] = []

    def find(_: str, team_name: str | None = None) -> Any:
        if stored is None:
            raise AirflowNotFoundException
        return AirflowConnection(conn_id="pg", **{name: getattr(stored, name) for name in FIELDS})

    def test(self: Any) -> tuple[bool, str]:
        tested.append(self)
        return True, ""

    class Allows:
        def is_authorized_connection(self, **_: Any) -> bool:
            return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
        patch.setattr(AirflowConnection, "get_team_name", staticmethod(lambda _: None))
        patch.setattr(AirflowConnection, "get_connection_from_secrets", staticmethod(find))
        patch.setattr(AirflowConnection, "test_connection", test)
        try:
            routes.test_connection(models.ConnectionBody.model_validate(body), user=None, auth_manager=Allows())
        except HTTPException as refusal:
            return refusal.status_code
    return shown(tested[0])


def shown(connection: Any) -> dict[str, Any]:
    """As a hook sees it, to which nothing is as good as an empty field."""
    said = {name: getattr(connection, name) or None for name in FIELDS}
    return said | {"extra": json.loads(said["extra"] or "{}")}


def test_what_is_tested_is_what_airflow_tests() -> None:
    differing = [(stored, body) for stored, body in CASES if ours(stored, body) != theirs(stored, body)]
    assert not differing, [(case, ours(*case), theirs(*case)) for case in differing[:3]]
    assert {400} < {answer if isinstance(answer, int) else 200 for answer in (ours(*case) for case in CASES)}


def test_the_web_ui_says_port_0_where_there_is_none() -> None:
    """Airflow takes that for another port, and refuses to test a stored connection that has none."""
    stored, body = (
        STORED_AS[2],
        {"connection_id": "pg", "conn_type": "postgres", "host": "", "port": 0, "password": "***"},
    )
    assert theirs(stored, body) == 400
    assert ours(stored, body)["password"] == "s3cret"
