"""How long a warm worker takes for a task that does nothing, from message to report, with and without a control plane's
delay.

    python benches/warm_task.py [--tasks 20] [--answer-ms 0] [--shape fan_out [--width 1000]] [--parse-each] [--no-rehearsal]
        [--immortal] [--forks]

The worker is the real one: Airflow's supervisor, a forked child, a DAG file that is parsed in it. The execution API is
a function in this process that answers after `--answer-ms`; the log goes nowhere.
"""

from __future__ import annotations

import argparse
import compileall
import io
import json
import os
import resource
import statistics
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))

from gust import collector
from gust.airflow_bridge import immortal, warm

DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def noop():
    @task
    def task_00():
        return 1
    task_00()

noop()
"""

RUN: dict[str, Any] = {
    "dag_id": "",
    "run_id": "bench",
    "logical_date": None,
    "data_interval_start": None,
    "data_interval_end": None,
    "run_after": "2026-03-01T00:00:00Z",
    "start_date": "2026-03-01T00:00:00Z",
    "end_date": None,
    "run_type": "manual",
    "state": "running",
    "conf": {},
    "consumed_asset_events": [],
    "partition_key": None,
}


class ControlPlane:
    def __init__(self, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self.calls = 0
        self.reported = 0.0

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self._answer_seconds)
        self.calls += 1
        path = event["rawPath"]
        if path.endswith("/state"):
            self.reported = time.perf_counter()
        body = {"dag_run": RUN, "max_tries": 0, "should_retry": False} if path.endswith("/run") else {"message": "ok"}
        status = {"PATCH": 200 if path.endswith("/run") else 204}.get(event["requestContext"]["http"]["method"], 201)
        return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


class NoLog:
    def of_stream(self, name: str | None) -> NoLog:  # noqa: ARG002
        return self

    def put(self, line: bytes) -> None: ...

    def mark_end(self, ti_id: str, dispatch_count: int) -> None: ...

    def flush(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        return True


def pack(folder: Path, archive: Path) -> Path:
    """An environment's archive of the folder, with bytecode, as the builder stores it."""
    compileall.compile_dir(folder, quiet=2, workers=1)
    with zipfile.ZipFile(archive, "w") as into:
        for file in sorted(folder.rglob("*")):
            into.write(file, file.relative_to(folder))
    return archive


def prove(bundle: Path, workspace: Path, answer: int) -> None:
    """As the parser's child."""
    from gust.airflow_bridge.parse import proof_here, ready

    ready()  # what a parser has imported, a worker imports late
    os.write(answer, proof_here(bundle, "noop.py", workspace, None, ()))


def proof_of(bundle: Path, children: Any) -> Any:
    """Why each task must parse the file is printed."""
    from gust.airflow_bridge import surroundings
    from gust.model.same_parse import SameParse

    reading, writing = os.pipe()
    with surroundings.workspace("bench") as workspace:
        began = cpu_seconds(getattr(children, "pid", None))
        process = children.fork(partial(prove, bundle, workspace), [writing])
        os.close(writing)
        with open(reading) as told:
            found = json.loads(told.read() or '"its process ended"')
        process.wait(None)
        took = cpu_seconds(getattr(children, "pid", None)) - began
        print(f"watched: {took * 1000:.0f} ms of a core, {found if isinstance(found, str) else 'may be parsed once'}")
    return None if isinstance(found, str) else SameParse.model_validate(found)


def cpu_seconds(nursery: int | None) -> float:
    """Processor seconds of this process, the nursery, its preparers and their dead children: unlike wall time, they do not
    depend on the machine's load."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    if nursery is None:
        return own
    preparers = Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()
    ticks = 0
    for pid in (nursery, *preparers):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return own + ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--answer-ms", type=float, default=0.0)
    parser.add_argument("--shape", choices=["chain", "fan_out"], help="a task of this one of `benches/dags`")
    parser.add_argument("--width", type=int, default=100, help="tasks side by side in the file of `fan_out`")
    parser.add_argument(
        "--parse-each", action="store_true", help="each child parses the file ([gust] parse_once = False)"
    )
    parser.add_argument("--no-rehearsal", action="store_true")
    parser.add_argument("--forks", action="store_true", help="children are forks of the worker itself")
    parser.add_argument("--imports", nargs="*", default=[], metavar="MODULE", help="that the DAG file imports")
    parser.add_argument("--packages", type=Path, help="a folder that has them, as `pip install --target` makes it")
    parser.add_argument("--unprepared", action="store_true", help="each child makes its own imports")
    parser.add_argument("--immortal", action="store_true", help="as after many tasks: imported objects are immortal")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        collector.disable_gc()
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"
        os.environ["AIRFLOW__GUST__PARSE_ONCE"] = str(not options.parse_each)
        bundles = Path(folder) / "bundles"
        warm.set_environment(bundles)
        began = time.perf_counter()
        from gust.airflow_bridge import surroundings
        from gust.airflow_bridge.bundle import SealedBundleFolder
        from gust.airflow_bridge.execute import run_try
        from gust.airflow_bridge.nursery import Children, Forks, Nursery
        from gust.airflow_bridge.preparers import Preparers
        from gust.airflow_bridge.worker_ports import WorkerPorts
        from gust.aws.memory import MemoryObjects
        from gust.model import bucket_keys
        from gust.model.environment import ENVIRONMENTS_FILE, Environments
        from gust.model.workload import TaskWorkload

        if options.no_rehearsal:
            warm.import_once(warm.TASK_MODULES)
            collector.freeze_gc()
        else:
            warm.warm_up_for_tasks(bundles)
        print(f"cold start: {time.perf_counter() - began:.2f} s")
        nursery = None if options.forks else Nursery(surroundings.look_at_modules)
        children: Children = nursery or Forks()
        pid = nursery and nursery.pid
        source, dag_id = DAG, "noop"
        if options.shape:
            source = (Path(__file__).parent / "dags" / f"{options.shape}.py").read_text()
            source = source.replace("range(100)", f"range({options.width})")
            dag_id = f"bench_{options.shape}"
        RUN["dag_id"] = dag_id
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as into:
            into.writestr("noop.py", "".join(f"import {name}\n" for name in options.imports) + source)
            if options.packages:
                into.writestr(ENVIRONMENTS_FILE, Environments(of={"": "packages"}).model_dump_json())
        objects = MemoryObjects()
        objects.put(bucket_keys.bundle("bench"), archive.getvalue())
        if options.packages:
            packed = pack(options.packages, Path(folder) / "packages.zip")
            objects.put(bucket_keys.environment("packages"), packed.read_bytes())
        of_worker = SealedBundleFolder(objects, bundles)
        same = None if options.parse_each else proof_of(of_worker.fetch("bench"), children)
        control_plane = ControlPlane(options.answer_ms / 1000)
        ports = WorkerPorts(
            invoke=control_plane,
            objects=objects,
            bundles=of_worker,
            sink=NoLog(),
            remaining=900,
            children=children,
            preparers=None if nursery is None or options.unprepared else Preparers(nursery),
        )
        to_report, to_return, of_cpu = [], [], []
        for number in range(options.tasks + 1):
            if number == 1 and options.immortal:
                began = time.perf_counter()
                children.call(immortal.mark_all)
                print(f"made immortal: asked after {time.perf_counter() - began:.2f} s")
            workload = TaskWorkload(
                dag_id=dag_id,
                run_id="bench",
                task_id="task_00",
                map_index=number,
                try_number=1,
                dispatch_count=1,
                max_tries=0,
                version_number=1,
                bundle_name="dags-folder",
                bundle_version="bench",
                relative_fileloc="noop.py",
                queue="default",
                token="bench",  # noqa: S106
                same_parse=same,
            )
            started, cpu_before = time.perf_counter(), cpu_seconds(pid)
            run_try(workload, ports)
            if number + 1 == immortal.IMMORTALIZE_AFTER_TASKS and ports.preparers is not None:
                ports.preparers.mark()  # as a worker does
            to_return.append(time.perf_counter() - started)
            of_cpu.append(cpu_seconds(pid) - cpu_before)
            to_report.append(control_plane.reported - started)
    print(f"first: {to_report[0] * 1000:.0f} ms to its report")
    for name, all_times in {"to the report": to_report, "to the return": to_return, "of a core": of_cpu}.items():
        times = all_times[1:]
        print(
            f"{name}: mean {statistics.mean(times) * 1000:.1f} ms,"
            f" median {statistics.median(times) * 1000:.1f} ms, slowest {max(times) * 1000:.1f} ms"
            f" of {len(times)} warm tasks"
        )
    print(f"calls of the execution API per task: {control_plane.calls / len(to_report):.1f}")


if __name__ == "__main__":
    main()
