"""`/ui/…`: operations of Airflow's web UI outside the public REST API, in files named as Airflow's. Importing a module
registers its handlers; those of deadlines are in `rest_api/public/deadlines.py`."""

from gust.rest_api.ui import (
    assets,
    auth,
    backfills,
    calendar,
    config,
    connections,
    dag_runs,
    dags,
    dashboard,
    dependencies,
    gantt,
    grid,
    partitioned_dag_runs,
    structure,
    teams,
)

__all__ = [
    "assets",
    "auth",
    "backfills",
    "calendar",
    "config",
    "connections",
    "dag_runs",
    "dags",
    "dashboard",
    "dependencies",
    "gantt",
    "grid",
    "partitioned_dag_runs",
    "structure",
    "teams",
]
