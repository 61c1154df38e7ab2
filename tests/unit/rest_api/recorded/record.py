"""Records Airflow's answers: `python -m tests.unit.rest_api.recorded.record`. Needs Airflow, takes half a minute.

Airflow's API server runs in this process, over a database that is thrown away; the DAG, as Airflow serializes it and as
our parser reads it, is recorded along with the answers.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import copy
from typing import Any

from tests.environment import of_a_user
from tests.unit.rest_api.recorded.pool_requests import POOL_REQUESTS
from tests.unit.rest_api.recorded.requests import REQUESTS, Asked
from tests.unit.rest_api.recorded.task_data_requests import TASK_DATA_REQUESTS

HERE = Path(__file__).parent
RECORDINGS = {
    "answers.jsonl": REQUESTS,
    "pool_answers.jsonl": POOL_REQUESTS,
    "task_data_answers.jsonl": TASK_DATA_REQUESTS,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        prepare(Path(home), "etl.py")
        [serialized] = read_serialized(Path(home), "etl.py")
        (HERE / "etl.serialized.json").write_text(json.dumps(serialized) + "\n")
        (HERE / "etl.spec.json").write_text(spec_of(serialized) + "\n")
        for name, requests in RECORDINGS.items():
            lines = [json.dumps(answer).replace(f"{home}/dags/", "") for answer in answers(requests)]
            (HERE / name).write_text("\n".join(lines) + "\n")


def prepare(home: Path, file: str) -> None:
    (home / "dags").mkdir(exist_ok=True)
    copy(HERE / file, home / "dags")
    of_airflow = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": "recorded " * 8,
    }
    os.environ |= of_airflow
    for command in ("db migrate", "dags reserialize"):
        arguments = [sys.executable, "-m", "airflow", *command.split()]
        subprocess.run(arguments, check=True, capture_output=True, env=of_a_user(**of_airflow))  # noqa: S603


def read_serialized(home: Path, file: str) -> list[dict[str, Any]]:
    with sqlite3.connect(home / "airflow.db") as database:
        found = database.execute("select data from serialized_dag order by dag_id").fetchall()
    serialized: list[dict[str, Any]] = [json.loads(text) for (text,) in found]
    for one in serialized:
        one["dag"] |= {"fileloc": file, "_processor_dags_folder": ""}
    return serialized


def spec_of(serialized: dict[str, Any]) -> str:
    from gust.airflow_bridge.dag_spec import build_spec

    return build_spec(json.dumps(serialized), bundle_name="dags-folder")[0].model_dump_json()


def answers(requests: Sequence[Asked]) -> list[dict[str, Any]]:
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    logging.disable(logging.CRITICAL)
    recorded = []
    with TestClient(create_app(apps="core"), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        for method, url, body, headers in requests:
            answer = client.request(method, url, json=body, headers=headers, follow_redirects=False)
            is_json = bool(answer.text) and answer.headers.get("content-type") == "application/json"
            recorded.append(
                {
                    "asked": f"{method} {url}",
                    "status": answer.status_code,
                    "body": answer.json() if is_json else answer.text,
                    **({"location": answer.headers["location"]} if "location" in answer.headers else {}),
                }
            )
    return recorded


if __name__ == "__main__":
    main()
