"""`./gust worker`: its workers, how it stops, and what its workers are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from gust.airflow_bridge.packages_of_host import WHY_NONE, Machine, PackagesOfHost, why_no_packages
from gust.aws.memory import MemoryObjects
from gust.aws.queues import is_outdated
from gust.cli.worker_host import SHOWN_EVERY, STARTED_AGAIN_AFTER, Host, UnknownQueueError, environment
from gust.errors import Unopenable
from gust.model.environment import ENVIRONMENTS_FILE, Environments


@dataclass
class FakeWorker:
    has_ended: bool = False
    told: list[str] = field(default_factory=list)
    process: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(returncode=1))

    def finish(self) -> None:
        self.told.append("finish")

    def stop(self) -> None:
        self.told.append("stop")

    def forget(self) -> None:
        self.told.append("forget")


@dataclass
class Scene:
    """A host whose time passes by a second each time that it waits; `script` says what happens then."""

    script: dict[int, Callable[[Scene], None]]
    now: float = 0.0
    workers: list[FakeWorker] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    is_gone: bool = False

    def play(self, *, at_once: int = 2) -> Scene:
        self.host = Host(
            "onprem",
            at_once,
            start_worker=self.start,
            show_life=self.show,
            say=self.said.append,
            clock=lambda: self.now,
            wait=self.wait,
        )
        self.host.run()
        return self

    def start(self) -> FakeWorker:
        self.workers.append(FakeWorker())
        return self.workers[-1]

    def show(self) -> None:
        self.shown.append(self.now)
        if self.is_gone:
            raise UnknownQueueError("the stack has no workers for the queue")

    def wait(self, _: float) -> None:
        self.now += 1
        self.script.get(int(self.now), lambda _: None)(self)

    def tell(self) -> None:
        self.host.tell_to_stop()

    def end_workers(self) -> None:
        for worker in self.workers:
            worker.has_ended = True


def test_it_keeps_as_many_workers_as_it_was_asked_for_and_shows_that_it_is_there() -> None:
    scene = Scene({200: Scene.tell, 210: Scene.end_workers}).play(at_once=3)
    assert len(scene.workers) == 3
    assert scene.shown == [0, SHOWN_EVERY, 2 * SHOWN_EVERY, 3 * SHOWN_EVERY]


def test_the_first_signal_lets_workers_finish_their_tasks_and_the_second_ends_those() -> None:
    once = Scene({3: Scene.tell, 500: Scene.end_workers}).play()
    assert all(worker.told == ["finish", "forget"] for worker in once.workers)
    assert once.now == 501
    twice = Scene({3: Scene.tell, 9: Scene.tell, 12: Scene.end_workers}).play()
    assert all(worker.told == ["finish", "stop", "forget"] for worker in twice.workers)


def test_a_worker_that_dies_is_started_again_but_not_at_once() -> None:
    started: list[int] = []

    def count(scene: Scene) -> None:
        started.append(len(scene.workers))

    scene = Scene({5: Scene.end_workers, 7: count, 12: count, 20: Scene.tell, 21: Scene.end_workers}).play(at_once=1)
    assert started == [1, 2]
    assert STARTED_AGAIN_AFTER > 2
    assert scene.workers[0].told == ["forget"]


def test_a_queue_that_is_not_registered_is_refused_and_one_that_goes_lets_its_tasks_finish() -> None:
    with pytest.raises(UnknownQueueError):
        Scene({}, is_gone=True).play()

    def go(scene: Scene) -> None:
        scene.is_gone = True

    scene = Scene({10: go, 80: Scene.end_workers}).play()
    assert all(worker.told == ["finish", "forget"] for worker in scene.workers)


def test_workers_get_the_hosts_variables_and_the_stacks() -> None:
    outputs = {
        "Bucket": "b",
        "ExecutionApi": "gust-execution-api",
        "TaskLogGroup": "tasks",
        "QueueUrl": "https://sqs/onprem",
        "BaseUrl": "https://gust",
        "DefaultDeferrable": "true",
    }
    variables = environment(outputs, {"AWS_PROFILE": "host", "GUST_BUCKET": "stale"})
    assert variables["AWS_PROFILE"] == "host"
    assert variables["GUST_BUCKET"] == "b"
    assert variables["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] == "true"


def test_a_message_whose_token_has_expired_is_outdated() -> None:
    sent = {"Attributes": {"SentTimestamp": "1000000000"}}  # milliseconds
    assert not is_outdated(sent, 1_000_000 + 3600)
    assert is_outdated(sent, 1_000_000 + 3601)
    assert not is_outdated({}, 5_000_000)


@pytest.mark.parametrize(
    ("architecture", "here", "why"),
    [
        ("x86_64", Machine("x86_64", (3, 12), (2, 28)), ""),
        ("arm64", Machine("arm64", (3, 12), (2, 34)), ""),
        (
            "arm64",
            Machine("arm64", (3, 12), (2, 31)),
            "arm64, glibc 2.34 or later, and this host has Python 3.12, arm64, ",
        ),
        ("x86_64", Machine("x86_64", (3, 11), (2, 36)), "are built for Python 3.12, x86_64, glibc 2.28 or later, and "),
        ("x86_64", Machine("x86_64", (3, 12), ()), "this host has Python 3.12, x86_64, no glibc."),
        ("arm64", Machine("x86_64", (3, 12), (2, 36)), "./gust workers add onprem --elsewhere --architecture x86_64"),
        ("x86_64", Machine("x86_64", (3, 12), (2, 17)), "need another host"),
    ],
)
def test_a_host_says_why_the_packages_of_its_queue_do_not_run_there(architecture: str, here: Machine, why: str) -> None:
    said = why_no_packages(architecture, here, "onprem")
    assert why in said
    assert bool(said) == bool(why)


def test_packages_that_do_not_run_on_the_host_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    (bundle / ENVIRONMENTS_FILE).parent.mkdir(parents=True)
    named = Environments(of={"team": "0" * 64}, on={"x86_64": {"team": "1" * 64, "bare": "", "odd": None}})
    (bundle / ENVIRONMENTS_FILE).write_text(named.model_dump_json())
    packages = PackagesOfHost(MemoryObjects(), tmp_path / "bundles", architecture="x86_64")
    monkeypatch.setenv(WHY_NONE, "They do not run here.")
    for needs_none in ("other/etl.py", "bare/etl.py"):
        assert packages.fetch_environment(bundle, needs_none) is None
    with pytest.raises(Unopenable, match="They do not run here"):
        packages.fetch_environment(bundle, "team/etl.py")
    monkeypatch.setenv(WHY_NONE, "")
    with pytest.raises(Unopenable, match=r"Environment 1111.* cannot be read"):  # it asks the bucket
        packages.fetch_environment(bundle, "team/etl.py")
    with pytest.raises(Unopenable, match="for x86_64, which this worker is"):
        packages.fetch_environment(bundle, "odd/etl.py")
