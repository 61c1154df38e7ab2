"""What a child inherits: everything that is imported, and nothing that its worker learned."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION = "IQoJb3JpZ2luX2VjEXAMPLE" * 8
EARLIER = "token-of-an-earlier-try-" + "7" * 40

WORKER = """
import os, sys
from functools import partial
from gust.airflow_bridge import own_credentials
credentials = own_credentials.hide()
from gust.airflow_bridge.nursery import Forks, Nursery
from tests.unit.worker.memory_dump import dump_memory, end, hear, remember, sleep, tell
children = {"nursery": Nursery, "forks": Forks}[sys.argv[1]]()
credentials.restore()
"""

LEARNED = """
import boto3
client = boto3.client("s3", region_name="eu-west-1")
client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
assert client._request_signer._credentials.secret_key == os.environ["AWS_SECRET_ACCESS_KEY"]
learned = "-".join(["token", "of", "an", "earlier", "try", "7" * 40])
with open(sys.argv[2], "wb") as file:
    assert children.fork(dump_memory, [file.fileno()]).wait(60) == 0
"""


def worker(then: str, kind: str, *arguments: str) -> str:
    """Run a worker's first steps, in the environment that Lambda gives it, and `then`; returns what it prints."""
    environment = of_a_user() | {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SESSION,
        "PYTHONPATH": f"{ROOT}/shared:{ROOT}",
    }
    command = [sys.executable, "-c", WORKER + then, kind, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize(("kind", "is_there"), [("nursery", False), ("forks", True)])
def test_the_memory_of_a_child_holds_no_secret_of_its_worker(kind: str, is_there: bool, tmp_path: Path) -> None:
    """A fork of the worker itself shows that the search finds them."""
    worker(LEARNED, kind, str(tmp_path / "dump"))
    memory = (tmp_path / "dump").read_bytes()
    assert len(memory) > 2**20
    found = [text.encode() in memory for text in (SECRET, SESSION, EARLIER)]
    assert found == [is_there] * 3


ONE_AFTER_ANOTHER = """
for size in range(100, 100_000, 9_000):
    told = "-".join(["password", "of", "a", "connection", "under", "test", "7" * 40, " " * size] * 3)
    assert children.fork(partial(hear, told), []).wait(60) == 0
with open(sys.argv[2], "wb") as file:
    assert children.fork(dump_memory, [file.fileno()]).wait(60) == 0
"""


def test_the_memory_of_a_child_holds_nothing_that_an_earlier_child_was_told(tmp_path: Path) -> None:
    """The arguments of a trigger, the connection that is tested, the token for credentials."""
    worker(ONE_AFTER_ANOTHER, "nursery", str(tmp_path / "dump"))
    memory = (tmp_path / "dump").read_bytes()
    assert len(memory) > 2**20
    assert b"password-of-a-connection-under-test-7777" not in memory


@pytest.mark.parametrize("kind", ["nursery", "forks"])
@pytest.mark.parametrize(("how", "code", "name"), [("signal", -9, "SIGKILL"), ("exit", 3, None)])
def test_the_worker_learns_how_a_child_ended(kind: str, how: str, code: int, name: str | None) -> None:
    said = worker(
        f"""
child = children.fork(partial(end, "{how}"), [])
code = child.wait(60)
print(int(code), getattr(code, "name", None), child.largest_memory > 1000, child.wait(0) == code)
""",
        kind,
    )
    assert said == f"{code} {name} True True"


@pytest.mark.parametrize("kind", ["nursery", "forks"])
def test_the_worker_waits_no_longer_than_it_wants(kind: str) -> None:
    said = worker(
        """
import signal
child = children.fork(sleep, [])
try:
    child.wait(0.05)
except child.TimeoutExpired:
    print("still there", os.getpgid(child.pid) == child.pid)
child.send_signal(signal.SIGTERM)
print(int(child.wait(60)))
""",
        kind,
    )
    assert said == "still there True\n-15"


@pytest.mark.parametrize("kind", ["nursery", "forks"])
def test_children_inherit_what_is_done_where_they_come_from(kind: str, tmp_path: Path) -> None:
    worker(
        """
children.call(partial(remember, "it"))
with open(sys.argv[2], "wb") as file:
    children.fork(tell, [file.fileno()]).wait(60)
""",
        kind,
        str(tmp_path / "told"),
    )
    assert (tmp_path / "told").read_text() == "it"


def test_a_child_that_ends_at_once_is_no_error() -> None:
    """The nursery may have reaped it before the worker looks for it."""
    assert (
        worker("print({int(children.fork(partial(end, 'exit'), []).wait(60)) for _ in range(100)})", "nursery") == "{3}"
    )


def test_children_run_side_by_side_and_die_with_their_worker() -> None:
    pids = worker("print(*[children.fork(sleep, []).pid for _ in range(3)])", "nursery").split()
    assert len(set(pids)) == 3
    for pid in pids:
        while lives(pid):
            time.sleep(0.01)


def lives(pid: str) -> bool:
    """One that has ended may stay a zombie: its new parent does not wait for it everywhere."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_without_its_nursery_ends() -> None:
    """It would have to fork children from its own memory."""
    with pytest.raises(AssertionError, match="The nursery has died"):
        worker(
            """
import signal
os.kill(children.pid, signal.SIGKILL)
children.fork(sleep, [])
""",
            "nursery",
        )


def test_a_child_dies_with_its_nursery_and_the_worker_learns_of_it() -> None:
    said = worker(
        """
import signal
child = children.fork(sleep, [])
os.kill(children.pid, signal.SIGKILL)
print(int(child.wait(60)))
""",
        "nursery",
    )
    assert said == "-9"
