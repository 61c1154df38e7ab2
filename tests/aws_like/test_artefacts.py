"""Gust from what `./gust deploy` uploads, and from nothing else: AWS's runtime client starts each function in a sandbox.

Skipped with its reason where this machine cannot build for Python 3.12 or refuses sandboxes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from gust.cli import layers
from gust.local.deployment import STACK_NAME
from tests.aws_like.artefacts import Artefacts, what_this_machine_lacks
from tests.aws_like.emulator_of_artefacts import INITS
from tests.aws_like.sandbox import what_this_machine_refuses
from tests.system.local_gust import LocalGust

LACKING: Final = what_this_machine_lacks() or what_this_machine_refuses()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKING is not None, reason=str(LACKING)),
    pytest.mark.timeout(600),  # the first test builds the layers
]

MB: Final = 1024 * 1024

CEILING: Final = {
    "gust-announcer": 1.4,
    "gust-api": 1.6,
    "gust-dag-processor": 1.2,
    "gust-environment-builder": 1.2,
    "gust-events": 1.4,
    "gust-execution-api": 1.4,
    "gust-key-maker": 1.2,
    "gust-key-rotation": 1.2,
    "gust-parse": 1.4,
    "gust-scheduler": 1.4,
    "gust-triggerer": 4.0,
    "gust-worker": 4.0,
}
"""Seconds of processor time from the start of an environment to its readiness; about 1.6 times what it takes. Lambda gives a
function of less than 1769 MB a part of a processor, so 1024 MB take 1.7 times as long."""

STANDARD: Final = """
from datetime import timedelta
from airflow.sdk import chain, dag, task, Variable
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor

@dag(schedule=None)
def standard():
    @task
    def number():
        return {"large": "x" * 300_000, "number": 42}

    @task(multiple_outputs=False)
    def show(value):
        print("the number is", value["number"])
        return len(value["large"])

    @task
    def twice(n):
        return 2 * n

    @task
    def together(values):
        return sum(values)

    @task
    def look_around():
        # Of other processes of Lambda's user: what they were given and know. Of other tries: their files.
        import os
        from pathlib import Path

        opened = []
        others = [path for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != os.getpid()]
        for file in [path / name for path in others for name in ("environ", "mem", "maps", "cwd", "fd")]:
            try:
                os.listdir(file) if file.name in ("cwd", "fd") else open(file, "rb").close()
            except OSError:
                continue
            opened.append(str(file))
        mine = os.environ["TMPDIR"]
        return {
            "others": len(others),
            "opened": opened,
            "tmp": sorted(str(path) for path in Path("/tmp").iterdir() if str(path) != mine),
            "home": os.environ["HOME"] == mine,
            "secrets": sorted(name for name in os.environ if "SECRET" in name or "SESSION_TOKEN" in name),
        }

    @task
    def who_am_i():
        import boto3

        return boto3.client("sts").get_caller_identity()["Arn"]

    branch = BranchPythonOperator(task_id="branch", python_callable=lambda: "left")
    left, right = EmptyOperator(task_id="left"), EmptyOperator(task_id="right")
    bash = BashOperator(task_id="bash", bash_command="id -u; touch /tmp/x && ! touch /opt/x 2>/dev/null && echo done")
    late = FileSensor(task_id="late", filepath="/var/task/app.py", poke_interval=1, deferrable=True)
    chain(
        show(number()),
        together(twice.expand(n=[1, 2, 3])),
        branch,
        [left, right],
        EmptyOperator(task_id="joined", trigger_rule="none_failed"),
        bash,
        look_around(),
        who_am_i(),
        PythonOperator(task_id="python", python_callable=print, op_args=["printed"]),
        ShortCircuitOperator(task_id="short", python_callable=lambda: True),
        PythonSensor(task_id="sensor", python_callable=lambda: True),
        TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=1)),
        late,
        LatestOnlyOperator(task_id="latest"),
    )

standard()
"""


@pytest.fixture(scope="module")
def artefacts() -> Artefacts:
    built = Artefacts()
    built.build()
    return built


@pytest.fixture(scope="module")
def gust(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGust]:
    home = tmp_path_factory.mktemp("artefacts")
    stack = LocalGust(
        home / "data",
        home / "dags",
        emulator="tests.aws_like.emulator_of_artefacts",
        parameters={"TellEvents": "All"},  # the announcer, too
    )
    stack.start()
    yield stack
    stack.stop()


def test_lambda_takes_the_functions_for_their_size(artefacts: Artefacts) -> None:
    """The ceilings are a tenth above today's sizes, so that a new package is noticed."""
    assert artefacts.refused_by_lambda() == []
    sizes = {
        name: round(
            sum(layers.size_of(each) for each in [artefacts.package(properties), *artefacts.layers(properties)]) / MB, 1
        )
        for name, properties in artefacts.functions().items()
    }
    print(f"unpacked, in MB: {sizes}")
    assert all(size <= 249 for size in sizes.values())
    without_airflow = {name for name in sizes if name not in ("WorkerFunction", "TriggererFunction", "ParseFunction")}
    assert all(sizes[name] <= 120 for name in without_airflow), sizes


def test_operators_of_the_standard_provider_run_to_success(gust: LocalGust) -> None:
    gust.upload("standard.py", STANDARD)
    gust.await_dag("standard", within=120)
    gust.api.call("POST", "/api/v2/connections", body={"connection_id": "fs_default", "conn_type": "fs"})
    run_id = gust.trigger("standard")

    gust.await_state("standard", run_id, "success", within=180)

    assert gust.states("standard", run_id) | {"right": "skipped"} == {
        name: "skipped" if name == "right" else "success" for name in gust.states("standard", run_id)
    }
    assert gust.xcom("standard", run_id, "show") == 300_000
    assert gust.xcom("standard", run_id, "together") == 12
    seen = gust.xcom("standard", run_id, "look_around")
    assert seen["others"] >= 2  # worker and nursery
    assert (seen["opened"], seen["secrets"], seen["home"]) == ([], [], True)
    assert not [path for path in seen["tmp"] if not path.startswith(("/tmp/airflow", "/tmp/gust-bundles"))]
    assert f":assumed-role/{gust.stack.outputs['TaskRoleArn'].rsplit('/', 1)[-1]}/standard-" in gust.xcom(
        "standard", run_id, "who_am_i"
    )
    log = gust.logs("standard", run_id, "bash")
    assert "993" in log  # Lambda's user
    assert "done" in log


def test_a_file_that_cannot_be_imported_is_an_import_error(gust: LocalGust) -> None:
    gust.upload("broken.py", "from airflow.sdk import dag\nimport no_such_package")

    assert "no_such_package" in gust.await_import_error("broken.py", within=120)


def test_the_web_ui_comes_from_its_layer(gust: LocalGust) -> None:
    page = httpx.get(f"{gust.url}/").text
    (script,) = [part.split('"')[0] for part in page.split('src="')[1:] if "assets/index" in part.split('"')[0]]
    address = script if script.startswith("http") else f"{gust.url}/{script.lstrip('./')}"

    assert httpx.get(address).headers["content-type"].startswith("text/javascript")


def test_every_function_is_imported_in_time(gust: LocalGust) -> None:
    client = gust.stack.client("lambda")
    for name in CEILING:
        client.invoke(FunctionName=name, Payload=json.dumps({"Records": []}).encode())

    inits = [json.loads(line) for line in (gust.data / INITS).read_text().splitlines()]

    took = {name: min(each["processor"] for each in inits if each["function"] == name) for name in CEILING}
    lacking = sorted({one for each in inits for one in each["lacking"]})
    print(f"imported, in seconds of processor time: {took}; lacking: {lacking}")
    assert {name: seconds for name, seconds in took.items() if seconds > CEILING[name]} == {}


def test_each_function_of_the_template_is_timed(artefacts: Artefacts) -> None:
    named = {properties["FunctionName"]["Fn::Sub"] for properties in artefacts.functions().values()}

    assert {name.replace("${AWS::StackName}", STACK_NAME) for name in named} == set(CEILING)
