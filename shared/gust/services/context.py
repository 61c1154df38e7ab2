"""What every verb is given: the ports, wired once per cold start by `gust.bootstrap`, or in memory by tests."""

from dataclasses import dataclass

from gust.services.ports import Clock, LogReader, Objects, Queues, Store, Tokens


@dataclass(frozen=True, slots=True)
class Services:
    store: Store
    objects: Objects
    queues: Queues
    tokens: Tokens
    clock: Clock
    logs: LogReader
