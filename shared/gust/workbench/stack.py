"""A stack in this process: the services of a real one, over memory. It keeps nothing, and ends with the process."""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aws_lambda_powertools import Logger

from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.parse import parse_batch
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryConfiguration, MemoryEventBus, MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.environment_builder.build import build, refuse
from gust.environment_builder.index_variables import index_variables
from gust.environment_builder.uv import Refused, Uv
from gust.execution_api.app import ExecutionApi
from gust.local.building import sentence
from gust.local.dag_folder import files_of, key_of
from gust.model.bundle import ImportProblem
from gust.model.deployment import Plan
from gust.model.environment import Build
from gust.ports.clock import SystemClock
from gust.services.context import Services
from gust.services.deployments.activate_bundle import activate
from gust.services.deployments.deploy_bundle import snapshot
from gust.store.memory import MemoryStore

DEPLOYMENT: Final = "workbench"

LARGEST_ENVIRONMENT: Final = 2048 * 1_000_000 * 2 // 5
"""Bytes that an environment may take on a stack whose TaskStorage is the template's."""

BUILDS_FOR: Final = 300.0
"""Seconds for one command of uv."""


class NoLogs:
    """Implements `ports.LogReader`: lines of tasks go to the terminal, and none is kept."""

    def read_try(self, *_: Any, **__: Any) -> tuple[list[dict[str, Any]], str | None]:
        return [], None

    def where(self, *_: Any) -> list[str]:
        return []


def _silent() -> Logger:
    """Airflow's handler of this process would write the lines to the terminal."""
    log = Logger(service="workbench", stream=io.StringIO())
    logging.getLogger("workbench").propagate = False
    return log


@dataclass
class WorkbenchStack:
    """`place` takes unpacked bundles and environments; it belongs to this stack alone. `say` gets lines for the person at
    the terminal."""

    place: Path
    say: Callable[[str], None] = lambda _: None
    configuration: str = ""
    """The document with Airflow's options."""
    store: MemoryStore = field(default_factory=MemoryStore)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    queues: MemoryQueues = field(default_factory=MemoryQueues)
    left_out: dict[str, str] = field(default_factory=dict)
    """File of the folder that no bundle takes → why."""

    def __post_init__(self) -> None:
        self.services = Services(
            store=self.store,
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "the tokens of this process leave it for its children alone"),
            clock=SystemClock(),
            logs=NoLogs(),
            cipher=FernetCipher(lambda: "nothing of this process is stored"),
            configuration=MemoryConfiguration(self.configuration),
            event_bus=MemoryEventBus(),
        )
        self.api = ExecutionApi(self.services, log=_silent())
        self.bundles = BundleFolder(self.objects, self.place / "bundles")

    def invoke(self, event: dict[str, Any]) -> Mapping[str, Any]:
        """The execution API, as Lambda invokes it: event and answer are JSON."""
        return dict(json.loads(json.dumps(self.api(json.loads(json.dumps(event)), None))))

    def upload(self, folder: Path) -> int:
        """Put the files of the folder, and those beside it that belong to the bucket's root, into the bucket; returns how
        many. Files that `./gust local` does not upload stay behind here, too."""
        names = [name for name, _ in files_of(folder, self.left_out.__setitem__)]
        for name in names:
            try:
                self.objects.put(key_of(name), (folder / name).read_bytes())
            except OSError as problem:
                self.left_out[name] = problem.strerror or str(problem)
        return len(names)

    def deploy(self, only: Collection[str] | None = None) -> None:
        """What the state machine deploy_bundle does: build environments, parse, activate, until nothing is left. With
        `only`, parse those files of the folder and no others."""
        while (taken := snapshot(self.services, DEPLOYMENT, parsers=1)).changed:
            for order in taken.builds:
                self._build(order)
            if taken.builds:
                continue
            assert taken.plan is not None  # noqa: S101  it has changed, and nothing is to be built
            if only is not None:
                self._keep_to(only, taken.plan)
            self._parse(taken.plan)
            activate(self.services, taken.plan, DEPLOYMENT, paused_at_creation=False)
            if only is not None:
                return

    def problems(self) -> list[ImportProblem]:
        """Import errors, by file."""
        return sorted(self.store.list_import_problems(), key=lambda problem: problem.filename)

    def _build(self, order: Build) -> None:
        self.say(f"installing the packages of {order.file} …")
        began = time.monotonic()
        try:
            uv = Uv(patience=BUILDS_FOR, variables=index_variables("", os.environ))
        except Refused as refused:
            built = refuse(self.objects, order, str(refused))
        else:
            built = build(self.objects, order, uv, largest=LARGEST_ENVIRONMENT)
        self.say(sentence(built, time.monotonic() - began))

    def _keep_to(self, only: Collection[str], plan_key: str) -> None:
        plan = Plan.model_validate_json(self.objects.get(plan_key))
        files = [path for batch in plan.batches for path in batch]
        kept = plan.model_copy(
            update={
                "batches": (tuple(path for path in files if path in only),),
                "waiting": (*plan.waiting, *(path for path in files if path not in only)),
            }
        )
        self.objects.put(plan_key, kept.model_dump_json().encode())

    def _parse(self, plan_key: str) -> None:
        plan = Plan.model_validate_json(self.objects.get(plan_key))
        for number in range(len(plan.batches)):
            while not parse_batch(self.objects, plan_key, number, folder=self.bundles.root, invoke=self.invoke):
                """It goes on where it stopped."""
