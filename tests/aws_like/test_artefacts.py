"""Gust from what `./gust deploy` uploads, and from nothing else: AWS's runtime client starts each function in a sandbox.

Skipped with its reason where this machine cannot build for Python 3.12 or refuses sandboxes.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from airflow.providers import standard

from examples import resources
from gust.cli import layers
from gust.local.deployment import STACK_NAME
from tests.aws_like.artefacts import Artefacts, what_this_machine_lacks
from tests.aws_like.emulator_of_artefacts import INITS
from tests.aws_like.sandbox import what_this_machine_refuses
from tests.environment import of_a_user
from tests.oracle.drive import LOGICAL_DATE, RUN_ID, observe
from tests.oracle.golden import Golden
from tests.system.local_gust import ROOT, LocalGust

LACKING: Final = what_this_machine_lacks() or what_this_machine_refuses()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKING is not None, reason=str(LACKING)),
    pytest.mark.timeout(600),  # the first test builds the layers
]

MB: Final = 1024 * 1024

GOLDEN: Final = Golden.load(ROOT / "tests" / "system" / "golden" / "examples.json")
"""What real Airflow does with the examples."""

CEILING: Final = {
    "gust-announcer": 1.0,
    "gust-api": 1.2,
    "gust-dag-processor": 0.9,
    "gust-environment-builder": 0.6,
    "gust-events": 1.0,
    "gust-execution-api": 1.1,
    "gust-key-maker": 0.4,
    "gust-key-rotation": 0.6,
    "gust-parse": 1.0,
    "gust-scheduler": 1.0,
    "gust-triggerer": 3.5,
    "gust-worker": 3.3,
}
"""Seconds of processor time from the start of an environment to its readiness; about 1.7 times what it takes on two busy
cores (`python -m benches.cold` prints that), where `REFERENCE` takes `REFERENCE_TAKES`. Lambda gives a function of less than
1769 MB a part of a processor."""

REFERENCE: Final = """
import asyncio, concurrent.futures.process, decimal, email.mime.text, http.client, logging.config, sqlite3
import unittest.mock, xml.dom.minidom
"""
REFERENCE_TAKES: Final = 0.12
"""Seconds of processor time of a new Python."""

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
    # As EksPodOperator's kubeconfig has it made.
    eks_token = BashOperator(
        task_id="eks_token",
        bash_command="PYTHON_OPERATORS_VIRTUAL_ENV_MODE=1 python3.12 -m airflow.providers.amazon.aws.utils.eks_get_token"
        " --cluster-name jobs --region-name us-east-1 --sts-url https://sts.us-east-1.amazonaws.com",
    )
    late = FileSensor(task_id="late", filepath="/var/task/app.py", poke_interval=1, deferrable=True)
    chain(
        show(number()),
        together(twice.expand(n=[1, 2, 3])),
        branch,
        [left, right],
        EmptyOperator(task_id="joined", trigger_rule="none_failed"),
        [bash, eks_token],
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


EVERY: Final = '''
"""The operators and sensors of the standard provider that STANDARD does not have; side by side, so that they take their time
together."""
from datetime import datetime, time, timedelta, timezone
from airflow.providers.standard.operators.datetime import BranchDateTimeOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import (
    ApprovalOperator, HITLBranchOperator, HITLEntryOperator, HITLOperator
)
from airflow.providers.standard.operators.python import BranchExternalPythonOperator, ExternalPythonOperator
from airflow.providers.standard.operators.smooth import SmoothOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.operators.weekday import BranchDayOfWeekOperator
from airflow.providers.standard.sensors.bash import BashSensor
from airflow.providers.standard.sensors.date_time import DateTimeSensor, DateTimeSensorAsync
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.providers.standard.sensors.time import TimeSensor, TimeSensorAsync
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensorAsync, WaitSensor
from airflow.providers.standard.sensors.weekday import DayOfWeekSensor
from airflow.sdk import DAG

PAST = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALWAYS = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
PYTHON = "/var/lang/bin/python3.12"
ASKS = {"subject": "Well?", "response_timeout": timedelta(seconds=1)}


def answer():
    return 42


def choose():
    return "external_left"


with DAG("target", schedule=None):
    EmptyOperator(task_id="none") >> SmoothOperator(task_id="done")

with DAG("every", schedule=None) as dag:
    one = dag.get_task
    for name in ("datetime", "weekday", "external", "hitl"):
        EmptyOperator(task_id=f"{name}_left"), EmptyOperator(task_id=f"{name}_right")
    left = {"follow_task_ids_if_true": "weekday_left", "follow_task_ids_if_false": "weekday_right"}
    BranchDayOfWeekOperator(task_id="weekday", week_day=ALWAYS, **left) >> [
        one("weekday_left"), one("weekday_right")]
    BranchDateTimeOperator(
        task_id="datetime", target_lower=PAST, target_upper=datetime(2100, 1, 1, tzinfo=timezone.utc),
        follow_task_ids_if_true="datetime_left", follow_task_ids_if_false="datetime_right",
    ) >> [one("datetime_left"), one("datetime_right")]
    BranchExternalPythonOperator(task_id="external", python=PYTHON, python_callable=choose, expect_airflow=False) >> [
        one("external_left"), one("external_right")]
    HITLBranchOperator(
        task_id="hitl", options=["hitl_left", "hitl_right"], defaults=["hitl_left"], **ASKS
    ) >> [one("hitl_left"), one("hitl_right")]
    ExternalPythonOperator(task_id="answer", python=PYTHON, python_callable=answer, expect_airflow=False)
    HITLOperator(task_id="ask", options=["yes", "no"], defaults="yes", **ASKS)
    ApprovalOperator(task_id="approve", defaults="Approve", **ASKS)
    HITLEntryOperator(task_id="enter", defaults="OK", **ASKS)
    BashSensor(task_id="bash_sensor", bash_command="true")
    DateTimeSensor(task_id="moment", target_time=PAST)
    DateTimeSensorAsync(task_id="moment_async", target_time=PAST)
    TimeSensor(task_id="time", target_time=time(0))
    TimeSensorAsync(task_id="time_async", target_time=time(0))
    TimeDeltaSensorAsync(task_id="delta_async", delta=timedelta(seconds=1))
    WaitSensor(task_id="wait", time_to_wait=timedelta(seconds=1))
    DayOfWeekSensor(task_id="day", week_day=ALWAYS)
    ExternalTaskMarker(task_id="marker", external_dag_id="target", external_task_id="done")
    TriggerDagRunOperator(
        task_id="trigger", trigger_dag_id="target", logical_date="{{ logical_date }}", wait_for_completion=True,
        poke_interval=1,
    ) >> ExternalTaskSensor(
        task_id="external_task", external_dag_id="target", external_task_id="done", poke_interval=1)
'''

LEFT_OUT: Final = {
    "PythonVirtualenvOperator": "it installs from a package index, with pip, which Lambda's Python has and ours need not",
    "BranchPythonVirtualenvOperator": "likewise",
}
"""Operators of the standard provider that no DAG here has → why."""

CLASS: Final = r"^class ([A-Z]\w*(?:Operator|Sensor|SensorAsync|Marker))\("

EXAMPLES: Final = ("currency_rates", "landing_zone", "refresh_warehouse", "regional_sales_etl")
"""Those that need no Fargate and no Glue. `landing_zone` has the Amazon provider read S3."""


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


@pytest.fixture(scope="module")
def started(gust: LocalGust) -> dict[str, str]:
    """All DAGs are on their way at the same time: DAG → run."""
    for name, text in {"standard": STANDARD, "every": EVERY}.items():
        gust.upload(f"{name}.py", text)
    for name in EXAMPLES:
        text = (ROOT / "examples" / "dags" / f"{name}.py").read_text()
        gust.upload(f"{name}.py", re.sub(r"schedule=.*", "schedule=None,", text, count=1))  # no run but the test's
    gust.api.call("POST", "/api/v2/connections", body={"connection_id": "fs_default", "conn_type": "fs"})
    gust.stack.client("s3").create_bucket(Bucket=resources.LANDING)
    resources.land_orders(LOGICAL_DATE[:10], gust.stack.client)
    started = {}
    for dag_id in ("target", "standard", "every", *EXAMPLES):
        gust.await_dag(dag_id, within=180)
        gust.pause(dag_id, paused=False)
    for dag_id in ("standard", "every", *EXAMPLES):
        body = {"logical_date": LOGICAL_DATE, "dag_run_id": RUN_ID}
        answer = gust.api.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body=body)
        started[dag_id] = str(answer["dag_run_id"])
    return started


def test_operators_of_the_standard_provider_run_to_success(gust: LocalGust, started: dict[str, str]) -> None:
    run_id = started["standard"]

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
    assert "token: k8s-aws-v1." in gust.logs("standard", run_id, "eks_token")


def test_the_other_operators_of_the_standard_provider_run_to_success(gust: LocalGust, started: dict[str, str]) -> None:
    run_id = started["every"]

    gust.await_state("every", run_id, "success", within=240)

    assert {task: state for task, state in gust.states("every", run_id).items() if state != "success"} == {
        f"{name}_right": "skipped" for name in ("datetime", "weekday", "external", "hitl")
    }
    assert gust.xcom("every", run_id, "answer") == 42
    assert gust.xcom("every", run_id, "ask")["chosen_options"] == ["yes"]


def test_every_operator_of_the_standard_provider_has_run() -> None:
    there = {
        name
        for file in (Path(standard.__path__[0]) / kind for kind in ("operators", "sensors"))
        for module in file.glob("*.py")
        for name in re.findall(
            r"^class ([A-Z]\w*(?:Operator|Sensor|SensorAsync|Marker))\(", module.read_text(), re.MULTILINE
        )
        if not name.startswith("Base")
    }
    used = {name for name in there if re.search(rf"\b{name}\(", STANDARD + EVERY)}

    assert there - used == set(LEFT_OUT)


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_ends_as_on_airflow(gust: LocalGust, started: dict[str, str], dag_id: str) -> None:
    gust.await_state(dag_id, started[dag_id], "success", within=240)

    seen = observe(gust.api, dag_id, started[dag_id])
    assert GOLDEN.differences(dag_id, seen) == []


def test_a_file_that_cannot_be_imported_is_an_import_error(gust: LocalGust) -> None:
    gust.upload("broken.py", "from airflow.sdk import dag\nimport no_such_package")

    assert "no_such_package" in gust.await_import_error("broken.py", within=120)


def test_the_web_ui_comes_from_its_layer(gust: LocalGust) -> None:
    page = httpx.get(f"{gust.url}/").text
    (script,) = [part.split('"')[0] for part in page.split('src="')[1:] if "assets/index" in part.split('"')[0]]
    address = script if script.startswith("http") else f"{gust.url}/{script.lstrip('./')}"

    assert httpx.get(address).headers["content-type"].startswith("text/javascript")


def slowness() -> float:
    """How many times longer imports take here and now than on the machine of the ceilings; at least 1."""
    took = []
    for _ in range(5):
        pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", REFERENCE], of_a_user())
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        took.append(usage.ru_utime + usage.ru_stime)
    return max(1.0, min(took) / REFERENCE_TAKES)


def test_every_function_is_imported_in_time(gust: LocalGust) -> None:
    client = gust.stack.client("lambda")
    for name in CEILING:
        client.invoke(FunctionName=name, Payload=json.dumps({"Records": []}).encode())

    inits = [json.loads(line) for line in (gust.data / INITS).read_text().splitlines()]

    took = {name: min(each["processor"] for each in inits if each["function"] == name) for name in CEILING}
    lacking = sorted({one for each in inits for one in each["lacking"]})
    times = slowness()
    print(f"imported, in seconds of processor time: {took}; lacking: {lacking}; slower: {times:.2f}")
    assert {name: seconds for name, seconds in took.items() if seconds > CEILING[name] * times} == {}


def test_each_function_of_the_template_is_timed(artefacts: Artefacts) -> None:
    named = {properties["FunctionName"]["Fn::Sub"] for properties in artefacts.functions().values()}

    assert {name.replace("${AWS::StackName}", STACK_NAME) for name in named} == set(CEILING)
