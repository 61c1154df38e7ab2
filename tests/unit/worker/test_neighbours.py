"""Two DAGs of two teams on one worker, one after the other: the second looks for all that the first had, and the worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]
WORKERS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN_OF_A = "token-of-team-a-" + "1" * 60
VARIABLE_OF_A = "variable-of-team-a-" + "2" * 60
FILE_OF_A = "file-of-team-a-" + "3" * 60

WORKER = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from gust.airflow_bridge import own_credentials, surroundings, warm
credentials = own_credentials.hide()
bundles = warm.set_environment()
from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.leftovers import Leftovers
from gust.airflow_bridge.nursery import Nursery
from tests.unit.worker.control_plane import ControlPlane, Site, workload

warm.warm_up_for_tasks(bundles)
children = Nursery(surroundings.look_at_modules)
credentials.restore()
given = json.load(sys.stdin)

class Plane(ControlPlane):
    def answer(self, event):
        if "/variables/" in event["rawPath"]:
            return {"statusCode": 200, "body": json.dumps({"key": "v", "value": given["variable"]})}
        return super().answer(event)

site = Site(bundles, control_plane=Plane())
guard = Leftovers(Path(os.environ["TMPDIR"]), kept=[bundles])
site.upload("v1", given["files"])
for dag_id, token in (("team_a", given["token"]), ("team_b", "token-of-team-b")):
    ports = replace(site.ports(), children=children, tidy=guard.remove)
    work = workload("v1", "t", dag_id=dag_id, relative_fileloc=f"{dag_id}.py", token=token)
    code = run_try(work, ports)
    assert code == 0, site.log.text
assert site.log.has("read it"), site.log.text
"""

TEAM_A = """
import os
from pathlib import Path
from airflow.sdk import Variable, dag, task

@dag(schedule=None)
def team_a():
    @task
    def t(content: str):
        assert len(Variable.get("v")) > 60
        print("read it")
        for folder in (Path.cwd(), Path(os.environ["TMPDIR"]), Path(os.environ["SHARED"]), Path(os.environ["AIRFLOW_HOME"])):
            (folder / "of_team_a").write_text(content)
    t("%s")

team_a()
"""

TEAM_B = """
import os
from pathlib import Path
from airflow.sdk import dag, task

@dag(schedule=None)
def team_b():
    @task
    def t():
        found = open(os.environ["FOUND"], "wb")
        for folder, _, files in os.walk(os.environ["SHARED"]):
            for file in files:
                if "bundles" not in folder:
                    found.write(Path(folder, file).read_bytes())
        for name, value in os.environ.items():
            found.write(f"{name}={value}".encode())
        from tests.unit.worker.memory_dump import dump_memory
        dump_memory(found.fileno())
        us = {os.getpid()}
        parent = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[1])
        grandparent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
        for pid in (parent, grandparent):
            for what in ("environ", "mem", "maps"):
                try:
                    open(f"/proc/{pid}/{what}", "rb").read(1)
                except OSError:
                    continue
                if os.getuid():
                    raise SystemExit(f"/proc/{pid}/{what} is open")
    t()

team_b()
"""


def test_one_dags_task_finds_nothing_of_anothers_nor_of_the_workers(tmp_path: Path) -> None:
    shared, found = tmp_path / "tmp", tmp_path / "found"
    shared.mkdir()
    given = {
        "token": TOKEN_OF_A,
        "variable": VARIABLE_OF_A,
        "files": {"team_a.py": TEAM_A % FILE_OF_A[:-4], "team_b.py": TEAM_B},
    }
    environment = of_a_user() | {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": WORKERS_SECRET,
        "AWS_SESSION_TOKEN": "t" * 200,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "PYTHONPATH": f"{ROOT}/shared:{ROOT}",
        "TMPDIR": str(shared),
        "SHARED": str(shared),
        "FOUND": str(found),
        "AIRFLOW_HOME": str(shared / "airflow"),
    }
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WORKER],
        env=environment,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    seen = found.read_bytes()
    assert len(seen) > 50 * 2**20, "it has looked at the memory of a process with Airflow in it"
    for secret in (WORKERS_SECRET, TOKEN_OF_A, VARIABLE_OF_A):
        assert secret.encode() not in seen
    assert seen.count(b"team_b") > 0
    assert not list(shared.rglob("of_team_a"))
