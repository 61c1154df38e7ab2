"""AWS throttles a sixth of all calls of the functions, of every service, and does a sixth of the batches in part only.
Nothing is lost, and nothing runs twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.aws_like import calls
from tests.aws_like.border import FILE
from tests.aws_like.emulator import BUSY
from tests.environment import of_a_user
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DAGS: Final = """
from datetime import timedelta
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import Asset, Variable, dag, get_current_context, task

COUNTED = Asset("counted")


def write_down():
    context = get_current_context()
    ti = context["ti"]
    with open(context["params"]["journal"], "a") as journal:
        journal.write(f"{context['dag'].dag_id}/{ti.task_id}/{ti.map_index} {ti.try_number}\\n")


@dag(schedule=None, params={"journal": JOURNAL}, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)})
def busy():
    @task
    def numbers():
        write_down()
        return list(range(5))

    @task(pool="narrow")
    def square(number):
        write_down()
        Variable.set(f"square_{number}", str(number * number))
        return {"large": "x" * 300_000, "square": number * number} if number == 4 else {"square": number * number}

    @task
    def total(squares):
        write_down()
        print("adding", len(squares))
        return sum(each["square"] for each in squares)

    @task(outlets=[COUNTED])
    def tell(number):
        write_down()
        return number

    wait = TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=1), deferrable=True)
    wait >> tell(total(square.expand(number=numbers())))


@dag(schedule=COUNTED, params={"journal": JOURNAL})
def after():
    @task
    def link(before=0):
        write_down()
        return before + 1

    link(link())


busy()
after()
"""


@pytest.fixture(scope="module")
def gust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGust]:
    home = tmp_path_factory.mktemp("busy")
    stack = LocalGust(home / "data", home / "dags", environment={**of_a_user(), BUSY: "20260301/0.16"})
    stack.start()
    yield stack
    stack.stop()


def test_functions_survive_a_busy_aws(gust: LocalGust, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    gust.upload("busy.py", DAGS.replace("JOURNAL", repr(str(journal))))
    gust.await_dag("busy")
    gust.await_dag("after")
    gust.api.call("POST", "/api/v2/pools", body={"name": "narrow", "slots": 2})

    run_id = gust.trigger("busy")
    gust.await_state("busy", run_id, "success", within=180)
    (followed,) = gust.await_runs("after", 1, run_type="asset_triggered", within=60)
    gust.await_state("after", followed["dag_run_id"], "success", within=120)

    assert gust.xcom("busy", run_id, "tell") == sum(number * number for number in range(5))
    ran = Counter(journal.read_text().splitlines())
    assert {line: number for line, number in ran.items() if number > 1} == {}  # no dispatch began twice
    tries = Counter(line.partition(" ")[0] for line in ran)
    assert len(tries) == 8 + 2
    assert "adding 5" in gust.logs("busy", run_id, "total")
    unwell = [line for file in (gust.data / "logs").glob("gust-*.log") for line in file.read_text().splitlines()]
    unwell = [line[:300] for line in unwell if '"level":"ERROR"' in line or '"status":5' in line]
    throttled = Counter(
        (line["service"], line["throttled"]) for line in calls.read(gust.data / FILE) if "throttled" in line
    )
    print(f"throttled: {dict(throttled)}; tries of each instance: {Counter(tries.values())}; errors: {unwell}")
    assert {"dynamodb", "lambda", "logs", "sqs", "s3"} <= {service for service, _ in throttled}
