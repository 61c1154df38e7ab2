"""However a try dies, it fails once, says why in its log, and is tried again by the task's own rules."""

from __future__ import annotations

import pytest

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

    def terminates_itself():
        os.kill(os.getpid(), signal.SIGTERM)

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

    DEATHS = [exits, exits_as_if_all_were_well, kills_itself, terminates_itself, crashes, eats_memory, leaves, raises]

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
    "terminates_itself": "",
    "crashes": "Segmentation fault",
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
        first_log = gust.logs("deaths", run_id, death, try_number=1)
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
