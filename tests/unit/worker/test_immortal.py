"""Marking is tested in an interpreter of its own: marked objects stay marked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gust.airflow_bridge import immortal
from tests.environment import of_a_user

SHARED = Path(__file__).parents[3] / "shared"

PROGRAM = """
import gc, os, resource, sys, weakref
import email.message, http.client, json, logging.config
from gust.airflow_bridge import immortal

class Thing:
    pass

def touch():
    for module in list(sys.modules.values()):
        for thing in list(vars(module).values()):
            str(type(thing))

def faults():
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    pid = os.fork()
    if pid == 0:
        touch()
        os._exit(0)
    os.waitpid(pid, 0)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before

def outer():
    def inner():
        return (1, 2, "three")
    return inner

kept = {"list": [1, 2], "tuple": (Thing(), Thing())}
touch()
many = faults()
marked = immortal.mark_all()
few = faults()
never = sys.getrefcount(None)
assert marked > 1000, marked
for thing in (kept, kept["list"], kept["tuple"], Thing, json.dumps, outer.__code__, outer.__code__.co_consts, sys.modules):
    assert sys.getrefcount(thing) == never, thing
assert few < many * 0.8, (few, many)

# Everything goes on as before, and what is new is freed.
kept["more"] = [kept["tuple"], *kept["list"]]
kept["list"].append(3)
del kept["more"], kept["list"][0]
assert kept["list"] == [2, 3] and outer()() == (1, 2, "three")
assert tuple(n for n in range(1000)) == tuple(range(1000))
thing = Thing()
thing.itself = thing
gone = weakref.ref(thing)
del thing
gc.collect()
assert gone() is None
assert immortal.mark_all() > 1000
print("fine")
"""


@pytest.mark.skipif(sys.version_info[:2] not in immortal.TRIED_ON, reason="this Python has no immortal objects")
def test_what_is_there_is_counted_no_more_and_everything_goes_on() -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM],
        env=of_a_user(PYTHONPATH=str(SHARED)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("version_info", (3, 11, 9)), ("byteorder", "big"), ("getrefcount", lambda _: 7)]
)
def test_an_interpreter_that_looks_otherwise_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    things = [object(), {}, test_an_interpreter_that_looks_otherwise_is_left_alone]
    counts = [sys.getrefcount(thing) for thing in things]
    with monkeypatch.context() as patched:
        patched.setattr(immortal.sys, name, value)
        assert immortal.mark_all() == 0
    assert [sys.getrefcount(thing) for thing in things] == counts
