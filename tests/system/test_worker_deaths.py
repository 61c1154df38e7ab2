"""However a try dies, it fails once, says why in its log, and is tried again by the task's own rules."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from gust.model.keys import DagRunKey
from gust.model.place import OnLambda
from gust.model.workload import TaskWorkload
from gust.services.make_workload import task_workload
from gust.services.specs import load_spec
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DEATHS = """
    import ctypes
    import os
    import resource
    import signal
    import sys
    from datetime import datetime, timedelta
    from airflow.sdk import dag, task, get_current_context
    from airflow.exceptions import AirflowFailException

    def exits():
        os._exit(1)

    def exits_as_if_all_were_well():
        os._exit(0)

    def kills_itself():
        os.kill(os.getpid(), signal.SIGKILL)

    def crashes():
        ctypes.string_at(0)

    def eats_memory():
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20, used + 64 * 2**20))
        hoard = bytearray(2**30)

    def leaves():
        sys.exit(3)

    def raises():
        raise RuntimeError("the warehouse is on fire")

    DEATHS = [exits, exits_as_if_all_were_well, kills_itself, crashes, eats_memory, leaves, raises]

    @dag(schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=3)
    def deaths():
        for death in DEATHS:
            @task(task_id=death.__name__, retries=1, retry_delay=timedelta(seconds=1))
            def dies_once(death=death.__name__):
                number = get_current_context()["ti"].try_number
                print(f"this is try {number} of {death}")
                if number == 1:
                    globals()[death]()
                return number

            dies_once()

        @task(retries=3)
        def gives_up():
            raise AirflowFailException("there is no point in another try")

        @task
        def has_one_try():
            os._exit(7)

        gives_up()
        has_one_try()

    deaths()
"""

WHY = {
    "exits": "ended without reporting a state",
    "exits_as_if_all_were_well": "ended without reporting a state",
    "kills_itself": "ended without reporting a state",
    "crashes": "Segmentation",
    "eats_memory": "MemoryError",
    "leaves": "",
    "raises": "the warehouse is on fire",
}
"""What the first try's log says beside what the task printed itself."""


def test_every_death_fails_its_try_once_and_the_next_one_succeeds(gust: LocalGust) -> None:
    gust.upload("deaths.py", DEATHS)
    gust.await_dag("deaths")
    run_id = gust.trigger("deaths")
    gust.await_state("deaths", run_id, "failed", within=300)  # of the two that may not try again

    for death, why in WHY.items():
        last = gust.task_instance("deaths", run_id, death)
        assert (last["state"], last["try_number"]) == ("success", 2), death
        tries = gust.tries("deaths", run_id, death)
        assert [(each["try_number"], each["state"]) for each in tries] == [(1, "failed"), (2, "success")], death
        first_log = json.dumps(gust.log_lines("deaths", run_id, death, try_number=1))
        assert f"this is try 1 of {death}" in first_log
        assert why in first_log, first_log
        assert "this is try 2" not in first_log
        second_log = gust.logs("deaths", run_id, death, try_number=2)
        assert f"this is try 2 of {death}" in second_log
        assert "this is try 1" not in second_log
        assert gust.xcom("deaths", run_id, death) == 2

    for death in ("gives_up", "has_one_try"):
        last = gust.task_instance("deaths", run_id, death)
        assert (last["state"], last["try_number"]) == ("failed", 1), death


def test_deaths_and_failed_runs_reach_cloudwatch(gust: LocalGust) -> None:
    """After the test above, whose deaths are counted."""
    page = urlopen(f"{gust.stack.url}/metrics").read().decode()  # noqa: S310
    counted = {line.split("{")[0]: float(line.split()[1]) for line in page.splitlines() if not line.startswith("#")}
    assert counted["gust_zombies_killed_sum"] >= 4  # exits twice, kills itself, crashes; has_one_try
    assert counted["gust_task_instance_failures_sum"] >= len(WHY) + 2
    assert counted["gust_task_instance_successes_sum"] >= len(WHY)
    assert counted["gust_dag_duration_failed_seconds_count"] >= 1


HELD = """
    import os
    import time
    from datetime import datetime, timedelta
    from pathlib import Path
    from airflow.sdk import dag, task, get_current_context

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def {dag_id}():
        @task(retries=1, retry_delay=timedelta(seconds=1))
        def held():
            context = get_current_context()
            folder = Path(context["dag_run"].conf["folder"])
            number = context["ti"].try_number
            print(f"this is try {{number}}")
            worker = Path(f"/proc/{{os.getppid()}}/stat").read_text().rpartition(")")[2].split()[1]  # the nursery's parent
            with (folder / "executions").open("a") as executions:
                executions.write(f"{{number}} {{os.getpid()}} {{worker}}\\n")
            while number == 1 and not (folder / "let go").exists():
                time.sleep(0.05)
            return number

        held()

    {dag_id}()
"""


def lives(process: psutil.Process) -> bool:
    """One that has ended may stay a zombie: its new parent does not wait for it everywhere."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_worker_that_is_killed_with_its_environment_costs_one_try(gust: LocalGust, tmp_path: Path) -> None:
    gust.upload("killed_environment.py", HELD.format(dag_id="killed_environment"))
    gust.await_dag("killed_environment")
    run_id = gust.trigger("killed_environment", conf={"folder": str(tmp_path)})
    ((_, child, environment),) = await_executions(tmp_path, 1)
    gust.await_state("killed_environment", run_id, "running", task="held")

    gust.await_log("killed_environment", run_id, "held", "this is try 1")
    task_process = psutil.Process(child)
    os.kill(environment, signal.SIGKILL)
    killed = time.monotonic()
    while lives(task_process):  # the task dies with its supervisor, and cannot do its work twice
        assert time.monotonic() < killed + 10
        time.sleep(0.05)

    gust.await_state("killed_environment", run_id, "success", within=300)
    found_after = gust.tries("killed_environment", run_id, "held")[0]
    print(f"the next try succeeded {time.monotonic() - killed:.0f} s after the kill")

    assert [number for number, _, _ in await_executions(tmp_path, 2)] == [1, 2]
    tries = gust.tries("killed_environment", run_id, "held")
    assert [(each["try_number"], each["state"]) for each in tries] == [(1, "failed"), (2, "success")]
    lost = gust.await_log("killed_environment", run_id, "held", "the try is lost", try_number=1)
    assert "this is try 1" in lost
    assert "this is try 2" in gust.logs("killed_environment", run_id, "held", try_number=2)
    assert (
        found_after["duration"] < 150
    )  # 60 s of silence, up to 15 s until somebody looks; twice that on a busy machine


MANY = """
    import os
    from datetime import datetime, timedelta
    from pathlib import Path
    from airflow.sdk import dag, task, get_current_context

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def many():
        @task(retries=2, retry_delay=timedelta(seconds=1))
        def one(number):
            context = get_current_context()
            worker = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]  # the nursery's parent
            with (Path(context["dag_run"].conf["folder"]) / "executions").open("a") as executions:
                executions.write(f"{context['ti'].try_number} {os.getpid()} {worker}\\n")

        one.expand(number=list(range(60)))

    many()
"""


def test_all_workers_killed_at_once_cost_a_minute_or_two(gust: LocalGust, tmp_path: Path) -> None:
    """Most of them have a message in hand and have started nothing: nothing but the message tells of these."""
    gust.upload("many.py", MANY)
    gust.await_dag("many", within=240)
    run_id = gust.trigger("many", conf={"folder": str(tmp_path)})
    for _ in range(3):
        environments = {environment for _, _, environment in await_executions(tmp_path, 4)}
        for environment in environments:
            with suppress(ProcessLookupError):
                os.kill(environment, signal.SIGKILL)
    killed = time.monotonic()
    gust.await_state("many", run_id, "success", within=400)
    print(f"the run succeeded {time.monotonic() - killed:.0f} s after the last kill")
    assert time.monotonic() - killed < 240  # a minute, up to 15 s until somebody looks; twice that on a busy machine


def test_messages_that_come_twice_start_nothing_twice(gust: LocalGust, tmp_path: Path) -> None:
    gust.upload("duplicates.py", HELD.format(dag_id="duplicates"))
    gust.await_dag("duplicates")
    run_id = gust.trigger("duplicates", conf={"folder": str(tmp_path)})
    await_executions(tmp_path, 1)
    gust.await_state("duplicates", run_id, "running", task="held")

    message = message_of(gust, DagRunKey("duplicates", run_id), "held")
    held = held_messages(gust)
    send(gust, message, times=3)
    await_drained(gust, held)
    assert len(await_executions(tmp_path, 1)) == 1
    (tmp_path / "let go").touch()
    gust.await_state("duplicates", run_id, "success", within=120)
    send(gust, message, times=2)
    await_drained(gust, held - 1)

    assert len(await_executions(tmp_path, 1)) == 1
    assert [each["state"] for each in gust.tries("duplicates", run_id, "held")] == ["success"]
    assert gust.run("duplicates", run_id)["state"] == "success"


def await_executions(folder: Path, count: int) -> list[tuple[int, int, int]]:
    """(try, process, worker's process) of each time the task's code ran, once there are so many."""
    file = folder / "executions"

    def look() -> list[tuple[int, int, int]] | None:
        lines = file.read_text().splitlines() if file.exists() else []
        rows = [tuple(int(word) for word in line.split()) for line in lines]
        return [(a, b, c) for a, b, c in rows] if len(rows) >= count else None

    return LocalGust._await(look, 120, lambda: f"the task did not run {count} times")


def message_of(gust: LocalGust, run: DagRunKey, task_id: str) -> TaskWorkload:
    """What the scheduler sent for the instance as it is now."""
    services = gust.services()
    state = services.store.load_run(run)
    assert state is not None
    spec = load_spec(services.objects, state.run.spec_key)
    bundle = state.run.bundle_version
    return task_workload(
        services, spec, state.run, state.instances[task_id, -1], OnLambda(), bundle=bundle, now=services.clock.now()
    )


def send(gust: LocalGust, message: TaskWorkload, *, times: int) -> None:
    assert gust.services().queues.send_tasks([message] * times) == []


def await_drained(gust: LocalGust, held: int) -> None:
    """Until the queue of tasks is empty, and no more than `held` messages of it are with workers."""

    def look() -> bool | None:
        return (
            True if queue_attribute(gust, "ApproximateNumberOfMessages") == 0 and held_messages(gust) <= held else None
        )

    LocalGust._await(look, 120, lambda: "the queue did not get empty")


def held_messages(gust: LocalGust) -> int:
    """Those with workers, also with such as were killed."""
    return queue_attribute(gust, "ApproximateNumberOfMessagesNotVisible")


def queue_attribute(gust: LocalGust, name: str) -> int:
    url = gust.stack.outputs["TaskQueueUrl"]
    answer = gust.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(answer["Attributes"][name])
