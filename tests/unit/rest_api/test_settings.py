"""Variables and connections beyond the recordings: the stored documents, and the effect of a returned mask."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gust.aws.cipher import FernetCipher
from gust.errors import Conflict, Stale
from gust.model.connection import CONNECTIONS
from gust.model.variable import VARIABLES
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.services.settings.connections import default_connections, find_connection
from gust.services.settings.reencrypt_settings import Reencrypted, reencrypt_settings
from gust.services.settings.variables import change_variable, find_variable
from tests.unit.rest_api.world import Api, World

VARS, CONNS = "/api/v2/variables", "/api/v2/connections"
PG = {"connection_id": "pg", "conn_type": "postgres", "login": "me", "password": "s3cret-pw", "host": "db"}
EXTRA = {"token": "s3cret-token", "region": "eu", "list": [{"password": "s3cret-3"}]}


def stored(world: World, namespace: str) -> str:
    return json.dumps(world.store.list_settings(namespace))


def test_no_secret_is_in_the_table(world: World, api: Api) -> None:
    api("POST", VARS, {"key": "v", "value": "s3cret-value"})
    api("PATCH", VARS, {"actions": [{"action": "create", "entities": [{"key": "w", "value": "s3cret-bulk"}]}]})
    api("POST", CONNS, {**PG, "extra": json.dumps(EXTRA)})
    api("PATCH", f"{CONNS}/pg", {**PG, "password": "s3cret-new"})
    assert "s3cret" not in stored(world, VARIABLES) + stored(world, CONNECTIONS)
    assert "s3cret" not in json.dumps([e.extra for e in world.store.logged_events()])
    connection = find_connection(world.services, "pg")
    assert connection is not None
    assert (connection.password, json.loads(connection.extra or "")) == ("s3cret-new", EXTRA)


def test_the_form_that_comes_back_keeps_what_it_hides(world: World, api: Api) -> None:
    """The web UI sends back all that it was shown, masks included."""
    api("POST", CONNS, {**PG, "extra": json.dumps(EXTRA)})
    shown = api.ok("get_connection", "GET", f"{CONNS}/pg")
    assert (shown["password"], json.loads(shown["extra"])) == (
        "***",
        {"token": "***", "region": "eu", "list": [{"password": "***"}]},
    )
    edited = shown | {"extra": json.dumps(json.loads(shown["extra"]) | {"region": "us", "new": "x"}), "port": 5432}
    api.ok("patch_connection", "PATCH", f"{CONNS}/pg", edited)
    api("PATCH", CONNS, {"actions": [{"action": "update", "entities": [edited]}]})
    overwrite = {"action": "create", "entities": [edited], "action_on_existence": "overwrite"}
    assert api("PATCH", CONNS, {"actions": [overwrite]}).json["create"]["success"] == ["pg"]
    connection = find_connection(world.services, "pg")
    assert connection is not None
    assert (connection.password, connection.port) == ("s3cret-pw", 5432)
    assert json.loads(connection.extra or "") == EXTRA | {"region": "us", "new": "x"}


@pytest.mark.parametrize(
    "edit",
    [
        ("my_secret", "s3cret", "***", "s3cret"),
        ("my_secret", "s3cret", "new", "new"),
        ("plain", "shown", "***", "***"),
        ("doc", '{"token": "s3cret", "a": 1}', '{"token": "***", "a": 2}', '{\n  "token": "s3cret",\n  "a": 2\n}'),
        ("doc", '{"token": "s3cret"}', '{"other": "***"}', '{"other": "***"}'),
        ("my_secret", "12345", "***", "12345"),
    ],
)
def test_a_variables_mask_keeps_what_it_hides(world: World, api: Api, edit: tuple[str, str, str, str]) -> None:
    key, value, sent, kept = edit
    api("POST", VARS, {"key": key, "value": value})
    api.ok("patch_variable", "PATCH", f"{VARS}/{key}", {"key": key, "value": sent, "description": "d"})
    variable = find_variable(world.services, key)
    assert variable is not None
    assert variable.value == kept


def test_what_was_stored_in_the_clear_is_read_and_encrypted_when_written(world: World, api: Api) -> None:
    world.store.put_setting(VARIABLES, "old", {"value": "v", "description": None})
    world.store.put_setting(CONNECTIONS, "old", {"conn_type": "fs", "extra": '{"path": "/"}', "password": "in clear"})
    assert api.ok("get_variable", "GET", f"{VARS}/old")["is_encrypted"] is False
    assert api.ok("get_connection", "GET", f"{CONNS}/old")["extra"] == '{"path": "/"}'
    assert api.ok("patch_variable", "PATCH", f"{VARS}/old", {"key": "old", "value": "v"})["is_encrypted"] is True
    api.ok("patch_connection", "PATCH", f"{CONNS}/old", {"connection_id": "old", "conn_type": "fs", "port": 1})
    assert '"v"' not in stored(world, VARIABLES)
    assert "in clear" not in stored(world, CONNECTIONS)


def test_without_its_key_everything_else_is_still_shown(world: World, api: Api) -> None:
    api("POST", VARS, {"key": "lost", "value": "v", "description": "d"})
    api("POST", CONNS, {**PG, "extra": "{}"})
    services = replace(world.services, cipher=FernetCipher(lambda: "another key"))
    later = Api(build(services, Authenticator(ALL_ADMINS)))
    [variable] = later.ok("get_variables", "GET", VARS)["variables"]
    assert (variable["value"], variable["description"]) == (None, "d")
    [connection] = later.ok("get_connections", "GET", CONNS)["connections"]
    assert (connection["host"], connection["password"], connection["extra"]) == ("db", "***", "***")
    # A description can be changed without losing what may come back; a value can be replaced.
    mask = f"{VARS}/lost?update_mask=description"
    assert later("PATCH", mask, {"key": "lost", "value": "***", "description": "e"}).status == 200
    assert api.ok("get_variable", "GET", f"{VARS}/lost")["value"] == "v"
    assert later("PATCH", f"{CONNS}/pg", PG).status == 409
    later.ok("patch_variable", "PATCH", f"{VARS}/lost", {"key": "lost", "value": "new"})
    assert later.ok("get_variable", "GET", f"{VARS}/lost")["value"] == "new"


def test_after_a_change_of_the_key_the_old_one_is_not_needed(world: World, api: Api) -> None:
    api("POST", VARS, {"key": "v", "value": "of the old key", "description": "d"})
    world.clock.advance(1)
    api("POST", CONNS, {**PG, "extra": json.dumps(EXTRA)})
    world.store.put_setting(VARIABLES, "plain", {"value": "in clear", "description": None})
    services = replace(world.services, cipher=FernetCipher(lambda: "new,a key of the stack"))
    assert reencrypt_settings(services) == reencrypt_settings(services) == Reencrypted(3, ())
    services = replace(world.services, cipher=FernetCipher(lambda: "new"))
    listed = Api(build(services, Authenticator(ALL_ADMINS))).ok("get_variables", "GET", VARS)["variables"]
    assert [(v["key"], v["value"], v["is_encrypted"]) for v in listed] == [
        ("v", "of the old key", True),
        ("plain", "in clear", True),
    ]
    connection = find_connection(services, "pg")
    assert connection is not None
    assert (connection.password, json.loads(connection.extra or "")) == ("s3cret-pw", EXTRA)


def test_what_no_key_fits_is_left_as_it_is_and_named(world: World, api: Api) -> None:
    api("POST", VARS, {"key": "v", "value": "x"})
    api("POST", CONNS, PG)
    services = replace(world.services, cipher=FernetCipher(lambda: "new"))
    assert reencrypt_settings(services) == Reencrypted(0, ("variable v", "connection pg"))
    assert api.ok("get_variable", "GET", f"{VARS}/v")["value"] == "x"


def test_two_who_change_one_at_the_same_time_both_count(world: World, api: Api) -> None:
    api("POST", VARS, {"key": "v", "value": "1"})
    meanwhile = iter(["another's"])

    def change(variable: Any) -> Any:
        for description in meanwhile:
            api("PATCH", f"{VARS}/v?update_mask=description", {"key": "v", "value": "", "description": description})
        return replace(variable, value="2")

    change_variable(world.services, "v", change)
    assert api.ok("get_variable", "GET", f"{VARS}/v")["description"] == "another's"
    assert api.ok("get_variable", "GET", f"{VARS}/v")["value"] == "2"


def test_who_never_gets_a_turn_is_told(world: World, api: Api) -> None:
    class Contended:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def change_setting(self, *_: Any) -> None:
            raise Stale("again")

    api("POST", VARS, {"key": "v", "value": "1"})
    services = replace(world.services, store=Contended())  # type: ignore[arg-type] # the rest of it is the store
    with pytest.raises(Conflict):
        change_variable(services, "v", lambda variable: variable)


def test_texts_that_are_no_unicode(world: World, api: Api) -> None:
    """Half a surrogate pair: JSON can hold it, UTF-8 cannot. It is refused, and shown in an answer that UTF-8 can hold."""
    for body in ({"key": "half", "value": "\ud800"}, {"key": "\ud800", "value": "x"}):
        refused = api("POST", VARS, body)
        assert refused.status == 422
        assert refused.text.encode().isascii()
    assert find_variable(world.services, "half") is None


def test_a_key_must_have_a_letter(api: Api) -> None:
    assert api.refused("post_variable", 422, "POST", VARS, {"key": "", "value": "x"})[0]["loc"] == ["body", "key"]


def test_values_that_are_nested_too_deeply_hide_nobody_elses(api: Api) -> None:
    api("POST", VARS, {"key": "deep", "value": "[" * 100_000})
    api("POST", VARS, {"key": "other", "value": "x"})
    listed = api.ok("get_variables", "GET", VARS)["variables"]
    assert [variable["value"] for variable in listed] == ["***", "x"]


def test_the_default_connections_are_airflows() -> None:
    from airflow.utils.db import get_default_connections

    fields = ("conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra")
    ours = [tuple(getattr(connection, field) for field in fields) for connection in default_connections()]
    theirs = [tuple(getattr(connection, field) for field in fields) for connection in get_default_connections()]
    assert ours == theirs
