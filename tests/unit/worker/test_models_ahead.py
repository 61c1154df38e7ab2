"""Where another module has imported the database's library before a worker begins, as an agent of a host may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]

CODE = """
import sqlalchemy.orm
from gust.airflow_bridge import warm
warm.warm_up_for_tasks(warm.set_environment())
from airflow.models import Connection
from airflow.models.pool import Pool
print(Connection(conn_id="a", uri="postgres://host/db").host, Pool(pool="narrow").pool)
"""


def test_models_can_be_made_although_they_do_not_come_late(tmp_path: Path) -> None:
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CODE],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared"), AIRFLOW_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "host narrow\n", ended.stderr
