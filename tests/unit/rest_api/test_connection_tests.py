"""Connection tests, if an administrator allows them: by a worker, with or without a waiting request."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.aws.cipher import FernetCipher
from gust.errors import Conflict, NotFound
from gust.model.connection import CONNECTIONS, Connection
from gust.model.connection_test import ConnectionTestState as State
from gust.model.connection_test import connection_test_id
from gust.model.workload import ConnectionTestWorkload
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.rest_api.public.connections import PATIENCE, TEST_CONNECTION, TEST_HEADER
from gust.scheduling import connection_test
from gust.services.settings.connections import find_connection
from gust.services.settings.run_connection_test import end_connection_test, take_connection_test
from tests.unit.rest_api.world import Api, World

CONNS, TEST, ENQUEUE = "/api/v2/connections", "/api/v2/connections/test", "/api/v2/connections/enqueue-test"
PG = {"connection_id": "pg", "conn_type": "postgres", "login": "me", "password": "s3cret-pw", "host": "db"}
EXTRA = {"token": "s3cret-token", "region": "eu"}


@pytest.fixture(autouse=True)
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEST_CONNECTION, "Enabled")


class AtOnce:
    """Queues behind which a worker stands that is done before SQS has answered."""

    def __init__(self, world: World, test: Callable[[Connection], tuple[bool, str | None]]) -> None:
        self.world = world
        self.test = test
        self.tested: list[Connection] = []

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        connection = take_connection_test(self.world.services, workload.test_id)
        self.tested.append(connection)
        is_good, message = self.test(connection)
        state = State.SUCCESS if is_good else State.FAILED
        end_connection_test(self.world.services, workload.test_id, state, message)
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.queues, name)


def with_worker(
    world: World, test: Callable[[Connection], tuple[bool, str | None]] = lambda _: (True, "it answers")
) -> tuple[Api, list[Connection]]:
    queues: Any = AtOnce(world, test)
    return Api(build(replace(world.services, queues=queues), Authenticator(ALL_ADMINS))), queues.tested


def result(api: Api, token: str) -> dict[str, Any]:
    reply = api("GET", ENQUEUE, headers={TEST_HEADER: token})
    assert reply.status == 200, reply.text
    return dict(reply.json)


# --- whether ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "shown"), [(None, "Disabled"), ("Disabled", "Disabled"), ("Hidden", "Hidden")])
def test_it_is_off_unless_it_is_switched_on(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch, setting: str | None, shown: str
) -> None:
    monkeypatch.delenv(TEST_CONNECTION)
    if setting:
        monkeypatch.setenv(TEST_CONNECTION, setting)
    assert "is disabled" in api.refused("test_connection", 403, "POST", TEST, PG)
    assert "is disabled" in api.refused("enqueue_connection_test", 403, "POST", ENQUEUE, PG)
    assert world.queues.connection_tests == []
    assert api("GET", "/ui/config").json["test_connection"] == shown


def test_the_web_ui_is_told_that_it_is_on(api: Api) -> None:
    assert api("GET", "/ui/config").json["test_connection"] == "Enabled"


# --- with somebody waiting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [(True, "it answers"), (False, "it does not"), (False, None)])
def test_who_waits_is_answered_as_by_airflow(world: World, said: tuple[bool, str | None]) -> None:
    api, tested = with_worker(world, lambda _: said)
    answer = api.ok("test_connection", "POST", TEST, {**PG, "extra": json.dumps(EXTRA)})
    assert answer == {"status": said[0], "message": said[1] or ""}
    (connection,) = tested
    assert (connection.host, connection.password, connection.extra) == ("db", "s3cret-pw", json.dumps(EXTRA))
    assert connection.conn_id != "pg"
    assert world.store.list_settings(CONNECTIONS) == {}


def test_who_waits_in_vain_is_told_of_the_other_way(world: World, api: Api) -> None:
    began = world.clock.now()
    reply = api("POST", TEST, PG)
    assert (reply.status, "enqueue-test" in reply.detail) == (504, True)
    assert world.clock.now() - began == PATIENCE
    assert len(world.queues.connection_tests) == 1


def test_two_may_wait_for_tests_of_the_same_connection(world: World, api: Api) -> None:
    for _ in range(2):
        api("POST", TEST, PG)
    assert len(world.queues.connection_tests) == 2


def test_the_form_that_comes_back_is_tested_with_what_it_hides(world: World) -> None:
    """As the web UI sends it: masks, empty fields, and port 0 where there is none."""
    api, tested = with_worker(world)
    api("POST", CONNS, {**PG, "extra": json.dumps(EXTRA)})
    form = {**PG, "password": "***", "extra": json.dumps(EXTRA | {"token": "***"}), "port": 0, "schema": ""}
    assert api.ok("test_connection", "POST", TEST, form)["status"] is True
    assert (tested[-1].password, json.loads(tested[-1].extra or ""), tested[-1].port) == ("s3cret-pw", EXTRA, None)
    stored = find_connection(world.services, "pg")
    assert stored is not None
    assert stored.schema is None  # a test changes nothing


@pytest.mark.parametrize(
    "elsewhere", [{"host": "evil"}, {"port": 1}, {"host": None}, {"host": "evil", "password": "***"}]
)
def test_what_is_stored_is_sent_nowhere_else(world: World, elsewhere: dict[str, Any]) -> None:
    api, tested = with_worker(world)
    api("POST", CONNS, {**PG, "extra": json.dumps(EXTRA)})
    asked = {"connection_id": "pg", "conn_type": "postgres", **elsewhere}
    reply = api("POST", TEST, asked)
    assert (reply.status, "differs from the stored connection" in reply.detail) == (400, True)
    assert tested == []
    api.ok("test_connection", "POST", TEST, {**asked, "password": "mine"})
    assert (tested[0].password, tested[0].extra) == ("mine", None)


def test_a_stored_connection_that_no_key_fits_is_not_tested(world: World, api: Api) -> None:
    api("POST", CONNS, PG)
    services = replace(world.services, cipher=FernetCipher(lambda: "another key"))
    later = Api(build(services, Authenticator(ALL_ADMINS)))
    reply = later("POST", TEST, {**PG, "password": "***"})
    assert (reply.status, "cannot be read" in reply.detail) == (409, True)


# --- enqueued ---------------------------------------------------------------------------------------------------------


def test_an_enqueued_test_is_asked_for_with_its_token(world: World, api: Api) -> None:
    made = api.ok("enqueue_connection_test", "POST", ENQUEUE, PG, status=202)
    assert (made["connection_id"], made["state"]) == ("pg", "pending")
    (workload,) = world.queues.connection_tests
    assert workload.test_id == connection_test_id(made["token"])
    began = result(api, made["token"])
    assert (began["state"], began["result_message"], began["token"]) == ("queued", None, made["token"])
    connection = take_connection_test(world.services, workload.test_id)
    assert (connection.conn_id, connection.password) == ("pg", "s3cret-pw")
    assert result(api, made["token"])["state"] == "running"
    end_connection_test(world.services, workload.test_id, State.FAILED, "no route to host")
    ended = result(api, made["token"])
    assert (ended["state"], ended["result_message"]) == ("failed", "no route to host")
    assert find_connection(world.services, "pg") is None


def test_a_token_that_is_nobodys(api: Api) -> None:
    reply = api("GET", ENQUEUE, headers={TEST_HEADER: "x"})
    assert (reply.status, reply.detail) == (404, "No connection test found for token: `x`")
    assert api("GET", ENQUEUE).status == 422


def test_of_one_connection_one_test_at_a_time(world: World, api: Api) -> None:
    api.ok("enqueue_connection_test", "POST", ENQUEUE, PG, status=202)
    detail = api.refused("enqueue_connection_test", 409, "POST", ENQUEUE, PG)
    assert detail == "An active connection test already exists for connection_id `pg`."
    api.ok("enqueue_connection_test", "POST", ENQUEUE, {**PG, "connection_id": "other"}, status=202)
    end_connection_test(world.services, world.queues.connection_tests[0].test_id, State.SUCCESS, None)
    api.ok("enqueue_connection_test", "POST", ENQUEUE, PG, status=202)


def test_neither_the_table_nor_the_message_nor_the_log_has_a_secret(world: World, api: Api) -> None:
    made = api.ok("enqueue_connection_test", "POST", ENQUEUE, {**PG, "extra": json.dumps(EXTRA)}, status=202)
    (workload,) = world.queues.connection_tests
    kept = world.store.get_connection_test(workload.test_id)
    assert kept is not None
    (logged,) = world.store.logged_events()
    assert (logged.event, json.loads(logged.extra or "")["connection_id"]) == ("enqueue_connection_test", "pg")
    everywhere = json.dumps(kept.connection) + workload.model_dump_json() + str(logged.extra)
    assert "s3cret" not in everywhere
    assert made["token"] not in json.dumps(kept.connection) + kept.test_id + workload.model_dump_json()
    end_connection_test(world.services, workload.test_id, State.SUCCESS, None)
    ended = world.store.get_connection_test(workload.test_id)
    assert ended is not None
    assert ended.connection == {}


def test_who_waits_leaves_nothing_in_the_event_log(world: World) -> None:
    """As in Airflow."""
    api, _ = with_worker(world)
    api.ok("test_connection", "POST", TEST, PG)
    assert world.store.logged_events() == []


# --- what gets lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.PENDING, State.QUEUED, State.RUNNING])
def test_one_that_is_never_reported_ends_and_stands_in_nobodys_way(world: World, api: Api, state: State) -> None:
    if state is State.PENDING:  # died before it was sent
        world.queues.send_connection_test = dying  # type: ignore[method-assign]
        assert api("POST", ENQUEUE, PG).status == 500
        del world.queues.send_connection_test  # type: ignore[method-assign]
        test_id = str(world.store.active_connection_test("pg"))
    else:
        token = api.ok("enqueue_connection_test", "POST", ENQUEUE, PG, status=202)["token"]
        test_id = connection_test_id(token)
        if state is State.RUNNING:
            world.clock.advance(80)
            take_connection_test(world.services, test_id)
    world.clock.advance(connection_test.TIMEOUT + connection_test.GRACE)
    assert api("POST", ENQUEUE, PG).status == 409
    world.clock.advance(1)
    if state is not State.PENDING:
        seen = result(api, token)
        assert seen["state"] == "failed"
        assert "60s + 30s grace" in seen["result_message"]
    api.ok("enqueue_connection_test", "POST", ENQUEUE, PG, status=202)
    for late in (
        lambda: take_connection_test(world.services, test_id),
        lambda: end_connection_test(world.services, test_id, State.SUCCESS, None),
    ):
        with pytest.raises(Conflict):
            late()


def dying(_: ConnectionTestWorkload) -> bool:
    raise RuntimeError("the function is gone")


def test_where_sqs_refuses_it_one_may_ask_again_at_once(world: World, api: Api) -> None:
    world.queues.send_connection_test = lambda _: False  # type: ignore[method-assign]
    for _ in range(2):
        reply = api("POST", ENQUEUE, PG)
        assert (reply.status, "Try again" in reply.detail) == (503, True)
    assert world.store.active_connection_test("pg") is None


def test_a_result_is_kept_for_a_day(world: World) -> None:
    api, _ = with_worker(world)
    token = api.ok("enqueue_connection_test", "POST", ENQUEUE, PG, status=202)["token"]
    world.clock.advance(timedelta(hours=23).total_seconds())
    assert result(api, token)["state"] == "success"
    world.clock.advance(timedelta(hours=1).total_seconds())
    assert api("GET", ENQUEUE, headers={TEST_HEADER: token}).status == 404


# --- the worker's side ------------------------------------------------------------------------------------------------


def test_a_message_that_comes_again_is_told_nothing(world: World, api: Api) -> None:
    api("POST", ENQUEUE, PG)
    test_id = world.queues.connection_tests[0].test_id
    take_connection_test(world.services, test_id)
    with pytest.raises(Conflict, match="running"):
        take_connection_test(world.services, test_id)
    end_connection_test(world.services, test_id, State.SUCCESS, None)
    with pytest.raises(Conflict, match="terminal state: success"):
        end_connection_test(world.services, test_id, State.FAILED, "later")
    with pytest.raises(NotFound):
        take_connection_test(world.services, connection_test_id("nobody"))


def test_one_that_no_key_fits_any_more_fails_and_says_so(world: World, api: Api) -> None:
    token = api("POST", ENQUEUE, PG).json["token"]
    services = replace(world.services, cipher=FernetCipher(lambda: "another key"))
    with pytest.raises(Conflict):
        take_connection_test(services, connection_test_id(token))
    seen = result(api, token)
    assert (seen["state"], "no key" in seen["result_message"] or "cannot be read" in seen["result_message"]) == (
        "failed",
        True,
    )


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("existing", [None, {**PG, "description": "the old one", "password": "old", "port": 1}])
def test_a_good_connection_is_kept_where_that_was_asked_for(
    world: World, is_good: bool, existing: dict[str, Any] | None
) -> None:
    api, _ = with_worker(world, lambda _: (is_good, None))
    if existing:
        api("POST", CONNS, existing)
    before = find_connection(world.services, "pg")
    asked = {**PG, "extra": json.dumps(EXTRA), "commit_on_success": True, "description": "not tested"}
    api.ok("enqueue_connection_test", "POST", ENQUEUE, asked, status=202)
    after = find_connection(world.services, "pg")
    if not is_good:
        assert after == before
        return
    assert after is not None
    assert (after.password, after.extra, after.port) == ("s3cret-pw", json.dumps(EXTRA), None)
    assert after.description == (existing or {}).get("description")  # as in Airflow: it cannot be tested
    assert "s3cret" not in json.dumps(world.store.list_settings(CONNECTIONS))


def test_who_changes_the_connection_meanwhile_is_overwritten_whole(world: World, api: Api) -> None:
    api("POST", CONNS, {**PG, "description": "d"})
    api("POST", ENQUEUE, {**PG, "host": "tested", "commit_on_success": True})
    (workload,) = world.queues.connection_tests
    take_connection_test(world.services, workload.test_id)
    read = world.store.get_setting
    meanwhile = iter([1])

    def read_and_be_overtaken(namespace: str, name: str) -> Any:
        found = read(namespace, name)
        for _ in meanwhile:
            api("PATCH", f"{CONNS}/pg?update_mask=description", {**PG, "description": "another's"})
        return found

    world.store.get_setting = read_and_be_overtaken  # type: ignore[method-assign]
    end_connection_test(world.services, workload.test_id, State.SUCCESS, None)
    connection = find_connection(world.services, "pg")
    assert connection is not None
    assert (connection.host, connection.description) == ("tested", "another's")


def test_what_is_kept_is_encrypted_with_the_key_of_that_moment(world: World, api: Api) -> None:
    """The old key may go as soon as everything that was stored is encrypted anew: nobody waits for a test."""
    api("POST", ENQUEUE, {**PG, "extra": json.dumps(EXTRA), "commit_on_success": True})
    (workload,) = world.queues.connection_tests
    both = replace(world.services, cipher=FernetCipher(lambda: "new,a key of the stack"))
    take_connection_test(both, workload.test_id)
    end_connection_test(both, workload.test_id, State.SUCCESS, None)
    kept = find_connection(replace(world.services, cipher=FernetCipher(lambda: "new")), "pg")
    assert kept is not None
    assert (kept.password, kept.extra) == ("s3cret-pw", json.dumps(EXTRA))


def test_what_no_key_fits_any_more_is_not_kept(world: World, api: Api) -> None:
    token = api("POST", ENQUEUE, {**PG, "commit_on_success": True}).json["token"]
    take_connection_test(world.services, connection_test_id(token))
    later = replace(world.services, cipher=FernetCipher(lambda: "another key"))
    end_connection_test(later, connection_test_id(token), State.SUCCESS, None)
    seen = result(api, token)
    assert (seen["state"], "cannot be read" in seen["result_message"]) == ("failed", True)
    assert find_connection(world.services, "pg") is None
