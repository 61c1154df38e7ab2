"""The store without AWS, for tests, benches and the workbench: the contract tests run on it and on DynamoDB.

One lock makes every method one transaction. JSON documents (conf, XComs, settings, …) are kept as JSON text: a caller that
changes what it gave or got changes nothing here, and what DynamoDB refuses is refused here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gust.store.memory.asset_queues import MemoryAssetQueues
from gust.store.memory.asset_references import MemoryAssetReferences
from gust.store.memory.assets import MemoryAssets
from gust.store.memory.connection_tests import MemoryConnectionTests
from gust.store.memory.event_rules import MemoryEventRules
from gust.store.memory.history import MemoryHistory
from gust.store.memory.state_stores import MemoryStateStores
from gust.store.memory.waits import MemoryWaits
from gust.store.memory.watchers import MemoryWatchers
from gust.store.memory.worker_groups import MemoryWorkerGroups
from gust.store.memory.xcoms import MemoryXComs


class MemoryStore(
    MemoryWatchers,
    MemoryAssetQueues,
    MemoryXComs,
    MemoryHistory,
    MemoryAssets,
    MemoryAssetReferences,
    MemoryConnectionTests,
    MemoryStateStores,
    MemoryEventRules,
    MemoryWaits,
    MemoryWorkerGroups,
):
    """Implements `ports.Store`."""


if TYPE_CHECKING:
    from gust.ports.store import Store

    _implements: Store = MemoryStore()
