"""The amazon provider's operators and sensors on the local stack, as `operator_cases` declares them.

A few DAGs run at a time, and each test looks at one service. Services answer from MiniStack (the stack's emulator), from
moto's server, or from `scripted_aws`; the connections `moto` and `scripted` lead there."""

from __future__ import annotations

import io
import json
import re
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.part import part_of
from tests.system import aws_plays, kubernetes_api, moto_server
from tests.system.kubernetes_api import Cluster
from tests.system.local_gust import FINISHED, PATIENCE, LocalGust
from tests.system.operator_cases import CASES, Case, Ending, Proof
from tests.system.package_index import answers
from tests.system.scripted_aws import ScriptedAws, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WITHIN: Final = 540.0
"""Seconds for all of them together, on two busy processors."""

AT_A_TIME: Final = 4
"""DAGs, whose tasks wait for AWS most of the time. Each task at a time needs a worker, whose start costs as much as many
tasks."""


DEFERRED = "Pausing task as DEFERRED"
"""What Airflow's Task SDK logs."""

LEFT_OUT: Final = "of another part of the cases, or no package index answers"

KILLED: Final = [(case, proof) for case in CASES for proof in case.of(Ending.KILLED)]


@dataclass
class World:
    gust: LocalGust
    scripted: ScriptedAws
    cluster: Cluster
    cases: Sequence[Case] = CASES
    """Whose DAGs run here."""
    runs: dict[str, str] = field(default_factory=dict)
    """DAG id → run id."""

    def aws(self, service: str) -> Any:
        """boto3 client of MiniStack."""
        return self.gust.stack.client(service)


@pytest.fixture(scope="module")
def world(gust: LocalGust, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[World]:
    """With all cases; among all tiers with a third of them (`tests.part`)."""
    with (
        moto_server.running() as moto,
        kubernetes_api.serving() as cluster,
        serving(aws_plays.plays(kubernetes=cluster.url, authority=cluster.certificate)) as scripted,
    ):
        scripted_services = {service: {"endpoint_url": f"{scripted.url}/{service}"} for service in scripted.plays}
        for name, extra in (("moto", {"endpoint_url": moto}), ("scripted", {"service_config": scripted_services})):
            connection = {
                "connection_id": name,
                "conn_type": "aws",
                "login": "operators",
                "password": "operators-secret",
            }
            connection["extra"] = json.dumps({"region_name": "us-east-1", **extra})
            gust.api.call("POST", "/api/v2/connections", body=connection)
        extra_text = json.dumps({"kube_config": kubernetes_api.kube_config(cluster)})
        connection = {"connection_id": "stand_in", "conn_type": "kubernetes", "extra": extra_text}
        gust.api.call("POST", "/api/v2/connections", body=connection)
        found = World(gust, scripted, cluster)
        found.cases = part_of(CASES, pytestconfig, 6, "shared/gust/airflow_bridge", "tests/system/operators")
        for prepare in PREPARE.values():
            prepare(found)
        if not answers("\n".join(case.requirements for case in CASES), tmp_path_factory.mktemp("index")):
            found.cases = [case for case in found.cases if not case.requirements]
        files = _write(found.cases, gust.dags)
        gust._folder.align()
        for case in found.cases:
            if case.of(Ending.KILLED) and not case.requirements:
                _start(found, case.dag_id(Ending.KILLED))
        yield found
        for file in files:
            file.unlink()
        gust._folder.align()


def _write(cases: Sequence[Case], dags: Path) -> list[Path]:
    """Of all cases that need the same packages one DAG file, in a folder with these packages. What the provider's modules
    import is imported once for all tasks that a worker runs of a file, and not in each of a hundred children."""
    files = []
    for number, requirements in enumerate(dict.fromkeys(case.requirements for case in cases)):
        folder = dags / f"aws_operators_{number}"
        folder.mkdir()
        together = "".join(
            f"\n\ndef {case.name}():\n{textwrap.indent(case.file.read_text(), '    ')}\n\n{case.name}()\n"
            for case in cases
            if case.requirements == requirements
        )
        files.append(folder / "operators.py")
        files[-1].write_text(f'"""Each function makes some of Airflow\'s DAGs."""{together}')
        if requirements:
            files.append(folder / "requirements.txt")
            files[-1].write_text(requirements)
    return files


def _start(world: World, dag_id: str) -> None:
    world.gust.await_dag(dag_id, within=WITHIN)
    world.runs[dag_id] = world.gust.trigger(dag_id)


@pytest.fixture(scope="module")
def ended(world: World) -> World:
    """With runs of all DAGs that need no person, ended somehow; a few at a time, as many as two processors manage."""
    waiting = [dag_id for case in world.cases for dag_id, _ in case.dags()]
    running: set[str] = set()
    awaited = dict(ARRIVES)
    deadline = time.monotonic() + WITHIN
    while waiting or running:
        assert time.monotonic() < deadline, f"after {WITHIN:.0f} s {sorted(running)} run and {waiting} wait"
        while waiting and len(running) < AT_A_TIME:
            _start(world, waiting[0])
            running.add(waiting.pop(0))
        for dag_id, task in [each for each in awaited if each[0] in running]:
            if world.gust.task_instance(dag_id, world.runs[dag_id], task)["state"] == "deferred":
                awaited.pop((dag_id, task))(world)
        body = {"dag_ids": sorted(running), "page_limit": 100}
        rows = world.gust.api.call("POST", "/api/v2/dags/~/dagRuns/list", body=body)["dag_runs"]
        running -= {row["dag_id"] for row in rows if row["state"] in FINISHED}
        time.sleep(0.5)
    return world


ARRIVES: Final[Mapping[tuple[str, str], Callable[[World], object]]] = {
    ("aws_s3", "waits_deferred"): lambda world: world.aws("s3").put_object(
        Bucket="landing", Key="late.csv", Body=b"fig,1"
    ),
}
"""What the world does once a task is deferred. The operator does not defer where it finds at once what it waits for."""


def _prepare_glue(world: World) -> None:
    s3, glue = world.aws("s3"), world.aws("glue")
    s3.create_bucket(Bucket="operators")
    scripts = {
        "report": "print('seven rows')",
        "broken": "raise SystemExit('no rows today')",
        "long": "import time; time.sleep(900)",
    }
    for name, script in scripts.items():
        s3.put_object(Bucket="operators", Key=f"{name}.py", Body=script.encode())
        command = {"Name": "pythonshell", "ScriptLocation": f"s3://operators/{name}.py", "PythonVersion": "3.9"}
        glue.create_job(Name=name, Role="arn:aws:iam::000000000000:role/glue", Command=command)


def _prepare_athena(world: World) -> None:
    world.aws("glue").create_database(DatabaseInput={"Name": "sales"})


def _prepare_lambda_function(world: World) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(
            "double.py", "def handler(event, context):\n    print('doubling')\n    return 2 * int(event['number'])\n"
        )
    world.aws("s3").put_object(Bucket="operators", Key="double.zip", Body=code.getvalue())
    world.aws("lambda").create_function(
        FunctionName="thrice",
        Runtime="python3.12",
        Role="arn:aws:iam::000000000000:role/lambda",
        Handler="double.handler",
        Code={"ZipFile": code.getvalue()},
    )


def _prepare_step_function(world: World) -> None:
    states: dict[str, dict[str, Any]] = {
        "passes": {"Type": "Pass", "Result": {"written": 7}, "End": True},
        "gives_up": {"Type": "Fail", "Error": "NoRows", "Cause": "no rows today"},
    }
    for name, state in states.items():
        definition = json.dumps({"StartAt": "Only", "States": {"Only": state}})
        role = "arn:aws:iam::000000000000:role/states"
        world.aws("stepfunctions").create_state_machine(name=name, definition=definition, roleArn=role)


def _prepare_ecs(world: World) -> None:
    ecs = world.aws("ecs")
    ecs.create_cluster(clusterName="operators")
    commands = {
        "prints": "print('seven rows')",
        "breaks": "raise SystemExit(3)",
        "lasts": "import time; time.sleep(900)",
    }
    for name, command in commands.items():
        container = {"name": "main", "image": "etl:1", "command": ["python3", "-c", command], "essential": True}
        ecs.register_task_definition(family=name, containerDefinitions=[container])


def _prepare_sqs(world: World) -> None:
    url = world.aws("sqs").create_queue(QueueName="operators")["QueueUrl"]
    world.aws("sqs").create_queue(QueueName="operators-empty")
    world.aws("sqs").create_queue(QueueName="operators-ordered.fifo", Attributes={"FifoQueue": "true"})
    world.gust.api.call("POST", "/api/v2/variables", body={"key": "operators_queue", "value": url})


def _prepare_sns(world: World) -> None:
    topic = world.aws("sns").create_topic(Name="operators")["TopicArn"]
    world.aws("sns").create_topic(Name="operators-ordered.fifo", Attributes={"FifoTopic": "true"})
    url = world.aws("sqs").create_queue(QueueName="operators-topic")["QueueUrl"]
    world.aws("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:000000000000:{url.rpartition('/')[2]}"
    )


def _prepare_dynamodb(world: World) -> None:
    world.aws("dynamodb").create_table(
        TableName="operators",
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def _prepare_cloudwatch(world: World) -> None:
    logs = world.aws("logs")
    logs.create_log_group(logGroupName="operators")
    logs.create_log_stream(logGroupName="operators", logStreamName="today")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + number, "message": f"{number} rows"} for number in (7, 9)]
    logs.put_log_events(logGroupName="operators", logStreamName="today", logEvents=events)


def _prepare_firehose(world: World) -> None:
    destination = {"RoleARN": "arn:aws:iam::000000000000:role/firehose", "BucketARN": "arn:aws:s3:::operators"}
    world.aws("firehose").create_delivery_stream(
        DeliveryStreamName="operators", ExtendedS3DestinationConfiguration=destination
    )


PREPARE: Final[Mapping[str, Callable[[World], None]]] = {
    "glue": _prepare_glue,
    "athena": _prepare_athena,
    "lambda_function": _prepare_lambda_function,
    "step_function": _prepare_step_function,
    "ecs": _prepare_ecs,
    "sqs": _prepare_sqs,
    "sns": _prepare_sns,
    "dynamodb": _prepare_dynamodb,
    "cloudwatch": _prepare_cloudwatch,
    "firehose": _prepare_firehose,
}
"""What the DAGs of a case find at AWS; `glue` makes the bucket `operators`."""


@pytest.mark.parametrize(("case", "proof"), KILLED, ids=[f"{case.name}.{proof.task}" for case, proof in KILLED])
def test_marking_a_running_task_cancels_what_it_started(world: World, case: Case, proof: Proof) -> None:
    if case not in world.cases:
        pytest.skip(LEFT_OUT)
    gust, dag_id = world.gust, case.dag_id(proof.ending)
    if dag_id not in world.runs:  # its packages were being installed meanwhile
        _start(world, dag_id)
    run_id = world.runs[dag_id]
    is_running, is_cancelled = REMOTE[f"{case.name}.{proof.task}"]
    gust.await_state(dag_id, run_id, "deferred" if proof.deferred else "running", task=proof.task, within=WITHIN)
    gust._await(lambda: is_running(world) or None, WITHIN, lambda: gust.logs(dag_id, run_id, proof.task))
    if proof.knows:
        gust.await_log(dag_id, run_id, proof.task, proof.knows)

    path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{proof.task}"
    gust.api.call("PATCH", path, body={"new_state": "failed"})

    gust._await(lambda: is_cancelled(world) or None, PATIENCE, lambda: gust.logs(dag_id, run_id, proof.task))
    _await_log(gust, dag_id, run_id, proof)
    assert gust.task_instance(dag_id, run_id, proof.task)["operator_name"] == proof.operator


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tasks_end_as_declared(ended: World, case: Case) -> None:
    if case not in ended.cases:
        pytest.skip(LEFT_OUT)
    gust = ended.gust
    for dag_id, proofs in case.dags():
        run_id = ended.runs[dag_id]
        gust.await_state(dag_id, run_id, "success" if proofs[0].ending is Ending.SUCCESS else "failed")
        rows = {row["task_id"]: row for row in gust.task_instances(dag_id, run_id)}
        for proof in proofs:
            with _telling(f"{dag_id}.{proof.task}"):
                _check(gust, dag_id, run_id, proof, rows[proof.task])


def _check(gust: LocalGust, dag_id: str, run_id: str, proof: Proof, row: dict[str, Any]) -> None:
    assert row["state"] == ("success" if proof.ending is Ending.SUCCESS else "failed")
    assert row["operator_name"] == proof.operator
    log = _await_log(gust, dag_id, run_id, proof)
    assert (DEFERRED in log) == proof.deferred, log
    if proof.xcom:
        value = json.dumps(gust.xcom(dag_id, run_id, proof.task))
        assert re.search(proof.xcom, value), value
    if proof.link:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{proof.task}/links"
        links = gust.api.call("GET", path)["extra_links"]
        assert (links[proof.link] or "").startswith("https://console.aws.amazon.com/"), links
        assert proof.leads_to in links[proof.link], links
        assert [name for name in proof.more_links if not (links[name] or "").startswith("https://")] == [], links


def _await_log(gust: LocalGust, dag_id: str, run_id: str, proof: Proof) -> str:
    """What the first try logged, with its exceptions, once the text of the proof is in it."""

    def log() -> str:
        lines = gust.log_lines(dag_id, run_id, proof.task)
        raised = [
            f"{each['exc_type']}: {each['exc_value']}" for line in lines for each in line.get("error_detail") or ()
        ]
        return "\n".join([str(line["event"]) for line in lines] + raised)

    return gust._await(
        lambda: text if re.search(proof.log, text := log()) else None, PATIENCE, lambda: f"no {proof.log!r} in {log()}"
    )


class _telling:  # noqa: N801  reads as a verb
    """Adds to a failure where it happened."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if error is not None:
            error.add_note(self._where)


# -- what a killed task leaves at AWS ----------------------------------------------------------------------------------

Look = Callable[[World], bool]


def _glue_state(world: World) -> str:
    runs = world.aws("glue").get_job_runs(JobName="long")["JobRuns"]
    return str(runs[-1]["JobRunState"]) if runs else ""


def _scripted(service: str, name: str = "lasts") -> tuple[Look, Look]:
    """Of a job of a script: looked at, and stopped."""

    def looked_at(world: World) -> bool:
        jobs = world.scripted.plays[service].jobs.values()
        return any(name in job.name and job.looks for job in jobs)

    return looked_at, lambda world: world.scripted.plays[service].named(name).is_stopped


def _pod(name: str) -> tuple[Look, Look]:
    return lambda world: world.cluster.is_running(name), lambda world: world.cluster.is_deleted(name)


def _ecs_task(world: World, status: str) -> bool:
    ecs = world.aws("ecs")
    arns = ecs.list_tasks(cluster="operators", family="lasts", desiredStatus=status)["taskArns"]
    return bool(arns) and all(
        task["lastStatus"] == status for task in ecs.describe_tasks(cluster="operators", tasks=arns)["tasks"]
    )


REMOTE: dict[str, tuple[Look, Look]] = {
    "athena.lasts": _scripted("athena"),
    "datasync.lasts": _scripted("datasync"),
    "ecs.lasts": (lambda world: _ecs_task(world, "RUNNING"), lambda world: _ecs_task(world, "STOPPED")),
    "emr.lasts": _scripted("emr"),
    "emr_containers.lasts": _scripted("emr-containers", "lasts_blocking"),
    "emr_containers.waits": _scripted("emr-containers", "lasts_deferred"),
    "emr_serverless.lasts": _scripted("emr-serverless", "lasts_blocking"),
    "emr_serverless.waits": _scripted("emr-serverless", "lasts_deferred"),
    "eks_pod.lasts": _pod("eks-lasts-blocking"),
    "kubernetes_pod.lasts": _pod("lasts-blocking"),
    "kubernetes_pod.waits": _pod("lasts-deferred"),
    "redshift_data.lasts": _scripted("redshift-data", "lasts_blocking"),
    "redshift_data.waits": _scripted("redshift-data", "lasts_deferred"),
    "glue.lasts": (lambda world: _glue_state(world) == "RUNNING", lambda world: _glue_state(world) == "STOPPED"),
    "batch.lasts": _scripted("batch"),
}
