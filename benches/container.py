"""How long a task that does nothing takes from the scheduler's message to its start: in a Lambda worker, and in a container.

    python -m benches.container [--repeat 5]      # needs PYTHONPATH=shared; half a minute

Both run as processes of the local stack. So the container's row has the state machine, RunTask, the container's entry and
its imports, and lacks what AWS adds: the network interface and the image, or the layers that AWS's own image fetches.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from benches.measure import run_once
from gust.local.stack import running
from tests.oracle.drive import ApiClient, await_dags, run_path

ROOT = Path(__file__).parents[1]
WHERE = {"on_lambda": "default", "on_fargate": "fargate"}
DAG = """
from airflow.sdk import dag, task

for dag_id, queue in {where}.items():
    @dag(dag_id, schedule=None)
    def nothing():
        @task(queue=queue)
        def noop():
            return 1
        noop()
    nothing()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each (default 5), after one that does not count")
    for dag_id, waits in measure(parser.parse_args().repeat).items():
        print(row(dag_id, waits), flush=True)


def measure(repeat: int) -> dict[str, list[float]]:
    """Where a task runs → the seconds from message to start of each run but the first."""
    with tempfile.TemporaryDirectory(prefix="gust-bench-") as data, tempfile.TemporaryDirectory() as dags:
        (Path(dags) / "nothing.py").write_text(DAG.replace("{where}", repr(WHERE)))
        with running(root=ROOT, data=Path(data), dags=Path(dags)) as stack:
            client = ApiClient(stack.url)
            await_dags(client, list(WHERE))
            found: dict[str, list[float]] = {}
            for dag_id in WHERE:
                client.call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})
                found[dag_id] = [wait(client, dag_id, f"bench_{number}") for number in range(repeat + 1)][1:]
            client.close()
    return found


def row(dag_id: str, waits: list[float]) -> str:
    shown = ", ".join(f"{seconds:.2f}" for seconds in sorted(waits))
    return f"{dag_id}: {median(waits):.2f} s from message to start (median of {shown})"


def wait(client: ApiClient, dag_id: str, run_id: str) -> float:
    """Seconds from `queued_when` to `start_date` of the run's task."""
    run_once(client, dag_id, run_id)
    (row,) = client.pages(f"{run_path(dag_id, run_id)}/taskInstances", "task_instances")
    return (_moment(row["start_date"]) - _moment(row["queued_when"])).total_seconds()


def _moment(value: Any) -> datetime:
    return datetime.fromisoformat(value)


if __name__ == "__main__":
    main()
