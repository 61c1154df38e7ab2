"""One running local stack: the emulator as a child, the template deployed in it, a folder of DAGs kept in step."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gust.aws import worker_groups
from gust.aws.deployments import StepFunctionsDeployments
from gust.aws.objects import S3Objects
from gust.aws.secrets import put_configuration
from gust.errors import GustError, Stale
from gust.local import checkpoint, deployment, processes, sign_in
from gust.local.building import BuildProgress
from gust.local.dag_folder import DagFolder
from gust.local.emulator import CONTROL
from gust.local.front_door import FrontDoor
from gust.local.function_pool import default_workers, process_limits
from gust.local.parsing import ParseProgress
from gust.local.web import packed_web
from gust.model.architecture import X86_64, this_architecture
from gust.services.deployments.deployment_turn import request_deployment
from gust.store.dynamodb import DynamoDBStore

_REGION: Final = "us-east-1"
_ACCOUNT: Final = "000000000000"
_LOOK_EVERY: Final = 0.25
"""Seconds between two looks at the DAG folder, where one is quick."""

_LOOK_AGAIN: Final = 0.2
"""Seconds until the look that finds a change complete."""

_LOOK_AT_LEAST_EVERY: Final = 0.5
"""Seconds, where a look takes longer."""

_SHARE_OF_LOOKS: Final = 0.01
"""How much of a core looks take, where they are more frequent than that."""

_TELL_EVERY: Final = 0.5
"""Seconds between two looks at how far parsing is."""

_PATIENCE: Final = 300.0
"""Seconds until a start has failed whose emulator or API does not answer. Parsing is no part of it."""

_PATIENCE_IN_TROUBLE: Final = 60.0
"""Seconds, where a function has failed already."""

_LOOK_AT_DISK_EVERY: Final = 2.0
"""Seconds between two checks of the emulator's disk."""

_UNSAVED_LONG: Final = 60.0
"""Seconds of unsaved changes after which a warning is shown, and shown again."""

_LOOK_FOR_WAITING_EVERY: Final = 5.0
"""Seconds between two looks at the queue of tasks."""

WAITS_LONG: Final = 10.0
"""Seconds that a task may wait for a worker before the terminal says so."""

_TURN_OF_CUT_OFF: Final = timedelta(minutes=2)
"""How long a deployment that the end of the stack cut off keeps its turn."""

_STOP_PATIENCE: Final = 15.0


class LocalStackError(GustError):
    """The stack did not start or died; the message is for the person at the terminal."""


class LocalStack:
    """Started by `start`, ended by `stop`; both may be called once. `port` 0 takes a free one. `emulator` names the
    module that runs as the emulator's process; the benches put a meter in front of it. `parameters` override the
    template's. The emulator, its functions and their tasks inherit `environment`, without variables that lead to a real
    account. `configuration` is the document with Airflow's options. `workers` is the number of tasks at a time, by default
    from the machine's memory. With `real_aws`, tasks call AWS as this process would. On any `host` but 127.0.0.1 a login is
    demanded. `on_progress` gets lines for the person at the terminal."""

    def __init__(
        self,
        *,
        root: Path,
        data: Path,
        dags: Path | None,
        port: int = 0,
        host: str = "127.0.0.1",
        paused: bool = False,
        workers: int | None = None,
        real_aws: bool = False,
        emulator: str = "gust.local.emulator",
        parameters: Mapping[str, str] | None = None,
        environment: Mapping[str, str] = os.environ,
        configuration: str = "",
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._root = root
        self._data = data.resolve()
        self._dags = dags
        self._port = port
        self._door = FrontDoor(host)
        processors = os.cpu_count() or 1
        self.workers = workers or default_workers(psutil.virtual_memory().total, processors)
        """Tasks at the same time, at most."""
        triggerers = max(2, min(16, 2 * processors))
        processes_of = process_limits(self.workers, triggerers, processors)
        self._processes = {f"{deployment.STACK_NAME}-{name}": limit for name, limit in processes_of.items()}
        self._parameters = {
            "WorkerConcurrency": str(max(2, self.workers)),
            "TriggererConcurrency": str(triggerers),
            "ParserConcurrency": str(max(2, processors)),
            "DagsArePausedAtCreation": "true" if paused else "false",
            # Containers are processes here: they need no network of their own.
            "Fargate": "Enabled",
            "FargateSubnets": "subnet-of-this-machine",
            "FargateSecurityGroups": "sg-of-this-machine",
            "FargateX86Image": "this-machine" if this_architecture() == X86_64 else "",
            # Every bucket that sends events to EventBridge is watched.
            "Events": "Enabled",
            "WatchedBuckets": "*",
            **(parameters or {}),
            # Beyond this machine every caller needs a token. Not AWS_IAM: the emulator verifies no signature.
            "ApiAuthorization": "TOKEN" if self._door.demands_login else "NONE",
        }
        self._environment_around = environment
        self._configuration = configuration
        self._aws_of_tasks = own_aws_variables() if real_aws else None
        self._on_progress = on_progress
        self._emulator: subprocess.Popen[bytes] | None = None
        self._held = contextlib.ExitStack()
        self._folder: DagFolder | None = None
        self._parsing: ParseProgress | None = None
        self._building: BuildProgress | None = None
        self._deploy: Callable[[str], object] = lambda _: None
        """Starts a deployment of the folder, by the deployment's name."""
        self._tell_at = 0.0
        self._trouble: list[str] = []
        self._look_for_waiting_at = 0.0
        self._look_at_disk_at = 0.0
        self._unsaved_reported = 0.0
        self._trouble_reported = ""
        self._is_full = False
        self._emulator_module = emulator
        self._clients: dict[str, Any] = {}
        self._making_client = threading.Lock()
        self.endpoint = ""
        """Where the emulator answers, as AWS."""
        self.outputs: Mapping[str, str] = {}

    @property
    def url(self) -> str:
        """Where this machine finds the API."""
        return self._door.url(self._port) + self._base

    @property
    def public_url(self) -> str:
        """The URL for people who open it in a browser, perhaps on another machine."""
        return self._door.url(self._port, from_elsewhere=True) + self._base

    @property
    def _base(self) -> str:
        """A REST API's stage is in its paths, here as on AWS."""
        return "" if self._parameters.get("ApiEndpoint", "Http") == "Http" else "/airflow"

    @property
    def demands_login(self) -> bool:
        return self._door.demands_login

    @property
    def logs(self) -> Path:
        return self._data / "logs"

    def login_link(self, page: str = "/") -> str:
        """Lets one browser in as administrator, once, within a minute."""
        return sign_in.link(self.client("lambda"), self.public_url, page=page)

    def client(self, service: str) -> Any:
        """boto3 client of the emulator, the same for each call. Safe to use from several threads."""
        with self._making_client:
            if service not in self._clients:
                self._clients[service] = emulator_client(service, self.endpoint)
            return self._clients[service]

    def start(self) -> None:
        """Returns when the API answers; files are still being parsed then, and `run` tells how far that is. Raises
        InUseError, LocalStackError or DeploymentError."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._port = self._claim()
        left_over = processes.end_left_over(self._data)
        if left_over:
            what = "1 process" if left_over == 1 else f"{left_over} processes"
            self._on_progress(f"Ended {what} that a killed stack had left behind.")
        self._start_emulator()
        self._on_progress("Emulator is up. Deploying template.yaml …")
        deployed = deployment.deploy(self._root, self.client, {"BaseUrl": self.public_url} | self._parameters)
        self.outputs = deployed.outputs
        self._on_progress("Deployed." if deployed.changed else "Nothing to deploy: going on where it stopped.")
        self._control(f"open/{self.outputs['ApiId']}{'' if self._base else '/$default'}")
        self.configure(self._configuration)
        objects = S3Objects(self.outputs["BucketName"], self.client("s3"))
        store = DynamoDBStore(self.outputs["TableName"], self.client("dynamodb"), objects)
        if deployed.changed:
            self._update_worker_groups(store)
        self._parsing = ParseProgress(store, objects, self._on_progress)
        self._building = BuildProgress(objects, self._on_progress)
        machine = StepFunctionsDeployments(self.outputs["DeployBundleArn"], self.client("stepfunctions"))
        self._go_on_parsing(store, machine)
        self._deploy = lambda name: request_deployment(store, machine, name, datetime.now(UTC))
        if self._dags:
            self._folder = DagFolder(
                self._dags, self.client("s3"), self.outputs["BucketName"], on_progress=self._on_progress
            )
            self._folder.align()
            self._deploy_folder()
        self._warm()
        self._await(self._is_answering, "The API did not answer", meanwhile=self._tell_of_parsing)
        self._warm_workers()

    def run(self, stop: threading.Event) -> None:
        """Keep the folder in step, and tell of its parsing, until `stop` is set. Raises LocalStackError if the emulator
        dies."""
        pause = _LOOK_EVERY
        while not stop.wait(pause):
            pause = _LOOK_EVERY
            self._require_emulator()
            with self._trying_again():
                self._look_at_the_disk()
            if self._is_full:
                continue
            with self._trying_again():
                if self._folder:
                    pause = self._look_at(self._folder)
            self._tell_of_parsing()
            with self._trying_again():
                self._tell_of_waiting_tasks()

    def _look_at(self, folder: DagFolder) -> float:
        """Upload what has changed. Returns the seconds until the next look."""
        began = time.thread_time()
        if folder.look():
            self._deploy_folder()
            return _LOOK_EVERY
        if folder.is_unsettled:
            return _LOOK_AGAIN
        return min(_LOOK_AT_LEAST_EVERY, max(_LOOK_EVERY, (time.thread_time() - began) / _SHARE_OF_LOOKS))

    def _deploy_folder(self) -> None:
        """Have the uploaded files deployed at once. The bucket's own events come a second later, so that a burst of uploads
        makes one bundle; here the burst is over. The deployment that they ask for finds nothing new."""
        if self._parsing:
            self._parsing.expect()
        self._deploy(f"saved-{uuid.uuid4().hex}")

    def _tell_of_parsing(self) -> None:
        now = time.monotonic()
        if now < self._tell_at:
            return
        self._tell_at = now + _TELL_EVERY
        with self._trying_again():
            if self._building and self._parsing and self._parsing.is_expecting:
                self._building.look()
            if self._parsing:
                self._parsing.look()

    def _look_at_the_disk(self) -> None:
        """Report a full disk, and its end; then upload again what found no room."""
        now = time.monotonic()
        if now < self._look_at_disk_at:
            return
        self._look_at_disk_at = now + _LOOK_AT_DISK_EVERY
        state = self._control("storage")
        is_full = bool(state["full"])
        if is_full and not self._is_full:
            self._on_progress(
                f"The disk is full where {self._data} lies. What was acknowledged is stored; no change is accepted and no "
                f"task begun until {state['needed'] // 1_000_000} MB are free."
            )
        elif self._is_full and not is_full:
            if self._folder:
                self._folder.align()
                self._deploy_folder()
            self._on_progress("There is room on the disk again: going on.")
        elif state["unsaved"] > self._unsaved_reported + _UNSAVED_LONG and not is_full:
            self._on_progress(
                f"The state has not been saved for {state['unsaved']:.0f} s: kill -9 would lose that. See {self.logs}."
            )
            self._unsaved_reported = state["unsaved"]
        elif not state["unsaved"]:
            self._unsaved_reported = 0.0
        self._is_full = is_full

    @contextlib.contextmanager
    def _trying_again(self) -> Iterator[None]:
        """Report an error of the emulator (a busy machine, a full disk) and go on: the next round tries again. Raises
        LocalStackError if the emulator has ended."""
        try:
            yield
        except (ClientError, BotoCoreError, GustError, OSError, http.client.HTTPException) as problem:
            self._require_emulator()
            text = str(problem) or type(problem).__name__
            if text != self._trouble_reported and not self._is_full:
                self._trouble_reported = text
                self._on_progress(f"Trying again: {text}")

    def _tell_of_waiting_tasks(self) -> None:
        """Report why queued tasks do not start, once a minute."""
        now = time.monotonic()
        if now < self._look_for_waiting_at:
            return
        self._look_for_waiting_at = now + _LOOK_FOR_WAITING_EVERY
        queue = self.outputs["TaskQueueUrl"].rpartition("/")[2]
        waiting = self._control(f"waiting/{deployment.STACK_NAME}-worker/{queue}")
        if line := waiting_line(**waiting, workers=self.workers):
            self._on_progress(line)
            self._look_for_waiting_at = now + 60

    def stop(self) -> None:
        """End everything that this stack started; its state is saved. Calling it again does nothing."""
        emulator, self._emulator = self._emulator, None
        if emulator:
            with contextlib.suppress(OSError):
                emulator.stdin.close()  # type: ignore[union-attr]  # it was opened as a pipe
            try:
                emulator.wait(_STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                emulator.kill()
                emulator.wait()
            if emulator.returncode:
                self._on_progress(
                    "The state could not be saved at the end: what the last checkpoint does not hold is lost."
                )
            processes.end_left_over(self._data)
        self._held.close()

    def kill(self) -> None:
        """End everything as `kill -9` would: nothing is saved. For tests of what survives."""
        emulator, self._emulator = self._emulator, None
        if emulator:
            emulator.kill()
            emulator.wait()
        processes.end_left_over(self._data, grace=0)
        self._held.close()

    def configure(self, document: str) -> None:
        """Make it the stack's document with Airflow's options; the next deployment reads it."""
        put_configuration(self.client("ssm"), deployment.STACK_NAME, document)

    def checkpoint(self) -> None:
        """Save the state now instead of in a few seconds."""
        self._control("checkpoint")

    # -- starting ------------------------------------------------------------------------------------------------

    def _claim(self) -> int:
        """The data directory and the public port."""
        require_room(self._data)
        if self._port and not self._door.demands_login:
            processes.require_free(self._port)
        port = self._port or processes.free_port()
        self._door.listen(port).close()
        url = self._door.url(port, from_elsewhere=True)
        self._held.enter_context(processes.hold(self._data, url=url))
        return port

    def _start_emulator(self) -> None:
        checkpoints = checkpoint.Checkpoints(self._data / "state")
        newest = checkpoints.newest()
        port = self._emulator_port(newest)
        self.endpoint = f"http://127.0.0.1:{port}"
        temporary = self._data / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in (temporary, self.logs, *(self._data / name for name in ("state", "s3", "task-logs", "airflow"))):
            processes.private_folder(folder)
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
        with (self.logs / "emulator.log").open("wb") as output:
            self._emulator = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    self._emulator_module,
                    *("--port", str(port), "--data", str(self._data)),
                    *("--public-host", self._door.host, "--public-port", str(self._port)),
                    *("--processes", json.dumps(self._processes)),
                    *("--containers", str(self.workers)),
                ],
                stdin=subprocess.PIPE,  # closed by our end, however it comes: that is how the emulator learns of it
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(temporary),
                cwd=self._root,
                start_new_session=True,  # Ctrl-C is for us; the emulator is told in our own time
            )
        processes.remember_session(self._data, self._emulator.pid)
        self._await(self._emulator_answers, "The emulator did not start")

    def _emulator_port(self, newest: Path | None) -> int:
        """The one it had before where that is free: saved state holds it. Else the state is moved to another."""
        file = self._data / "port"
        before = int(file.read_text()) if file.exists() else None
        port = processes.free_port(before, except_=self._port)
        if newest and before and port != before:
            checkpoint.move_port(newest, before, port)
        processes.private_file(file).write_text(str(port))
        return port

    def _environment(self, temporary: Path) -> dict[str, str]:
        """What the emulator, its functions and their tasks see: nothing that leads to a real AWS account, but where
        tasks were given one."""
        environment = {
            name: value
            for name, value in self._environment_around.items()
            if not name.startswith(("AWS_", "AIRFLOW")) or name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_"))
        }
        return environment | {
            processes.MARK: str(self._data),
            "PYTHONPATH": str(
                self._root / "shared"
            ),  # the root's folders would be namespaces that DAG files can import
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(temporary),
            "AWS_ACCESS_KEY_ID": _ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Airflow writes a configuration file into its home on import.
            "AIRFLOW_HOME": str(self._data / "airflow"),
            "GUST_WEB": str(packed_web(self._root)),
            **({"GUST_AWS_OF_TASKS": json.dumps(self._aws_of_tasks)} if self._aws_of_tasks is not None else {}),
        }

    def _emulator_answers(self) -> bool:
        self._require_emulator()
        return self._get(self.endpoint, "/_ministack/health") is not None

    def _warm(self) -> None:
        """Cold starts now, side by side, instead of one after the other under the first run. Each function is given
        an event that means no work; the scheduler a tick, so that whatever became due while we were away is seen."""
        names = {
            "scheduler": _tick(),
            "execution-api": _request("/execution/health"),
            "api": _request("/api/v2/version"),
        }
        self._start_invoking(list(names.items()))

    def _warm_workers(self) -> None:
        """One for each processor, now that the rest has had its turn. They are called at the same time, because a call that
        finds a warm one starts no other."""
        self._start_invoking([("worker", {"Records": []})] * (os.cpu_count() or 1))

    def _start_invoking(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        for name, event in calls:
            arguments = f"{deployment.STACK_NAME}-{name}", event
            # Not waited for when the stack ends meanwhile: its client would try again for some seconds.
            threading.Thread(target=self._invoke, args=arguments, name=f"warm-{name}", daemon=True).start()

    def _invoke(self, function: str, event: Mapping[str, Any]) -> None:
        try:
            answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
        except (ClientError, BotoCoreError):
            return  # the emulator has ended, or is busy: `_await` tells what comes of it
        if answer.get("FunctionError"):
            self._trouble.append(f"{function} failed at its start: {answer['Payload'].read().decode()[:500]}")

    def _is_answering(self) -> bool:
        """Whether the API has the table and the scheduler has had its first tick. What is to be parsed, and runs that
        are overdue since the stack was last up, take as long as they take."""
        self._require_emulator()
        health = self._get(self._door.url(self._port), f"{self._base}/api/v2/monitor/health") or {}
        return all(health.get(part, {}).get("status") == "healthy" for part in ("metadatabase", "scheduler"))

    def _update_worker_groups(self, store: DynamoDBStore) -> None:
        """Groups that `./gust workers add --local` made run the code that was just deployed."""
        for group in store.list_worker_groups():
            if group.is_closing:
                continue
            of = worker_groups.find_deployment(self.client, deployment.STACK_NAME, this_architecture())
            template = partial(deployment.worker_group_template, self._root)
            store.register_worker_group(worker_groups.deploy(self.client, of, group.name, template, {}))

    def _go_on_parsing(self, store: DynamoDBStore, machine: StepFunctionsDeployments) -> None:
        """A deployment that the end of the stack cut off goes on under its own name, at once: what it had activated
        stays, and no upload waits until its turn has run out."""
        turn = store.deployment_turn()
        if turn is None or not turn.holder:
            return
        # Until a function has started, which takes a while on a busy machine, no upload takes the turn for a dead one's.
        until = datetime.now(UTC) + _TURN_OF_CUT_OFF
        with contextlib.suppress(Stale):
            store.move_deployment_turn(turn, replace(turn, until=until))
        machine.start(turn.holder)

    def _await(
        self, condition: Callable[[], bool], otherwise: str, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        started = time.monotonic()
        while not condition():
            patience = _PATIENCE_IN_TROUBLE if self._trouble else _PATIENCE
            if time.monotonic() > started + patience:
                trouble = "".join(f"\n  {line}" for line in self._trouble)
                raise LocalStackError(f"{otherwise} in {patience:.0f} seconds. See {self.logs}.{trouble}")
            meanwhile()
            time.sleep(0.1)

    def _require_emulator(self) -> None:
        if self._emulator and self._emulator.poll() is not None:
            raise LocalStackError(
                f"The emulator ended (exit code {self._emulator.returncode}): {self._last_line()} See {self.logs}."
            )

    def _last_line(self) -> str:
        """The last line that the emulator wrote."""
        lines = (self.logs / "emulator.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it wrote nothing."

    def _control(self, what: str) -> dict[str, Any]:
        host = self.endpoint.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", CONTROL + what)
            answer = connection.getresponse()
            if answer.status != 200:
                raise LocalStackError(f"The emulator could not do this: {what}. See {self.logs}.")
            return dict(json.loads(answer.read()))

    @staticmethod
    def _get(base: str, path: str) -> dict[str, Any] | None:
        """The JSON at `path`, `None` if there is none yet."""
        connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = json.loads(answer.read())
            return body if answer.status == 200 and isinstance(body, dict) else None
        return None


@contextlib.contextmanager
def running(**options: Any) -> Iterator[LocalStack]:
    stack = LocalStack(**options)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def own_aws_variables() -> dict[str, str]:
    """This process's variables of AWS's SDKs, which also read ~/.aws."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def waiting_line(*, number: int, seconds: float, busy: int, workers: int) -> str | None:
    """A line about queued tasks that no worker has taken; None where there are none or they have not waited long."""
    if not number or seconds < WAITS_LONG:
        return None
    what = "1 task waits" if number == 1 else f"{number} tasks wait"
    full = f"all {workers} run other tasks; `--workers N` lets more run at once"
    return f"{what} for a worker since {seconds:.0f} s: {full if busy >= workers else 'more workers are starting'}."


def emulator_variables(endpoint: str) -> dict[str, str]:
    """The variables by which AWS's SDKs find the emulator at `endpoint`."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_REGION": _REGION,
        "AWS_ACCESS_KEY_ID": _ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def emulator_client(service: str, endpoint: str) -> Any:
    """boto3 client of the emulator at `endpoint`."""
    return boto3.client(  # type: ignore[call-overload]  # its types want a literal
        service,
        endpoint_url=endpoint,
        region_name=_REGION,
        aws_access_key_id=_ACCOUNT,
        aws_secret_access_key="local",  # noqa: S106  the emulator checks none
        config=Config(retries={"mode": "standard", "max_attempts": 3}, read_timeout=120),
    )


def require_room(data: Path, *, megabytes: int = 200) -> None:
    """Raises LocalStackError if the disk is full, or the directory cannot be written to."""
    try:
        processes.private_folder(data, is_ours=False)
        free = shutil.disk_usage(data).free // 2**20
    except OSError as problem:
        raise LocalStackError(f"Cannot use {data}: {problem.strerror}.") from problem
    if free < megabytes:
        raise LocalStackError(f"Only {free} MB are free where {data} lies; the local stack wants {megabytes}.")


def _tick() -> dict[str, Any]:
    """What EventBridge sends every minute."""
    return {
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": _ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": _REGION,
        "resources": [],
        "detail": {},
    }


def _request(path: str) -> dict[str, Any]:
    """A GET as an HTTP API hands it to a function."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "requestContext": {"http": {"method": "GET", "path": path}, "stage": "$default"},
        "isBase64Encoded": False,
    }
