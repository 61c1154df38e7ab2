"""The supervisor's order when a request and a log line arrive at the same moment."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from airflow.sdk.execution_time.comms import SucceedTask, _RequestFrame

from gust.airflow_bridge.credentials import CredentialsEndpoint, ask_through
from gust.airflow_bridge.nursery import Process
from gust.airflow_bridge.supervisor import SupervisedTry, TryClient
from gust.airflow_bridge.task_log import try_logger
from tests.environment import of_a_user
from tests.unit.worker.control_plane import Site, workload

LINE = b'{"event": "said before the end", "level": "info"}\n'


@pytest.mark.parametrize("is_last_line", [False, True], ids=["log goes on", "log ends"])
def test_a_log_that_was_drained_for_the_end_is_not_waited_for(site: Site, is_last_line: bool) -> None:
    """Request and line are selected together, the request comes first, and its end takes the line with it. The child
    writes no more until its next request is answered, so that reading its log again would wait for good."""
    with supervised(site) as (supervised_try, ours), seconds(10):
        ours["requests"].sendall(the_end())
        ours["logs"].sendall(LINE)
        if is_last_line:
            ours["logs"].close()
        supervised_try._service_subprocess(1.0)

    assert site.control_plane.reported == ["success"]
    assert site.log.has("said before the end")


def the_end() -> bytes:
    succeeded = SucceedTask(end_date=datetime(2026, 3, 1, tzinfo=UTC), task_outlets=[], outlet_events=[])
    return bytes(_RequestFrame(id=0, body=succeeded.model_dump()).as_bytes())


@contextmanager
def supervised(site: Site) -> Iterator[tuple[SupervisedTry, dict[str, socket.socket]]]:
    """A supervisor and the child's ends of its sockets; the child itself only waits."""
    names = ("stdout", "stderr", "requests", "logs")
    theirs, ours = {}, {}
    for name in names:
        theirs[name], ours[name] = socket.socketpair()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=of_a_user())
    work = workload("v")
    client = TryClient(site.ports(), work, site.log)
    credentials = CredentialsEndpoint(ask_through(client), log=site.log)
    supervised_try = SupervisedTry(
        id=work.id,
        pid=child.pid,
        stdin=theirs["requests"],
        process=Process(child.pid, os.pidfd_open(child.pid), None),
        process_log=try_logger(site.log, str(work.id)),
        client=client,
        credentials=credentials,
    )
    supervised_try._register_pipe_readers(**theirs, data={})
    try:
        yield supervised_try, ours
    finally:
        child.kill()
        child.communicate()
        credentials.close()
        for end in (*theirs.values(), *ours.values()):
            end.close()


@contextmanager
def seconds(limit: int) -> Iterator[None]:
    """Fail where it would hang."""

    def fail(*_: object) -> None:
        raise TimeoutError(f"nothing came for {limit} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
