"""Large results, long logs, and logs that are read while they are written."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MB = 2**20

BIG = """
    from datetime import datetime
    from airflow.sdk import dag, task

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def big():
        @task
        def makes():
            return "0123456789abcde\\u00e9" * (46 * 2**16)  # 49 MB of UTF-8

        @task
        def takes(text):
            return [len(text), text[-1], text[:3]]

        takes(makes())

        @task
        def makes_too_much():
            return "x" * (51 * 2**20)

        makes_too_much()

    big()
"""


def test_an_xcom_of_fifty_megabytes_goes_from_task_to_task(gust: LocalGust) -> None:
    gust.upload("big.py", BIG)
    gust.await_dag("big")
    run_id = gust.trigger("big")
    gust.await_state("big", run_id, "failed", within=300)

    assert gust.states("big", run_id) == {"makes": "success", "takes": "success", "makes_too_much": "failed"}
    assert gust.xcom("big", run_id, "takes") == [46 * MB, "\u00e9", "012"]
    refusal = gust.log_lines("big", run_id, "makes_too_much")
    assert "50 MB" in str(refusal), "the person learns why"


TALKATIVE = """
    import time
    from datetime import datetime
    from pathlib import Path
    from airflow.sdk import dag, task, get_current_context

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def talkative():
        @task
        def floods():
            for number in range(20_000):
                print(f"{number:06} " + "x" * 500)

        @task
        def waits():
            folder = Path(get_current_context()["dag_run"].conf["folder"])
            print("said before anything else")
            while not (folder / "go on").exists():
                time.sleep(0.05)
            print("said at last")

        floods()
        waits()

    talkative()
"""


def test_a_log_of_ten_megabytes_is_whole_and_in_order(gust: LocalGust, tmp_path: Path) -> None:
    (tmp_path / "go on").touch()
    gust.upload("talkative.py", TALKATIVE)
    gust.await_dag("talkative")
    run_id = gust.trigger("talkative", conf={"folder": str(tmp_path)})
    gust.await_state("talkative", run_id, "success", within=200)

    started = time.monotonic()
    lines = [line["event"] for line in gust.log_lines("talkative", run_id, "floods") if "xxx" in line["event"]]
    print(f"10 MB of log read in {time.monotonic() - started:.1f} s")
    assert [int(line[:6]) for line in lines] == list(range(20_000))


def test_a_log_is_read_while_its_task_runs(gust: LocalGust, tmp_path: Path) -> None:
    gust.upload("talkative.py", TALKATIVE)
    gust.await_dag("talkative")
    run_id = gust.trigger("talkative", conf={"folder": str(tmp_path)})

    gust.await_state("talkative", run_id, "running", task="waits")
    so_far = gust.await_log("talkative", run_id, "waits", "said before anything else")
    assert gust.task_instance("talkative", run_id, "waits")["state"] == "running"
    assert "said at last" not in so_far
    (tmp_path / "go on").touch()
    gust.await_state("talkative", run_id, "success", within=200)
    whole = gust.await_log("talkative", run_id, "waits", "said at last")
    assert whole.count("said before anything else") == 1
