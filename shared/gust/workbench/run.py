"""`./gust run DAG [TASK]`: run one DAG, or one task of it, on this machine and to its end, with the log in the terminal.

The parser, the scheduler, the execution API and the worker are a stack's; what a stack keeps in AWS is in this process's
memory. A person who tries a DAG meets four differences: one task runs at a time and has the terminal, for `breakpoint()`; a
retry comes at once; pools and placement do not count; and the DAG's code runs where it lies, so that a debugger shows
the files that the person edits. Variables and connections come from the environment (`AIRFLOW_VAR_…`, `AIRFLOW_CONN_…`).
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from gust.airflow_bridge import surroundings, warm
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.callback import run_callback
from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.parse import put_parsed, ready
from gust.airflow_bridge.task_log import Sink
from gust.airflow_bridge.trigger import run_trigger
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.errors import GustError, Rejected, Stale
from gust.local.parsing import from_the_folder, in_a_line
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.execution_paths import BASE_PATH
from gust.model.keys import DagRunKey
from gust.model.state import FINISHED, DagRunState, DagRunTriggeredByType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import ForTriggerer, WatcherWorkload
from gust.services.deployments.deploy_bundle import manifest_of
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.scheduler.advance import advance
from gust.services.specs import load_spec
from gust.workbench.stack import WorkbenchStack
from gust.workbench.terminal import TerminalFile, TerminalLog, debugger_of

STARTS_OTHER_DAGS: Final = "TriggerDagRunOperator"

SHOWN_AFTER: Final = 2.0
"""Seconds without work after which the terminal says for what the run waits."""

ASKS_FOR_XCOM: Final = re.compile(rf"(?:GET|HEAD) {BASE_PATH}/xcoms/(?P<dag_id>[^/]+)/[^/]+/(?P<task_id>[^/]+)/")

PAUSE: Final = 0.1
"""Seconds between two looks for work."""


class WorkbenchError(GustError):
    """The DAG or the task cannot be run; the message is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Wanted:
    dag_id: str
    task_id: str | None = None
    """This task alone, whatever it waits for in the DAG."""
    with_upstream: bool = False
    """And all tasks before it."""
    conf: dict[str, Any] = field(default_factory=dict)
    logical_date: datetime | None = None
    retries: bool = True


@dataclass
class Workbench:
    folder: Path
    place: Path
    sink: Sink
    say: Callable[[str], None]
    after_try: Callable[[], None] = lambda: None
    """Called in this process after each child."""
    configuration: str = ""
    """The document with Airflow's options."""
    waiting: list[tuple[float, ForTriggerer]] = field(default_factory=list)
    """Triggers that sleep: until when, on the monotonic clock."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """The DAG's id with each of its tasks that do not run."""
    missed: set[str] = field(default_factory=set)
    """Ids of those for whose XComs a task has asked."""

    def __post_init__(self) -> None:
        self.stack = WorkbenchStack(self.place, self.say, self.configuration)
        self.services = self.stack.services

    def run(self, wanted: Wanted) -> DagRun:
        """Returns the finished run. Raises WorkbenchError; Rejected where Airflow refuses conf or date."""
        dag = self._find(wanted.dag_id)
        self._adapt(dag, wanted)
        run = create_dag_run(
            self.services,
            wanted.dag_id,
            conf=wanted.conf or None,
            logical_date=wanted.logical_date,
            triggered_by=DagRunTriggeredByType.CLI,
        )
        self._lay_open(run)
        finished = self._play(run.key)
        if self.missed:
            then = "run the whole DAG" if wanted.with_upstream else "give --upstream, too"
            self.say(
                f"{wanted.task_id} asked for XComs of {', '.join(sorted(self.missed))}, which did not run: {then}."
            )
        return finished

    def states(self, key: DagRunKey) -> list[TaskInstance]:
        """The run's instances, in the order in which they ended."""
        state = self.stack.store.load_run(key)
        found = list(state.instances.values()) if state else []
        last = datetime.max.replace(tzinfo=UTC)
        return sorted(found, key=lambda instance: (instance.end_date or last, instance.task_id, instance.map_index))

    # --- the DAG ------------------------------------------------------------------------------------------------------

    def _find(self, dag_id: str) -> Dag:
        """Parses the files that name the DAG, and the others only where those do not define it."""
        self.stack.upload(self.folder)
        named = [path for path in self._files() if dag_id in self._text(path)]
        for only in [named, None] if named else [None]:
            self.stack.deploy(only)
            if (dag := self.stack.store.get_dag(dag_id)) is not None:
                break
        else:
            errors = [in_a_line(found.filename, found.stack_trace) for found in self.stack.problems()]
            others = ", ".join(sorted(dag.dag_id for dag in self.stack.store.list_dags())) or "none"
            told = "".join(f"\n  import error: {error}" for error in errors)
            raise WorkbenchError(f"{self.folder} defines no DAG {dag_id}; it defines: {others}.{told}")
        for found in self.stack.problems():
            self.say(f"import error: {from_the_folder(found.stack_trace).strip()}")
        if dag.has_import_errors:
            raise WorkbenchError(f"{dag.relative_fileloc} has an import error, above.")
        if any(task.operator == STARTS_OTHER_DAGS for task in self._spec(dag).tasks.values()):
            self.stack.deploy()
        return dag

    def _files(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in sorted(self.folder.rglob("*")) if path.is_file()]

    def _text(self, path: str) -> str:
        return (self.folder / path).read_text(errors="replace") if path.endswith((".py", ".zip")) else ""

    def _spec(self, dag: Dag) -> DagSpec:
        return load_spec(self.stack.objects, dag.spec_key)

    def _adapt(self, dag: Dag, wanted: Wanted) -> None:
        """The scheduler sees the wanted tasks alone, and nothing for which this machine would have to wait."""
        dag = self.stack.store.get_dag(dag.dag_id) or dag
        spec = self._spec(dag)
        wanted_ids = kept(spec, wanted)
        self.left_out = frozenset((dag.dag_id, task_id) for task_id in spec.tasks if task_id not in wanted_ids)
        tasks = {
            task_id: _here(spec.tasks[task_id], wanted_ids, wanted) for task_id in spec.tasks if task_id in wanted_ids
        }
        adapted = spec.model_copy(update={"tasks": tasks, "dagrun_timeout": None})
        key = put_parsed(self.stack.objects, "specs", adapted.model_dump_json())
        self.stack.store.put_dag(dag, replace(dag, spec_key=key))

    def _lay_open(self, run: DagRun) -> None:
        """Lets children run the folder's own files: a link stands for the unpacked bundle. A bundle that has further files
        (of plugins.zip, startup.sh or requirements.txt) is unpacked."""
        manifest = manifest_of(self.stack.objects, str(run.bundle_version))
        is_plain = manifest is not None and not (
            manifest.environments.of or manifest.variables or manifest.from_plugins_zip
        )
        root = self.place / "run"
        root.mkdir()
        if is_plain:
            (root / str(run.bundle_version)).symlink_to(self.folder.resolve())
        self.ports = WorkerPorts(
            invoke=self._invoke,
            objects=self.stack.objects,
            bundles=InPlace(self.stack.objects, root) if is_plain else BundleFolder(self.stack.objects, root),
            sink=self.sink,
        )

    def _invoke(self, event: dict[str, Any]) -> Mapping[str, Any]:
        """The execution API, with a note of the XComs that cannot be there."""
        if asks := ASKS_FOR_XCOM.match(f"{event['requestContext']['http']['method']} {event['rawPath']}"):
            dag_id, task_id = unquote(asks["dag_id"]), unquote(asks["task_id"])
            if (dag_id, task_id) in self.left_out:
                self.missed.add(task_id)
        return self.stack.invoke(event)

    # --- the run ------------------------------------------------------------------------------------------------------

    def _play(self, key: DagRunKey) -> DagRun:
        idle_since, told = time.monotonic(), ""
        while True:
            for each in self._unfinished(key):
                advance(self.services, each)
            if self._work():
                idle_since = time.monotonic()
                continue
            run = self.stack.store.get_run(key)
            assert run is not None  # noqa: S101  nothing here deletes it
            if run.is_finished:
                return run
            self._require_hope(key)
            if time.monotonic() - idle_since > SHOWN_AFTER and (line := self._waits_for(key)) != told:
                told = line
                self.say(line)
            time.sleep(PAUSE)

    def _unfinished(self, key: DagRunKey) -> list[DagRunKey]:
        """The run, and those that its tasks have started."""
        runs = (run for dag in self.stack.store.list_dags() for run in self.stack.store.list_runs(dag.dag_id))
        return sorted(run.key for run in runs if not run.is_finished or run.key == key)

    def _work(self) -> bool:
        """Whether there was a message."""
        queues = self.stack.queues
        tasks, queues.tasks = queues.tasks, []
        callbacks, queues.callbacks = queues.callbacks, []
        now = time.monotonic()
        self.waiting += [(now + delay, workload) for workload, delay in queues.triggers]
        queues.triggers = []
        due = [workload for at, workload in self.waiting if at <= now]
        self.waiting = [(at, workload) for at, workload in self.waiting if at > now]
        for task in tasks:
            name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
            self.say(f"{task.dag_id}.{name}, try {task.try_number}")
            self._attend(run_try, task)
        for callback in callbacks:
            self.say(f"callback of {callback.dag_id}")
            self._attend(run_callback, callback)
        for trigger in due:
            if not isinstance(trigger, WatcherWorkload):
                self._attend(run_trigger, trigger)
        return bool(tasks or callbacks or due)

    def _attend(self, run: Callable[..., object], workload: object) -> None:
        try:
            with suppress(Stale):
                run(workload, self.ports)
        finally:
            self.after_try()

    def _require_hope(self, key: DagRunKey) -> None:
        asking = [found.task_id for found in self.states(key) if found.state is S.AWAITING_INPUT and not found.due_at]
        others = [found for found in self.states(key) if found.state not in FINISHED and found.task_id not in asking]
        if asking and not others:
            raise WorkbenchError(f"{', '.join(asking)} asks people a question; nothing answers here. Try ./gust local.")

    def _waits_for(self, key: DagRunKey) -> str:
        open_ = [found for found in self.states(key) if found.state is not None and found.state not in FINISHED]
        each = [
            f"{found.task_id} is {found.state}" + (f" until {found.due_at:%H:%M:%S} UTC" if found.due_at else "")
            for found in open_
        ]
        return f"waiting: {'; '.join(each) or 'no task can start'} (Ctrl-C ends it)"


@dataclass(frozen=True)
class InPlace(BundleFolder):
    """Bundles whose folder is a link to the person's own."""

    def fetch(self, version: str) -> Path:
        return (self.root / version).resolve()


def kept(spec: DagSpec, wanted: Wanted) -> Collection[str]:
    """The wanted tasks. Raises WorkbenchError."""
    if wanted.task_id is None:
        return spec.tasks
    if wanted.task_id not in spec.tasks:
        raise WorkbenchError(f"{spec.dag_id} has no task {wanted.task_id}; it has: {', '.join(spec.tasks)}.")
    found, left = set(), [wanted.task_id]
    while left:
        if (task_id := left.pop()) not in found:
            found.add(task_id)
            left += spec.tasks[task_id].upstream_task_ids if wanted.with_upstream else ()
    lengths = {source for task_id in found for source in _lengths_of(spec, task_id)}
    if lengths - found:
        raise WorkbenchError(
            f"What {', '.join(sorted(lengths - found))} returns decides how many instances {wanted.task_id} has: "
            "give --upstream, too."
        )
    return found


def _here(task: TaskSpec, kept: Collection[str], wanted: Wanted) -> TaskSpec:
    config = {name: value for name, value in task.executor_config.items() if name != "gust"}
    return task.model_copy(
        update={
            "upstream_task_ids": tuple(other for other in task.upstream_task_ids if other in kept),
            "downstream_task_ids": tuple(other for other in task.downstream_task_ids if other in kept),
            "retries": task.retries if wanted.retries else 0,
            "retry_delay": 0.0,
            "retry_exponential_backoff": 0.0,
            "max_retry_delay": None,
            "pool": "default_pool",
            "pool_slots": 1,
            "queue": "default",
            "executor": None,
            "executor_config": config,
            "execution_timeout": None,  # the task's own process keeps it; here it would choose a container
            "start_date": None,
            "end_date": None,
            "depends_on_past": False,
            "wait_for_downstream": False,
        }
    )


def _lengths_of(spec: DagSpec, task_id: str) -> frozenset[str]:
    """The tasks whose XComs decide how many instances the task has."""
    task = spec.tasks[task_id]
    expansions = [task.expansion, *(spec.task_groups[group].expansion for group in task.mapped_groups)]
    return frozenset(source for found in expansions if found is not None for source in found.upstream_task_ids())


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if not options.dags.is_dir():
        print(f"gust: {options.dags} is not a folder.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gust-run-", ignore_cleanup_errors=True) as place:
        root = Path(place).resolve()
        prepare(root / "run")
        debugger = debugger_of(sys.stdin, sys.stdout)
        debugger.install()
        bench = Workbench(
            folder=options.dags,
            place=root,
            sink=TerminalLog(sys.stdout),
            say=_say,
            after_try=debugger.give_back,
            configuration=options.options,
        )
        try:
            run = bench.run(_wanted(options))
        except (WorkbenchError, Rejected) as problem:
            print(f"gust: {problem}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ngust: interrupted.", file=sys.stderr)
            return 130
        for line in _told(run, bench.states(run.key)):
            print(line)
        return 0 if run.state is DagRunState.SUCCESS else 1


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gust run", description="Run one DAG, or one task of it, on this machine, without a stack."
    )
    parser.add_argument("dag_id", metavar="DAG")
    parser.add_argument("task_id", metavar="TASK", nargs="?", help="this task alone")
    parser.add_argument("--dags", type=Path, required=True, help="folder of DAG files")
    parser.add_argument("--upstream", action="store_true", help="with TASK: and all tasks before it")
    parser.add_argument("--conf", type=_json_object, default={}, metavar="JSON", help="the run's conf")
    parser.add_argument(
        "--param", type=_name_and_value, action="append", default=[], metavar="NAME=VALUE", help="one value of conf"
    )
    parser.add_argument(
        "--logical-date", type=_moment, metavar="DATE", help="e.g. 2026-03-01 or 2026-03-01T06:00+01:00"
    )
    parser.add_argument("--no-retries", action="store_true", help="the first failure of a task is its last")
    parser.add_argument("--options", default="", help="the document with Airflow's options")
    return parser


def prepare(bundles: Path) -> None:
    """Airflow, as in a worker whose bundles lie in that folder."""
    surroundings.share_aws()
    warm.set_environment(bundles)
    warm.import_once(warm.TASK_MODULES, TerminalFile(sys.stderr))
    ready()
    logging.getLogger("gust").setLevel(logging.WARNING)


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(
        dag_id=options.dag_id,
        task_id=options.task_id,
        with_upstream=options.upstream,
        conf={**options.conf, **dict(options.param)},
        logical_date=options.logical_date,
        retries=not options.no_retries,
    )


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object")
    return value


def _name_and_value(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError("NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a date, or a date with a time, of ISO 8601") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _say(line: str) -> None:
    print(f"gust: {line}", flush=True)


def _told(run: DagRun, instances: Sequence[TaskInstance]) -> list[str]:
    lines = [""]
    for found in instances:
        name = found.task_id if found.map_index < 0 else f"{found.task_id}[{found.map_index}]"
        took = (found.end_date - found.start_date).total_seconds() if found.start_date and found.end_date else None
        lines.append(f"  {found.state or 'no state':16} {name}" + (f"  ({took:.1f} s)" if took is not None else ""))
    return [*lines, f"{run.dag_id}, {run.run_id}: {run.state}"]


if __name__ == "__main__":
    sys.exit(main())
