"""`/ui/…`: what Airflow's web UI asks beside the REST API, in files named as Airflow's. Importing a module registers its
handlers; deadlines are in `rest_api/deadlines.py`."""

from gust.rest_api.ui import (
    auth,
    backfills,
    config,
    connections,
    dag_runs,
    dags,
    dashboard,
    teams,
)

__all__ = [
    "auth",
    "backfills",
    "config",
    "connections",
    "dag_runs",
    "dags",
    "dashboard",
    "teams",
]
