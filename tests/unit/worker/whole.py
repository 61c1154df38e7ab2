"""Gust in one process: the parser, the scheduler, the execution API over a store in memory, and workers whose children are
real. It lacks AWS, and it never waits, because tests move its clock."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from aws_lambda_powertools.logging import Logger

from gust.airflow_bridge import parse
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.callback import run_callback
from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.nursery import Children, Forks
from gust.airflow_bridge.preparers import Preparers
from gust.airflow_bridge.settings_reader import nothing_stored
from gust.airflow_bridge.trigger import run_trigger
from gust.airflow_bridge.watcher import run_watcher
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues, MemorySecrets
from gust.aws.tokens import JwtTokens
from gust.errors import Stale
from gust.execution_api.app import ExecutionApi
from gust.model import bucket_keys
from gust.model.bundle import version_of
from gust.model.callback import Callback
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.environment import ENVIRONMENTS_FILE, OPTIONS_FILE, VARIABLES_FILE, Environments
from gust.model.keys import DagRunKey
from gust.model.state import DagRunTriggeredByType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import TellListeners, WatcherWorkload
from gust.services.assets.tell_listeners import have_worker_tell
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.scheduler.advance import advance
from gust.services.settings.options import keep_options
from gust.store.memory import MemoryStore
from tests.unit.worker.control_plane import Lines


@dataclass
class ShiftedClock:
    """The wall clock, which workers see too, ahead by as much as the test has waited."""

    shift: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(tz=UTC) + self.shift

    def advance(self, seconds: float) -> None:
        self.shift += timedelta(seconds=seconds)


@dataclass
class Whole:
    root: Path
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    queues: MemoryQueues = field(default_factory=MemoryQueues)
    secrets: MemorySecrets = field(default_factory=MemorySecrets)
    log: Lines = field(default_factory=Lines)
    children: Children = field(default_factory=Forks)
    preparers: Preparers | None = None
    services: Services = field(init=False)
    specs: dict[str, DagSpec] = field(default_factory=dict)
    serialized: dict[str, str] = field(default_factory=dict)
    """By dag_id: where Airflow's own form of the DAG lies."""
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Folder → files of the packages that its `requirements.txt` gave, for the next upload."""

    environment_size: int = 0
    """Bytes, unpacked, that the bundle says of each."""

    others: dict[str, str] = field(default_factory=dict)
    """Path → text of files that are not parsed, for the next upload."""

    variables: dict[str, str] = field(default_factory=dict)
    """What the bucket's `startup.sh` exports, for the next upload."""

    options: dict[str, str] = field(default_factory=dict)
    """Airflow's options, for the next upload; functions without a bundle have them at once."""

    is_watched: bool = False
    """The parser watches each file, as it does files of many tasks."""

    def __post_init__(self) -> None:
        self.services = Services(
            store=self.store,
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=self.clock,
            logs=None,  # type: ignore[arg-type]  # nobody reads logs here
            cipher=FernetCipher(lambda: "a key of the stack"),
            secrets=self.secrets,
        )
        self.api = ExecutionApi(self.services, log=Logger(service=f"whole-{id(self)}", stream=io.StringIO()))
        self.bundles = BundleFolder(self.objects, self.root)

    # --- what a person does -------------------------------------------------------------------------------------------

    def upload(self, **files: str) -> None:
        """Files of a bundle, by name without `.py` (`__` stands for `/`); all DAGs in them get their first version."""
        version = uuid.uuid4().hex
        keep_options(self.store, self.options)
        names = {f"{name.replace('__', '/')}.py": text for name, text in files.items()}
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as into:
            for name, text in (names | self.others).items():
                into.writestr(name, text)
            of = {folder: self.pack(packages) for folder, packages in self.environments.items()}
            into.writestr(VARIABLES_FILE, json.dumps(self.variables))
            into.writestr(OPTIONS_FILE, json.dumps(self.options))
            sizes = dict.fromkeys(of.values(), self.environment_size)
            into.writestr(ENVIRONMENTS_FILE, Environments(of=of, sizes=sizes).model_dump_json())
        self.objects.put(bucket_keys.bundle(version), archive.getvalue())
        bundle = self.bundles.fetch(version)
        for name in names:
            specs = dict[str, str]()
            outcome = parse.parse_in_environment(self.bundles, bundle, name, "dags-folder", nothing_stored, specs=specs)
            assert not outcome.import_errors, outcome.import_errors
            if self.is_watched:
                specs |= {dag.spec_key: self.objects.get(dag.spec_key).decode() for dag in outcome.dags}
                outcome = parse.with_proof(self.bundles, bundle, outcome, specs, timeout=60)
            for parsed in outcome.dags:
                spec = DagSpec.model_validate_json(self.objects.get(parsed.spec_key))
                self.specs[spec.dag_id] = spec
                self.serialized[spec.dag_id] = parsed.serialized_key
                self.store.put_dag(
                    self.store.get_dag(spec.dag_id),
                    Dag(
                        dag_id=spec.dag_id,
                        version_number=1,
                        spec_key=parsed.spec_key,
                        bundle_version=version,
                        relative_fileloc=spec.relative_fileloc,
                        max_active_runs=spec.max_active_runs,
                    ),
                )

    def pack(self, files: dict[str, str]) -> str:
        """An environment's archive, as the builder stores it; returns its hash."""
        name = version_of({path: sha256(text.encode()).hexdigest() for path, text in files.items()})
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for path, text in files.items():
                entry = zipfile.ZipInfo(path)
                entry.external_attr = (0o755 if path.startswith("bin/") else 0o644) << 16
                archive.writestr(entry, text)
        self.objects.put(bucket_keys.environment(name), body.getvalue())
        return name

    def trigger(self, dag_id: str = "d", run_id: str = "r", **asked: Any) -> DagRunKey:
        run = create_dag_run(self.services, dag_id, run_id=run_id, triggered_by=DagRunTriggeredByType.REST_API, **asked)
        return run.key

    # --- what happens by itself ---------------------------------------------------------------------------------------

    def work(self, key: DagRunKey) -> DagRun:
        """Decide and carry out until nothing is on a queue any more."""
        advance(self.services, key)
        while self.queues.tasks or self.queues.callbacks or self.queues.triggers:
            self.run_tasks()
            self.run_callbacks()
            self.run_triggers()
            advance(self.services, key)
        return self.run(key)

    def run_tasks(self) -> None:
        workloads, self.queues.tasks = self.queues.tasks, []
        for workload in workloads:
            try:
                run_try(workload, self.ports(remaining=None))
            except Stale:
                continue

    def run_callbacks(self) -> None:
        workloads, self.queues.callbacks = self.queues.callbacks, []
        for workload in workloads:
            try:
                run_callback(workload, self.ports())
            except Stale:
                continue

    def tell_listeners(self) -> None:
        """Of what no run owes them."""
        for wake in [wake for wake, _ in self.queues.wakes if isinstance(wake, TellListeners)]:
            have_worker_tell(self.services, wake)
        self.queues.wakes.clear()
        self.run_callbacks()

    def run_triggers(self) -> None:
        workloads, self.queues.triggers = self.queues.triggers, []
        for workload, delay in workloads:
            self.clock.advance(delay)
            with suppress(Stale):
                if isinstance(workload, WatcherWorkload):
                    run_watcher(workload, self.ports(), now=self.clock.now)
                else:
                    run_trigger(workload, self.ports(), now=self.clock.now)

    def ports(self, remaining: float | None = 60) -> WorkerPorts:
        return WorkerPorts(
            invoke=self.invoke,
            objects=self.objects,
            bundles=self.bundles,
            sink=self.log,
            remaining=remaining,
            children=self.children,
            preparers=self.preparers,
        )

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """As Lambda does: what does not survive being JSON does not arrive."""
        return dict(json.loads(json.dumps(self.api(json.loads(json.dumps(event)), None))))

    # --- what there is ------------------------------------------------------------------------------------------------

    def run(self, key: DagRunKey) -> DagRun:
        run = self.store.get_run(key)
        assert run is not None
        return run

    def instance(self, key: DagRunKey, task_id: str, map_index: int = -1) -> TaskInstance:
        instance = self.store.get_instance(key.task_instance(task_id, map_index))
        assert instance is not None
        return instance

    def state(self, key: DagRunKey, task_id: str, map_index: int = -1) -> S | None:
        instance = self.store.get_instance(key.task_instance(task_id, map_index))
        return instance.state if instance else None

    def callbacks(self, key: DagRunKey) -> dict[str, Callback]:
        return {callback.callback_id: callback for callback in self.store.list_callbacks(key)}

    def said(self, prefix: str) -> list[str]:
        """Lines of the log that begin so, in order, without the beginning."""
        lines = [str(line["event"]) for line in self.log.lines]
        return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
