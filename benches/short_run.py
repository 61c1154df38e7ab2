"""A run of the short bench, in this process. Imported after Airflow's settings are made (`benches.short`)."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import deque
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from aws_lambda_powertools import Logger

from benches.warm_task import NoLog, cpu_seconds
from gust.airflow_bridge import parse
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.nursery import Nursery
from gust.airflow_bridge.preparers import Preparers
from gust.airflow_bridge.settings_reader import nothing_stored
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.execution_api.app import ExecutionApi
from gust.model import bucket_keys
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunTriggeredByType
from gust.model.workload import TaskWorkload
from gust.ports.clock import SystemClock
from gust.scheduling.quick_look import SUCCEEDED, Change
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.scheduler.advance import advance
from gust.services.scheduler.follow import follow
from gust.store.memory import MemoryStore

COMPILED: Final = Path(json.__file__).with_name("decoder.py").read_text()
"""What a child of the reference compiles, some times over."""
TIMES: Final = 4


class Run:
    """Of the file's DAG, from its first look on. Tasks are worked off one after the other."""

    def __init__(self, bundles: Path, file: Path, nursery: Nursery) -> None:
        self.nursery, self.preparers = nursery, Preparers(nursery)
        self.store, self.queues, self.objects = MemoryStore(), MemoryQueues(), MemoryObjects()
        self.services = Services(
            store=self.store,
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=SystemClock(),
            logs=None,  # type: ignore[arg-type]  # no call reads logs here
        )
        self.api = ExecutionApi(self.services, log=Logger(service="short_bench", stream=io.StringIO()))
        self.bundles = BundleFolder(self.objects, bundles)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as into:
            into.writestr(file.name, file.read_text())
        version = uuid4().hex
        self.objects.put(bucket_keys.bundle(version), archive.getvalue())
        bundle = self.bundles.fetch(version)
        outcome = parse.parse_in_environment(self.bundles, bundle, file.name, "dags-folder", nothing_stored)
        (parsed,) = outcome.dags
        spec = DagSpec.model_validate_json(self.objects.get(parsed.spec_key))
        dag = Dag(
            dag_id=spec.dag_id,
            version_number=1,
            spec_key=parsed.spec_key,
            bundle_version=version,
            relative_fileloc=spec.relative_fileloc,
            max_active_tasks=spec.max_active_tasks,
        )
        self.store.put_dag(None, dag)
        by = DagRunTriggeredByType.REST_API
        self.key = create_dag_run(self.services, spec.dag_id, run_id="r", triggered_by=by).key
        self.waiting: deque[TaskWorkload] = deque()

    def play(self, tasks: int) -> float:
        """Seconds of a processor for each of the run's first tasks: of this process, the nursery and all children."""
        began, done = cpu_seconds(self.nursery.pid), 0
        advance(self.services, self.key)
        while done < tasks:
            self.waiting += self.queues.tasks
            self.queues.tasks.clear()
            workload = self.waiting.popleft()
            run_try(workload, self.ports())
            done += 1
            change = Change(workload.task_id, workload.map_index, SUCCEEDED, workload.dispatch_count)
            follow(self.services, self.key, [change])
        return (cpu_seconds(self.nursery.pid) - began) / done

    def ports(self) -> WorkerPorts:
        return WorkerPorts(
            invoke=self.invoke,
            objects=self.objects,
            bundles=self.bundles,
            sink=NoLog(),
            remaining=900,
            children=self.nursery,
            preparers=self.preparers,
        )

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(json.dumps(self.api(json.loads(json.dumps(event)), None))))


def reference(children: int) -> float:
    """Seconds of a processor for a fork of this process that compiles a file."""
    began = cpu_seconds(None)
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            for _ in range(TIMES):
                compile(COMPILED, "decoder.py", "exec")
            os._exit(0)
        os.waitpid(pid, 0)
    return (cpu_seconds(None) - began) / children
