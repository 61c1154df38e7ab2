"""Items apart from the history, which grow with the DAGs and with people's actions. The store itself writes them into the
emulator."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from benches.history import NEWEST, Size, asset_of, consumes, dag_id_of, partitioned, produces, run_ids_of, spec_key_of
from gust.model.asset import AssetAlias, AssetEvent, AssetReference, AssetUpdate, Delivery, ToPartition, ToQueue
from gust.model.backfill import Backfill
from gust.model.bundle import DagWarning, ImportProblem
from gust.model.connection import Connection
from gust.model.pool import Pool
from gust.model.state_entry import StateEntry
from gust.model.variable import Variable
from gust.rest_api.public.dags import FAVORITES, favorite_name
from gust.services.context import Services
from gust.services.settings.connections import create_connection
from gust.services.settings.variables import set_variable

VARIABLES: Final = 200
CONNECTIONS: Final = 100
POOLS: Final = 50
PROBLEMS: Final = 60
WARNINGS: Final = 100
BACKFILLS: Final = 300
ALIASES: Final = 50
PARTITIONS: Final = 20
"""Of a DAG that is partitioned, which wait."""
ENTRIES: Final = 60
"""Of a state store."""


def put_beside(services: Services, size: Size) -> None:
    store = services.store
    for n in range(VARIABLES):
        set_variable(services, Variable(key=f"variable_{n:03d}", value=f"value {n}", description="of the bench"))
    for n in range(CONNECTIONS):
        create_connection(services, Connection(conn_id=f"conn_{n:03d}", conn_type="http", host="example.org"))
    for n in range(POOLS):
        store.put_pool(None, Pool(name=f"pool_{n:02d}", slots=n, created_at=NEWEST))
    for n in range(PROBLEMS):
        store.put_import_problem(
            ImportProblem(
                import_error_id=n, filename=f"broken_{n}.py", bundle_name="dags-folder",
                stack_trace="ImportError: no\n" * 20, timestamp=NEWEST,
            )
        )  # fmt: skip
    for n in range(min(WARNINGS, size.dags)):
        kind, message = "non-existent pool", "There is no such pool"
        store.put_warning(DagWarning(dag_id=dag_id_of(n), warning_type=kind, message=message, timestamp=NEWEST))
    for n in range(min(10, size.dags)):
        store.put_setting(FAVORITES, favorite_name("anonymous", dag_id_of(n)), True)
    put_backfills(services, size)
    put_assets(services, size)
    put_states(services, size)


def put_backfills(services: Services, size: Size) -> None:
    """Three DAGs have many ended backfills, others one active backfill."""
    for n in range(BACKFILLS):
        has_ended = n % 3 > 0
        if not has_ended and 10 + n // 3 >= size.dags:
            continue
        dag_id = dag_id_of(n % 3 if has_ended else 10 + n // 3)
        number = services.store.next_backfill_id()
        backfill = Backfill(
            backfill_id=number,
            dag_id=dag_id,
            from_date=NEWEST - timedelta(days=9),
            to_date=NEWEST,
            created_at=NEWEST,
            updated_at=NEWEST,
            version_number=1,
            spec_key=spec_key_of(n % 3),
            planned=10,
            due_at=NEWEST + timedelta(days=2),
        )
        services.store.create_backfill(backfill, [])
        if has_ended:
            ended = replace(backfill, completed_at=NEWEST, due_at=None)
            services.store.end_backfill(backfill, ended, cancels=True)


def put_assets(services: Services, size: Size) -> None:
    store = services.store
    for number in range(size.dags):
        if produces(number):
            store.put_asset(asset_of(number))
            name: dict[str, Any] = {"name": asset_of(number).name, "uri": asset_of(number).uri, "created_at": NEWEST}
            made = AssetReference(use="outlet", what="asset", dag_id=dag_id_of(number), task_id="task_9", **name)
            taken = AssetReference(use="schedule", what="asset", dag_id=dag_id_of(number + 1), **name)
            store.put_asset_reference(made)
            store.put_asset_reference(taken)
    for n in range(ALIASES):
        store.put_asset_alias(AssetAlias(name=f"alias_{n:02d}"))
        store.associate_alias(f"alias_{n:02d}", asset_of(5 * (n % (size.dags // 5))).key)
    for number in range(size.dags):
        if partitioned(number):
            for n in range(PARTITIONS):
                key = f"key_{n}"
                to = ToPartition(dag_id=dag_id_of(number), partition_key=key, source_key=key, fingerprint="f")
                _put_event(services, number - 1, n, to, partition_key=key)
        elif consumes(number):
            _put_event(services, number - 1, 0, ToQueue(dag_id=dag_id_of(number)))


def _put_event(services: Services, number: int, n: int, to: Delivery, *, partition_key: str | None = None) -> None:
    asset = asset_of(number)
    event = AssetEvent(
        event_id=f"00000000-0000-4000-8000-{number:06d}{n:06d}",
        name=asset.name,
        uri=asset.uri,
        timestamp=NEWEST + timedelta(hours=12, seconds=n),
        partition_key=partition_key,
    )
    services.store.put_asset_events(event.event_id, [AssetUpdate(event, (to,))])


def put_states(services: Services, size: Size) -> None:
    number = size.dags // 2
    its_run = next(iter(run_ids_of(size, number)))
    for n in range(ENTRIES):
        entry: Any = StateEntry(key=f"key_{n:02d}", value={"n": n}, updated_at=NEWEST)
        services.store.put_task_state(its_run.task_instance("task_3"), entry)
        services.store.put_asset_state(asset_of(0).key, entry)
