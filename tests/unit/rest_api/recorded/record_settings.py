"""Records Airflow's answers about settings: `python -m tests.unit.rest_api.recorded.record_settings`. As `record`."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.environment import of_a_user
from tests.unit.rest_api.recorded.record import HERE, answers, prepare
from tests.unit.rest_api.recorded.settings_requests import (
    CONNECTION_REQUESTS,
    EVENT_REQUESTS,
    OTHER_REQUESTS,
    VARIABLE_REQUESTS,
)

RECORDINGS = {
    "event_answers.jsonl": EVENT_REQUESTS,
    "variable_answers.jsonl": VARIABLE_REQUESTS,
    "connection_answers.jsonl": CONNECTION_REQUESTS,
    "other_answers.jsonl": OTHER_REQUESTS,
}


def main() -> None:
    if sys.argv[1:]:
        record(sys.argv[1])
        return
    for name in RECORDINGS:  # each in a process of its own: Airflow stays with the first database that it sees
        process = of_a_user(PYTHONPATH=os.pathsep.join(sys.path))
        subprocess.run([sys.executable, "-m", __spec__.name, name], check=True, env=process)  # noqa: S603


def record(name: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        prepare(Path(home), "etl.py")
        with sqlite3.connect(f"{home}/airflow.db") as database:
            database.execute("delete from log")  # of the commands that prepared it
        lines = [json.dumps(answer).replace(f"{home}/dags/", "") for answer in answers(RECORDINGS[name])]
        (HERE / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
