"""All of the table."""

from __future__ import annotations

from typing import Protocol

from gust.ports.asset_queues import AssetQueueStore
from gust.ports.asset_references import AssetReferenceStore
from gust.ports.assets import AssetStore
from gust.ports.backfills import BackfillStore
from gust.ports.callbacks import CallbackStore
from gust.ports.connection_tests import ConnectionTestStore
from gust.ports.dags import DagStore
from gust.ports.event_rules import EventRuleStore
from gust.ports.history import HistoryStore
from gust.ports.hitl import HITLStore
from gust.ports.limits import LimitStore
from gust.ports.logged_events import LoggedEventStore
from gust.ports.runs import RunStore
from gust.ports.settings import SettingStore
from gust.ports.state_stores import StateStore
from gust.ports.task_instances import TaskInstanceStore
from gust.ports.waits import WaitStore
from gust.ports.watchers import WatcherStore
from gust.ports.worker_groups import WorkerGroupStore
from gust.ports.xcoms import XComStore


class Store(
    RunStore,
    HistoryStore,
    TaskInstanceStore,
    BackfillStore,
    CallbackStore,
    LimitStore,
    XComStore,
    HITLStore,
    DagStore,
    AssetStore,
    AssetReferenceStore,
    AssetQueueStore,
    SettingStore,
    ConnectionTestStore,
    LoggedEventStore,
    StateStore,
    WatcherStore,
    EventRuleStore,
    WaitStore,
    WorkerGroupStore,
    Protocol,
):
    """The whole table."""
