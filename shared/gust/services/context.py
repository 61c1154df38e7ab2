"""What every verb is given: the ports, wired once per cold start by `gust.bootstrap`, or in memory by tests."""

from dataclasses import dataclass, field

from gust.services.memory_of_runs import MemoryOfRuns
from gust.services.ports import (
    Cipher,
    Clock,
    Deployments,
    Inventory,
    LogReader,
    NoCipher,
    NoDeployments,
    NoInventory,
    NoTimetables,
    Objects,
    Queues,
    Store,
    Timetables,
    Tokens,
)
from gust.services.started_here import StartedHere


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
    inventory: Inventory = field(default_factory=NoInventory)
    cipher: Cipher = field(default_factory=NoCipher)
    started_here: StartedHere = field(default_factory=StartedHere)
    memory: MemoryOfRuns = field(default_factory=MemoryOfRuns)
