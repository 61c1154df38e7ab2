"""What every verb is given: the ports, wired once per cold start by `gust.bootstrap`, or in memory by tests."""

from dataclasses import dataclass, field

from gust.services.ports import (
    Cipher,
    Clock,
    LogReader,
    NoCipher,
    NoTimetables,
    Objects,
    Queues,
    Store,
    Timetables,
    Tokens,
)


@dataclass(frozen=True, slots=True)
class Services:
    store: Store
    objects: Objects
    queues: Queues
    tokens: Tokens
    clock: Clock
    logs: LogReader
    timetables: Timetables = field(default_factory=NoTimetables)
    cipher: Cipher = field(default_factory=NoCipher)
