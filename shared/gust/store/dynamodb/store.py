"""All of the table behind one object."""

from __future__ import annotations

from typing import Any

from gust.ports.clock import Clock, SystemClock
from gust.ports.metrics import Metrics, NoMetrics
from gust.ports.objects import Objects
from gust.store.dynamodb.asset_queues import DynamoDBAssetQueues
from gust.store.dynamodb.asset_references import DynamoDBAssetReferences
from gust.store.dynamodb.assets import DynamoDBAssets
from gust.store.dynamodb.backfills import DynamoDBBackfills
from gust.store.dynamodb.callbacks import DynamoDBCallbacks
from gust.store.dynamodb.connection_tests import DynamoDBConnectionTests
from gust.store.dynamodb.dags import DynamoDBDags
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.event_rules import DynamoDBEventRules
from gust.store.dynamodb.hitl import DynamoDBHITL
from gust.store.dynamodb.limits import DynamoDBLimits
from gust.store.dynamodb.logged_events import DynamoDBLoggedEvents
from gust.store.dynamodb.runs import DynamoDBRuns
from gust.store.dynamodb.settings import DynamoDBSettings
from gust.store.dynamodb.state_stores import DynamoDBStateStores
from gust.store.dynamodb.waits import DynamoDBWaits
from gust.store.dynamodb.watchers import DynamoDBWatchers
from gust.store.dynamodb.worker_groups import DynamoDBWorkerGroups
from gust.store.dynamodb.xcoms import DynamoDBXComs
from gust.store.parallel import Parallel
from gust.store.table import Meter, Table


class DynamoDBStore(
    DynamoDBRuns,
    DynamoDBBackfills,
    DynamoDBCallbacks,
    DynamoDBLimits,
    DynamoDBXComs,
    DynamoDBHITL,
    DynamoDBDags,
    DynamoDBAssets,
    DynamoDBAssetReferences,
    DynamoDBAssetQueues,
    DynamoDBConnectionTests,
    DynamoDBSettings,
    DynamoDBLoggedEvents,
    DynamoDBStateStores,
    DynamoDBWatchers,
    DynamoDBEventRules,
    DynamoDBWaits,
    DynamoDBWorkerGroups,
):
    """Implements `ports.Store`.

    `client` is a boto3 DynamoDB client, one per process, with at least `Parallel.WIDTH` pooled connections. `objects`
    takes documents too large for an item. `meter` is told of every call and what it consumed,
    `metrics` of each end of a try or run that was stored.
    """

    def __init__(
        self,
        table_name: str,
        client: Any,
        objects: Objects,
        *,
        clock: Clock | None = None,
        meter: Meter | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._table = Table(table_name, client, meter=meter)
        self._documents = Documents(objects)
        self._parallel = Parallel()
        self._clock = clock or SystemClock()
        self._metrics = metrics or NoMetrics()
        self._days = set()
