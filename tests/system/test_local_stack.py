"""The local stack itself: it keeps step with a folder, and its state survives its death."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gust.local import processes
from gust.local.checkpoint import Checkpoints
from gust.services.deployments.deployment_turn import LEASE
from tests.environment import of_a_user
from tests.system.local_gust import ROOT, AnyAirflow, LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHAIN = """
    import time
    from datetime import datetime, timedelta
    from airflow.sdk import dag, task

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def chain():
        @task
        def first():
            return 1

        @task(retries=2, retry_delay=timedelta(seconds=1))
        def slow(x):
            time.sleep(6)
            return x + 1

        @task
        def last(x):
            print("the answer is", x + 1)
            return x + 1

        last(slow(first()))

    chain()
"""


SENSORS = """
    import pathlib
    from datetime import datetime
    from airflow.sdk import dag, task

    FREED = pathlib.Path("{freed}")

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def starving():
        @task.sensor(poke_interval=1, mode="poke")
        def waits(number):
            return FREED.exists()

        @task(priority_weight=1)
        def frees():
            FREED.touch()

        waits.override(priority_weight=9).expand(number=list(range({number})))
        frees()

    starving()
"""


def test_sensors_do_not_starve_the_task_that_frees_them(gust: LocalGust, tmp_path: Path) -> None:
    """More of them than two per processor, and before it in the queue."""
    number = 2 * (os.cpu_count() or 1) + 1
    gust.upload("starving.py", SENSORS.format(freed=tmp_path / "freed", number=number))
    gust.await_dag("starving")
    run_id = gust.trigger("starving")
    gust.await_state("starving", run_id, "success", within=180)


def test_a_saved_file_shows_an_edit_shows_and_a_deleted_one_goes(gust: LocalGust) -> None:
    text = "from airflow.sdk import DAG\nwith DAG('{id}', schedule=None): pass\n"
    gust.upload("coming_and_going.py", text.format(id="coming"))
    first = gust.await_dag("coming")

    gust.upload("coming_and_going.py", text.format(id="coming") + "# an edit\n")
    gust.await_dag("coming", within=LEASE.total_seconds(), since=first["last_parsed_time"])  # no turn had to run out

    gust.upload("coming_and_going.py", text.format(id="going"))
    gust.await_dag("going")
    gust.await_gone("coming")

    gust.delete("coming_and_going.py")
    gust.await_gone("going")


def test_a_run_survives_the_death_of_everything(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.upload("chain.py", CHAIN)
    own_gust.await_dag("chain")
    run_id = own_gust.trigger("chain")
    own_gust.await_state("chain", run_id, "running", task="slow")
    own_gust.stack.checkpoint()

    own_gust.kill()
    own_gust.start()

    own_gust.await_state("chain", run_id, "success", within=150)
    assert own_gust.xcom("chain", run_id, "last") == 3


def test_what_was_done_is_on_disk_within_ten_seconds(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.upload("chain.py", CHAIN)
    own_gust.await_dag("chain")
    checkpoints = Checkpoints(own_gust.data / "state")
    began: list[float] = []
    for number in range(3):  # the quickest of them: other programs of this machine may delay any one
        own_gust.trigger("chain", run_id=f"kept-{number}")
        triggered = time.time()
        _wait_until(lambda after=triggered + 0.5: _saved_at(checkpoints) > after, within=60)
        took = _took(own_gust, checkpoints)
        # A checkpoint may just have begun, and the next one waits for it. A busy machine writes as slowly as it likes, and
        # is allowed that; the ten seconds are six until the next one begins, and two for each.
        began.append(_saved_at(checkpoints) - triggered - sum(took[-2:]))
        if began[-1] < 6:
            break
    assert min(began) < 6, (began, took)

    own_gust.kill()
    own_gust.start()

    assert own_gust.run("chain", f"kept-{number}")["state"] in {"queued", "running", "success"}


WAITS = """
    import pathlib, time
    from airflow.sdk import DAG

    while not pathlib.Path("{gate}").exists():
        time.sleep(0.1)
    with DAG("waits_to_be_parsed", schedule=None):
        pass
"""


def test_a_folder_that_is_still_parsed_lets_people_in_and_the_next_start_goes_on(
    own_gust: LocalGust, tmp_path: Path
) -> None:
    """A file is not parsed before the first stack has ended, and has not killed its parser."""
    gate = tmp_path / "gate"
    AnyAirflow.upload(own_gust, "waits.py", WAITS.format(gate=gate))
    own_gust.start()
    assert own_gust.api.call("GET", "/api/v2/monitor/health")["dag_processor"]["status"] == "unhealthy"
    _wait_until(lambda: '"parsing":"waits.py"' in _progress(own_gust), within=120)
    own_gust.stop()

    gate.touch()
    own_gust.start()

    own_gust.await_dag("waits_to_be_parsed", within=120)


def _progress(gust: LocalGust) -> str:
    objects = gust.services().objects
    return "".join(objects.get(key).decode() for key in objects.list("parses/") if key.endswith("/0.json"))


def test_an_orderly_stop_leaves_no_process_and_everything_in_place(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.upload("chain.py", CHAIN)
    own_gust.await_dag("chain")
    run_id = own_gust.trigger("chain")
    own_gust.await_state("chain", run_id, "success")

    own_gust.stop()

    assert not list(processes._marked(own_gust.data))
    own_gust.start()
    assert own_gust.run("chain", run_id)["state"] == "success"
    own_gust.await_log("chain", run_id, "last", "the answer is 3")


def test_state_moves_along_when_the_emulators_port_is_taken_by_somebody_else(own_gust: LocalGust) -> None:
    own_gust.start()
    own_gust.stop()
    before = own_gust.stack.endpoint
    with socket.socket() as somebody_else:
        somebody_else.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody_else.bind(("127.0.0.1", int(before.rsplit(":", 1)[1])))
        somebody_else.listen()
        own_gust.start()

        own_gust.upload("chain.py", CHAIN)
        own_gust.await_dag("chain", within=150)  # the stop cut a deployment off, and its turn has to run out

        assert own_gust.stack.endpoint != before
        own_gust.stop()


def test_a_second_start_on_the_same_data_says_who_holds_it(gust: LocalGust) -> None:
    second = _command("local", "--data", str(gust.data), "--dags", str(gust.dags), "--port", "0")

    _, errors = second.communicate(timeout=30)

    assert second.returncode == 1
    assert f"in use by a local stack (process {os.getpid()}" in errors


def test_a_taken_port_is_named(gust: LocalGust, tmp_path: Path) -> None:
    port = gust.stack.url.rsplit(":", 1)[1]
    second = _command("local", "--data", str(tmp_path), "--dags", str(gust.dags), "--port", port)

    _, errors = second.communicate(timeout=30)

    assert second.returncode == 1
    assert errors == f"gust: Port {port} is taken. Choose another one with --port.\n"


def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    port = processes.free_port()
    (tmp_path / "dags").mkdir()
    command = _command("local", "--data", str(tmp_path), "--dags", str(tmp_path / "dags"), "--port", str(port))
    _wait_until(lambda: _answers(port), within=60)
    family = psutil.Process(command.pid).children(recursive=True)

    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=30)

    assert command.returncode == 0, output + errors
    assert output.endswith("Stopped.\n")
    assert family
    assert not [process for process in family if processes._lives(process)]


def test_whoever_kills_the_command_leaves_no_process_either(tmp_path: Path) -> None:
    port = processes.free_port()
    (tmp_path / "dags").mkdir()
    command = _command("local", "--data", str(tmp_path), "--dags", str(tmp_path / "dags"), "--port", str(port))
    _wait_until(lambda: _answers(port), within=60)

    command.kill()
    command.communicate(timeout=30)

    _wait_until(lambda: not list(processes._marked(tmp_path)), within=30)
    assert Checkpoints(tmp_path / "state").newest() is not None


def _command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "gust.cli", *arguments],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/api/v2/version")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _saved_at(checkpoints: Checkpoints) -> float:
    newest = checkpoints.newest()
    return (newest / "manifest.json").stat().st_mtime if newest else 0.0


def _took(gust: LocalGust, checkpoints: Checkpoints) -> list[float]:
    """Seconds for writing each checkpoint so far, as the emulator told."""

    def told() -> list[float]:
        lines = re.findall(r"checkpoint written: .* took (\d+) ms", (gust.stack.logs / "emulator.log").read_text())
        return [int(milliseconds) / 1000 for milliseconds in lines]

    newest = checkpoints.newest()
    assert newest is not None
    _wait_until(lambda: len(told()) >= int(newest.name), within=10)  # it tells a moment after
    return told()[: int(newest.name)]


def _wait_until(condition, *, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:.0f} seconds"
        time.sleep(0.1)
