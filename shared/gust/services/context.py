"""The ports that every service receives, wired once per cold start by `gust.bootstrap`, or in memory by tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gust.model.place import LAMBDA_ALONE, Workers
from gust.ports.cipher import Cipher, NoCipher
from gust.ports.clock import Clock
from gust.ports.configuration import ConfigurationDocument, NoConfiguration
from gust.ports.containers import Containers, NoContainers
from gust.ports.deployments import Deployments, NoDeployments
from gust.ports.event_bus import EventBus, NoEventBus
from gust.ports.inventory import Inventory, NoInventory
from gust.ports.logs import LogReader
from gust.ports.metrics import Metrics, NoMetrics
from gust.ports.objects import Objects
from gust.ports.queues import Queues
from gust.ports.secrets import NoSecrets, SecretReader
from gust.ports.store import Store
from gust.ports.task_roles import NoTaskRoles, TaskRoles
from gust.ports.timetables import NoTimetables, Timetables
from gust.ports.tokens import Tokens
from gust.services.memory_of_runs import MemoryOfRuns
from gust.services.remembered_settings import RememberedOptions, RememberedSecrets
from gust.services.started_instances import KnownRuns, StartedInstanceCache


@dataclass(frozen=True, slots=True)
class Services:
    store: Store
    objects: Objects
    queues: Queues
    tokens: Tokens
    clock: Clock
    logs: LogReader
    timetables: Timetables = field(default_factory=NoTimetables)
    deployments: Deployments = field(default_factory=NoDeployments)
    event_bus: EventBus = field(default_factory=NoEventBus)
    workers: Workers = LAMBDA_ALONE
    containers: Containers = field(default_factory=NoContainers)
    task_roles: TaskRoles = field(default_factory=NoTaskRoles)
    inventory: Inventory = field(default_factory=NoInventory)
    cipher: Cipher = field(default_factory=NoCipher)
    metrics: Metrics = field(default_factory=NoMetrics)
    configuration: ConfigurationDocument = field(default_factory=NoConfiguration)
    secrets: SecretReader = field(default_factory=NoSecrets)
    wakes_in: str = ""
    """The region whose events wake triggers that wait for what they tell of; empty: none do."""
    remembered_options: RememberedOptions = field(default_factory=RememberedOptions)
    remembered_secrets: RememberedSecrets = field(default_factory=dict)
    known_runs: KnownRuns = field(default_factory=KnownRuns)
    started_instances: StartedInstanceCache = field(default_factory=StartedInstanceCache)
    memory: MemoryOfRuns = field(default_factory=MemoryOfRuns)
    correlation_id: str = ""
    """Of the request that is being served; empty where there is none."""
    rendered_fields: Mapping[str, Any] | None = None
    """Short template fields that came with the report that is being served, and are stored with its move."""
