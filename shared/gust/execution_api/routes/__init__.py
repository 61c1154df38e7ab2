"""All operations of version 2026-06-30, in Airflow's files and order, and Gust's own `triggers`, `watchers`, `tries`,
`callbacks`, `credentials` and `secrets`."""

from typing import Final

from gust.execution_api.routes import (
    asset_events,
    asset_state_store,
    assets,
    callbacks,
    connection_tests,
    connections,
    credentials,
    dag_runs,
    dags,
    health,
    hitl,
    secrets,
    task_instances,
    task_reschedules,
    task_state_store,
    tries,
    triggers,
    variables,
    watchers,
    worker_groups,
    xcoms,
)
from gust.execution_api.routing import Route

AIRFLOW_ROUTES: Final[tuple[Route, ...]] = (
    *health.routes.table,
    *assets.routes.table,
    *asset_events.routes.table,
    *connection_tests.routes.table,
    *connections.routes.table,
    *dag_runs.routes.table,
    *dags.routes.table,
    *task_instances.routes.table,
    *task_reschedules.routes.table,
    *variables.routes.table,
    *xcoms.routes.table,
    *hitl.routes.table,
    *task_state_store.routes.table,
    *asset_state_store.routes.table,
)

ROUTES: Final[tuple[Route, ...]] = (
    *AIRFLOW_ROUTES,
    *triggers.routes.table,
    *watchers.routes.table,
    *tries.routes.table,
    *callbacks.routes.table,
    *credentials.routes.table,
    *secrets.routes.table,
    *worker_groups.routes.table,
)
