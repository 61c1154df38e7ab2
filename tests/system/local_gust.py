"""A local stack to speak to in a test, in sentences.

    gust.upload("etl.py", TEXT)
    gust.await_dag("etl")
    run_id = gust.trigger("etl")
    gust.await_state("etl", run_id, "success", task="extract")
    assert "42 rows" in gust.logs("etl", run_id, "extract")

Nothing here sleeps for a fixed time: every verb that waits, waits for a named state and says what it saw instead.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from gust.aws.cipher import FernetCipher
from gust.aws.key_parameter import KeyParameter
from gust.aws.logs import CloudWatchLogReader
from gust.aws.objects import S3Objects
from gust.aws.queues import SqsQueues
from gust.aws.tokens import JwtTokens
from gust.local.dag_folder import DagFolder
from gust.local.stack import LocalStack
from gust.ports.clock import SystemClock
from gust.services.context import Services
from gust.store.dynamodb import DynamoDBStore
from tests.aws_like import calls
from tests.aws_like.holding import At, Held, Order
from tests.environment import of_a_user
from tests.oracle.drive import ApiClient, ApiError

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[2]
LINGERS: Final = 5.0
"""Seconds at most from a try's end to the last line of its log, where its worker lived to write it."""
FINISHED: Final = {"success", "failed", "skipped", "upstream_failed", "removed"}
PATIENCE: Final = 60.0
"""Seconds until a wait fails; ample on two busy cores."""


class AnyAirflow:
    """What people do and see on any server that speaks Airflow's REST API."""

    dags: Path
    api: ApiClient

    @property
    def url(self) -> str:
        return self.api.url

    def save(self, name: str, text: str) -> None:
        """Save a file in the DAG folder."""
        path = self.dags / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def upload(self, name: str, text: str) -> None:
        """Save a file in the DAG folder; it is on its way to the server when this returns."""
        self.save(name, text)

    # -- what people do --------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, *, run_id: str | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """The run's id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        answer = self.api.call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body=body)
        return str(answer["dag_run_id"])

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        self.api.call("PATCH", f"/api/v2/dags/{quote(dag_id)}", body={"is_paused": paused})

    # -- what they see ---------------------------------------------------------------------------------------------

    def await_dag(self, dag_id: str, *, within: float = PATIENCE, since: str | None = None) -> dict[str, Any]:
        """The DAG, once the API has it; with `since`, once it was parsed after that moment."""

        def look() -> dict[str, Any] | None:
            dag = self._find(f"/api/v2/dags/{quote(dag_id)}")
            return dag if dag and (since is None or dag["last_parsed_time"] > since) else None

        return self._await(look, within, lambda: f"{dag_id} is not there; import errors: {self.import_errors()}")

    def await_gone(self, dag_id: str, *, within: float = PATIENCE) -> None:
        """Until the API lists the DAG no more: its file is gone."""
        self._await(lambda: dag_id not in self.dag_ids() or None, within, lambda: f"{dag_id} is still there")

    def await_plugin(self, name: str, *, within: float = PATIENCE) -> None:
        """Until the API names it: a bundle's DAGs are there a moment before the bundle itself is the active one."""

        def names() -> set[str]:
            return {plugin["name"] for plugin in self.api.pages("/api/v2/plugins", "plugins")}

        self._await(lambda: name in names() or None, within, lambda: f"{name} is not among {names()}")

    def await_import_error(self, filename: str, *, within: float = PATIENCE) -> str:
        """The trace."""
        return self._await(
            lambda: self.import_errors().get(filename), within, lambda: f"no import error, but {self.import_errors()}"
        )

    def await_no_import_error(self, filename: str, *, within: float = PATIENCE) -> None:
        """A deployment deletes a file's import errors after it has stored its DAGs."""
        self._await(lambda: filename not in self.import_errors() or None, within, lambda: f"{self.import_errors()}")

    def await_variable(self, key: str, *, within: float = PATIENCE) -> str:
        """Its value, once a task or a callback has stored it."""
        path = f"/api/v2/variables/{quote(key)}"
        return str(self._await(lambda: self._find(path), within, lambda: f"no variable {key}")["value"])

    def await_state(
        self,
        dag_id: str,
        run_id: str,
        state: str,
        *,
        task: str | None = None,
        map_index: int = -1,
        within: float = PATIENCE,
    ) -> dict[str, Any]:
        """The run, or the task instance `task` of it, once it is in `state`. Fails at once where it ended otherwise."""
        path = self._path(dag_id, run_id, task, map_index)

        def look() -> dict[str, Any] | None:
            seen = self.api.call("GET", path)
            over = seen["state"] in FINISHED and (task is None or self.run(dag_id, run_id)["state"] in FINISHED)
            assert seen["state"] == state or not over, f"wanted {state}: {self.story(dag_id, run_id)}"
            return seen if seen["state"] == state else None

        return self._await(look, within, lambda: f"wanted {state} of {task or 'the run'}: {self.story(dag_id, run_id)}")

    def await_runs(self, dag_id: str, number: int, *, run_type: str, within: float = PATIENCE) -> list[dict[str, Any]]:
        """The runs of a type, once there are so many: an answered request may only have asked for them."""

        def runs() -> list[dict[str, Any]]:
            return self.api.pages(f"/api/v2/dags/{quote(dag_id)}/dagRuns", "dag_runs", run_type=run_type)

        def look() -> list[dict[str, Any]] | None:
            return seen if len(seen := runs()) >= number else None

        return self._await(look, within, lambda: f"wanted {number} {run_type} runs of {dag_id}: {runs()}")

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return self.api.call("GET", self._path(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return self.api.pages(f"{self._path(dag_id, run_id)}/taskInstances", "task_instances")

    def task_instance(self, dag_id: str, run_id: str, task: str, map_index: int = -1) -> dict[str, Any]:
        return self.api.call("GET", self._path(dag_id, run_id, task, map_index))

    def tries(self, dag_id: str, run_id: str, task: str, map_index: int = -1) -> list[dict[str, Any]]:
        """All tries of an instance, oldest first; the last is the one that it is in."""
        path = f"{self._path(dag_id, run_id, task, map_index)}/tries"
        return sorted(self.api.pages(path, "task_instances"), key=lambda each: each["try_number"])

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """By task id, `task_id[map_index]` where mapped."""
        return {_name(row): row["state"] for row in self.task_instances(dag_id, run_id)}

    def xcom(self, dag_id: str, run_id: str, task: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        path = f"{self._path(dag_id, run_id)}/taskInstances/{quote(task)}/xcomEntries/{quote(key, safe='')}"
        return self.api.call("GET", path, query={"map_index": map_index, "deserialize": True})["value"]

    def logs(self, dag_id: str, run_id: str, task: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """What one try printed, a line a line."""
        lines = self.log_lines(dag_id, run_id, task, try_number=try_number, map_index=map_index)
        return "\n".join(str(line["event"]) for line in lines)

    def log_lines(
        self, dag_id: str, run_id: str, task: str, *, try_number: int = 1, map_index: int = -1
    ) -> list[dict[str, Any]]:
        """One try's log with all its fields, as far as it has been written; of a try that has ended all of it: its last
        lines come a moment after the state."""
        path = f"{self._path(dag_id, run_id)}/taskInstances/{quote(task)}/logs/{try_number}"
        lines: list[dict[str, Any]] = []
        token = None
        until = time.monotonic() + LINGERS
        while True:
            query = {"map_index": map_index, "full_content": True} | ({"token": token} if token else {})
            answer = self.api.call("GET", path, query=query)
            lines += answer["content"]
            token = answer["continuation_token"]
            if token is not None and not answer["content"] and time.monotonic() < until:
                tries = {each["try_number"]: each["state"] for each in self.tries(dag_id, run_id, task, map_index)}
                if tries.get(try_number) in FINISHED | {"up_for_retry"}:
                    time.sleep(0.1)
                    continue
            if token is None or not answer["content"]:
                return lines

    def await_log(
        self, dag_id: str, run_id: str, task: str, text: str, *, try_number: int = 1, within: float = PATIENCE
    ) -> str:
        """The try's log, once it has the text."""

        def look() -> str | None:
            log = self.logs(dag_id, run_id, task, try_number=try_number)
            return log if text in log else None

        return self._await(look, within, lambda: self.logs(dag_id, run_id, task, try_number=try_number))

    def await_connection_test(self, token: str, *, within: float = PATIENCE) -> dict[str, Any]:
        """What came of an enqueued test of a connection."""

        def look() -> dict[str, Any] | None:
            seen = self.api.ask("/api/v2/connections/enqueue-test", headers={"Airflow-Connection-Test-Token": token})
            return seen if seen["state"] in ("success", "failed") else None

        return self._await(look, within, lambda: "the connection's test has not ended")

    def import_errors(self) -> dict[str, str]:
        """File → trace."""
        rows = self.api.pages("/api/v2/importErrors", "import_errors")
        return {row["filename"]: row["stack_trace"] for row in rows}

    def dag_ids(self) -> set[str]:
        return {row["dag_id"] for row in self.api.pages("/api/v2/dags", "dags")}

    def story(self, dag_id: str, run_id: str) -> str:
        """What a person needs who reads a failed test."""
        rows = self.task_instances(dag_id, run_id)
        told = [f"{_name(row)} {row['state']} (try {row['try_number']})" for row in rows]
        return f"{dag_id}/{run_id} is {self.run(dag_id, run_id)['state']}: {', '.join(told)}"

    # -- how -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _path(dag_id: str, run_id: str, task: str | None = None, map_index: int = -1) -> str:
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"
        if task is None:
            return path
        return f"{path}/taskInstances/{quote(task)}" + (f"/{map_index}" if map_index >= 0 else "")

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.api.call("GET", path)
        except ApiError as error:
            if " 404 " in str(error):
                return None
            raise
        return found

    @staticmethod
    def _await(look: Callable[[], T | None], within: float, otherwise: Callable[[], str]) -> T:
        deadline = time.monotonic() + within
        while (seen := look()) is None:
            assert time.monotonic() < deadline, f"after {within:.0f} s: {otherwise()}"
            time.sleep(0.1)
        return seen


class LocalGust(AnyAirflow):
    """Its functions have the rights of their roles and AWS's limits (`tests/aws_like`): what AWS would refuse fails the
    test, at the latest at `stop` or `kill`."""

    def __init__(self, data: Path, dags: Path, *, means_to_refuse: str = "", **options: Any) -> None:
        """`means_to_refuse`: pattern of resources' ARNs that the test has AWS refuse."""
        self.data = data
        self.dags = dags
        self._means_to_refuse = means_to_refuse
        self._options = {"environment": of_a_user(), "emulator": calls.EMULATOR, **options}
        dags.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        calls.begin(self.data)
        self.stack = LocalStack(root=ROOT, data=self.data, dags=self.dags, **self._options)
        self.stack.start()
        self.api = ApiClient(self.stack.url)
        self._folder = DagFolder(self.dags, self.stack.client("s3"), self.stack.outputs["BucketName"])
        self._folder.align()

    def stop(self) -> None:
        self.api.close()
        self.stack.stop()
        calls.look_at(self.data, means_to_refuse=self._means_to_refuse)

    def kill(self) -> None:
        """`kill -9` of everything, as a power cut would."""
        self.api.close()
        self.stack.kill()
        calls.look_at(self.data, means_to_refuse=self._means_to_refuse)

    @property
    def emulator(self) -> int:
        """Process id of the emulator, whose children the functions are."""
        assert self.stack._emulator is not None
        return self.stack._emulator.pid

    def holding(self, method: str, path: str, *, at: At, text: str = "") -> Held:
        """A context in which the first such request of a function stands still, from `wait` to the context's end."""
        return Held(self.data, Order(method, path, at, text))

    def upload(self, name: str, text: str) -> None:
        """Save a file in the DAG folder; it is on its way to the bucket when this returns."""
        super().upload(name, text)
        self._folder.align()

    def delete(self, name: str) -> None:
        (self.dags / name).unlink()
        self._folder.align()

    def services(self) -> Services:
        """The verbs' view of the running stack, for what no person does: looking into the table, sending a message."""
        client = self.stack.client
        objects = S3Objects(self.stack.outputs["BucketName"], client("s3"))

        def keys(of: str) -> str:
            return KeyParameter(self.stack.outputs[of], client("ssm")).read().text

        return Services(
            store=DynamoDBStore(self.stack.outputs["TableName"], client("dynamodb"), objects),
            objects=objects,
            queues=SqsQueues(
                client("sqs"),
                task_queue_url=self.stack.outputs["TaskQueueUrl"],
                trigger_queue_url=self.queue_url("TriggersQueue"),
                wake_queue_url=self.queue_url("WakesQueue"),
            ),
            tokens=JwtTokens(lambda: keys("SigningKeys")),
            clock=SystemClock(),
            logs=CloudWatchLogReader(self.stack.outputs["TaskLogGroup"], client("logs")),
            cipher=FernetCipher(lambda: keys("EncryptionKeys")),
        )

    def queue_url(self, name: str) -> str:
        """Of the queue that template.yaml calls so."""
        urls = self.stack.client("sqs").list_queues()["QueueUrls"]
        (url,) = [url for url in urls if f"-{name}-" in url or url.endswith(f"-{name}")]
        return str(url)

    def story(self, dag_id: str, run_id: str) -> str:
        return f"{super().story(dag_id, run_id)}; logs in {self.stack.logs}"


def _name(row: Mapping[str, Any]) -> str:
    return row["task_id"] if row["map_index"] < 0 else f"{row['task_id']}[{row['map_index']}]"
