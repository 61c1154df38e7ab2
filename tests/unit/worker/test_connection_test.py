"""A worker tests connections with the hooks of real providers, in children that may misbehave."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gust.airflow_bridge.connection_test import run_connection_test
from gust.errors import Stale
from gust.model.connection import Connection
from gust.model.connection_test import ConnectionTest
from gust.model.connection_test import ConnectionTestState as State
from gust.model.workload import ConnectionTestWorkload
from gust.services.settings.enqueue_connection_test import enqueue_connection_test, find_connection_test
from tests.unit.worker.whole import Whole

HOOKS = """
import os, signal, time
from airflow.sdk import BaseHook

class Hook(BaseHook):
    def __init__(self, conn_id):
        self.conn_id = conn_id

class Hangs(Hook):
    def test_connection(self):
        time.sleep(300)

class Crashes(Hook):
    def test_connection(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Misbuilt(Hook):
    def __init__(self, conn_id):
        raise ImportError("the driver is not installed")

class LooksAround(Hook):
    def test_connection(self):
        by_id = self.get_connection(self.conn_id)
        found = os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"]
        ours = [name for name in os.environ if name.startswith("GUST_")]
        open("left behind", "w").write("x")
        return by_id.password == "s3cret" and "s3cret" in found and not ours, f"{os.getcwd()} {ours}"

class Mumbles(Hook):
    def test_connection(self):
        print("on the way")
        return 1, "half a pair: \\ud83d" + "x" * 3000

class Untestable(Hook):
    pass
"""


@dataclass
class Workbench:
    whole: Whole
    tests: list[ConnectionTest] = field(default_factory=list)

    def test(self, **connection: Any) -> tuple[State, str | None]:
        """Enqueue, have the worker do it, see what came of it."""
        token = enqueue_connection_test(self.whole.services, Connection(conn_id="some.conn-1", **connection)).token
        for workload in self.sent():
            run(self.whole, workload)
        test = find_connection_test(self.whole.services, token)
        assert test is not None
        return test.state, test.result_message

    def sent(self) -> list[ConnectionTestWorkload]:
        sent, self.whole.queues.connection_tests = self.whole.queues.connection_tests, []
        return sent


def run(whole: Whole, workload: ConnectionTestWorkload, *, remaining: float = 900, **changes: Any) -> str:
    ports = replace(whole.ports(remaining), invoke=lambda event: whole.api(event, None))
    return run_connection_test(workload.model_copy(update=changes), ports)


@pytest.fixture
def bench(whole: Whole) -> Workbench:
    return Workbench(whole)


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hooks of a provider that behave as providers should not."""
    from airflow.sdk.providers_manager_runtime import HookInfo, ProvidersManagerTaskRuntime

    name = f"odd_hooks_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(HOOKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = ProvidersManagerTaskRuntime().hooks
    added = {}
    for kind in ("Hangs", "Crashes", "Misbuilt", "LooksAround", "Mumbles", "Untestable"):
        added[kind.lower()] = HookInfo(
            hook_class_name=f"{name}.{kind}",
            connection_id_attribute_name="conn_id",
            package_name="odd",
            hook_name=kind,
            connection_type=kind.lower(),
            connection_testable=True,
            dialects=[],
        )
    inner: Any = getattr(known, "_raw_dict", known)
    inner.update(added)
    yield
    for kind in added:
        with suppress(KeyError):
            del inner[kind]


def test_a_folder_that_is_there_and_one_that_is_not(bench: Workbench, tmp_path: Path) -> None:
    assert bench.test(conn_type="fs", extra=json.dumps({"path": str(tmp_path)})) == (
        State.SUCCESS,
        f"Path {tmp_path} is existing.",
    )
    state, message = bench.test(conn_type="fs", extra='{"path": "/no/such/folder"}')
    assert (state, message) == (State.FAILED, "Path /no/such/folder does not exist.")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # the server's thread
def test_a_server_that_answers_and_one_that_does_not(bench: Workbench) -> None:
    seen: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """To nobody."""

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        good = bench.test(conn_type="http", host="127.0.0.1", port=server.server_port, login="me", password="s3cret")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert good == (State.SUCCESS, "Connection successfully tested")
    assert seen[0].startswith("Basic ")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        state, message = bench.test(conn_type="http", host="127.0.0.1", port=probe.getsockname()[1])
    assert state is State.FAILED
    assert "refused" in (message or "")


def test_a_type_that_nobody_knows(bench: Workbench) -> None:
    assert bench.test(conn_type="no such thing") == (State.FAILED, 'Unknown hook type "no such thing"')


@pytest.mark.usefixtures("hooks")
def test_the_hook_finds_the_connection_and_nothing_of_ours(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUST_LOG_GROUP", "ours")
    state, message = bench.test(conn_type="looksaround", password="s3cret")
    assert state is State.SUCCESS, message
    workspace = str(message).split(" ", maxsplit=1)[0]
    assert not Path(workspace).exists()
    assert "AIRFLOW_CONN_SOME.CONN-1" not in os.environ


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("crashes", "Connection test failed unexpectedly: The process was ended by SIGSEGV."),
        ("misbuilt", "Connection test failed unexpectedly: ImportError: the driver is not installed"),
        ("untestable", "Hook Untestable doesn't implement or inherit test_connection method"),
    ],
)
def test_a_hook_that_misbehaves_fails_the_test(bench: Workbench, kind: str, said: str) -> None:
    assert bench.test(conn_type=kind) == (State.FAILED, said)


@pytest.mark.usefixtures("hooks")
def test_whatever_a_hook_says_can_be_told(bench: Workbench) -> None:
    state, message = bench.test(conn_type="mumbles")
    assert (state, str(message)[:15], len(str(message))) == (State.SUCCESS, "half a pair: ?x", 2000)


@pytest.mark.usefixtures("hooks")
def test_a_hook_that_hangs_is_stopped(bench: Workbench) -> None:
    token = enqueue_connection_test(bench.whole.services, Connection(conn_id="c", conn_type="hangs")).token
    (workload,) = bench.sent()
    assert run(bench.whole, workload, timeout=1) == "failed"
    test = find_connection_test(bench.whole.services, token)
    assert test is not None
    assert test.result_message == "Connection test timed out after 1s"


@pytest.mark.usefixtures("hooks")
def test_it_ends_before_the_function_does(bench: Workbench) -> None:
    enqueue_connection_test(bench.whole.services, Connection(conn_id="c", conn_type="hangs"))
    (workload,) = bench.sent()
    assert run(bench.whole, workload, remaining=10.5) == "failed"


def test_a_message_that_comes_twice_tests_once(bench: Workbench) -> None:
    enqueue_connection_test(bench.whole.services, Connection(conn_id="c", conn_type="fs"))
    (workload,) = bench.sent()
    assert run(bench.whole, workload) == "failed"
    with pytest.raises(Stale):
        run(bench.whole, workload)


def test_a_message_that_comes_again_when_its_token_has_run_out_is_dropped(bench: Workbench) -> None:
    """SQS hands out again what a worker died of after a quarter of an hour; the token is good for five minutes."""
    enqueue_connection_test(bench.whole.services, Connection(conn_id="c", conn_type="fs"))
    (workload,) = bench.sent()
    bench.whole.clock.advance(960)
    with pytest.raises(Stale):
        run(bench.whole, workload)


def test_a_result_that_comes_too_late_is_dropped(bench: Workbench) -> None:
    whole = bench.whole
    token = enqueue_connection_test(whole.services, Connection(conn_id="c", conn_type="fs")).token
    (workload,) = bench.sent()

    def answer_and_let_time_pass(event: dict[str, Any]) -> Any:
        answer = whole.api(event, None)
        whole.clock.advance(100)
        return answer

    with pytest.raises(Stale):
        run_connection_test(workload, replace(whole.ports(900), invoke=answer_and_let_time_pass))
    test = find_connection_test(whole.services, token)
    assert test is not None
    assert (test.state, "timed out" in str(test.result_message)) == (State.FAILED, True)
