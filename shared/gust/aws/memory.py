"""The bucket and the queues in memory, for tests and the workbench, which need their behaviour but not AWS's protocol."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import BinaryIO

from gust.aws.objects import check_content
from gust.errors import NotFound
from gust.model.announcement import Announcement
from gust.model.container_start import ContainerStart
from gust.model.event_rule import MOST_PATTERNS
from gust.model.object_entry import ObjectEntry
from gust.model.secrets_backend import Service
from gust.model.unsent import Unsent
from gust.model.worker_group import WorkerGroup
from gust.model.workload import (
    CallbackWorkload,
    ConnectionTestWorkload,
    ForTriggerer,
    TaskWorkload,
    Wake,
)


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    content_type: str
    modified: float = field(default_factory=count(1.0).__next__)
    """Its place in the order of writing."""


class MemoryObjects:
    """Implements `ports.Objects`."""

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}

    def get(self, key: str) -> bytes:
        """Raises NotFound."""
        try:
            body = self._objects[key].body
        except KeyError:
            raise NotFound(f"no object {key!r}") from None
        check_content(key, body)
        return body

    def download(self, key: str, file: BinaryIO) -> None:
        file.write(self.get(key))

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        self._objects[key] = _Object(bytes(body), content_type)

    def put_once(self, key: str, body: bytes | BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        if not isinstance(body, bytes):
            body.seek(0)
            body = body.read()
        self._objects.setdefault(key, _Object(body, content_type))

    def touch(self, key: str, modified: float) -> None:
        """For a test: set the time of the object's upload."""
        self._objects[key] = replace(self._objects[key], modified=modified)

    def exists(self, key: str) -> bool:
        return key in self._objects

    def list(self, prefix: str) -> dict[str, str]:
        """Key → entity tag, in order of the keys."""
        return {key: entry.etag for key, entry in self.entries(prefix).items()}

    def entries(self, prefix: str) -> dict[str, ObjectEntry]:
        return {
            key: ObjectEntry(
                hashlib.md5(stored.body, usedforsecurity=False).hexdigest(), len(stored.body), stored.modified
            )
            for key, stored in sorted(self._objects.items())
            if key.startswith(prefix)
        }

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._objects.pop(key, None)


class MemoryContainers:
    """Implements `ports.Containers`: keeps the starts in a list, and takes each name once."""

    def __init__(self) -> None:
        self.started: dict[str, ContainerStart] = {}
        """By name."""
        self.stopped: list[str] = []
        self.is_full = False
        """Whether to refuse all starts and stops; a test may change it."""
        self.forbidden = ""
        """The reason for which AWS refuses all starts for good; a test may set it."""

    def start(self, starts: Sequence[ContainerStart]) -> list[Unsent]:
        if self.is_full or self.forbidden:
            return [Unsent(start.workload, self.forbidden) for start in starts]
        for start in starts:
            self.started.setdefault(start.name, start)
        return []

    def stop(self, names: Sequence[str]) -> set[str]:
        if self.is_full:
            return set(names)
        self.stopped.extend(names)
        return set()


class MemoryEventBus:
    """Implements `ports.EventBus`: keeps the patterns, and objects to those that a test names."""

    def __init__(self, *, is_on: bool = True) -> None:
        self.is_on = is_on
        self.followed: dict[str, str] = {}
        self.told: list[Announcement] = []
        self.objections: dict[str, str] = {}
        """Part of a pattern → what EventBridge says to it."""
        self.room = MOST_PATTERNS

    def most_patterns(self) -> int:
        return self.room

    def why_invalid(self, pattern: str) -> str | None:
        return next((reason for part, reason in self.objections.items() if part in pattern), None)

    def follow(self, patterns: Mapping[str, str]) -> None:
        self.followed = dict(patterns)

    def tell(self, announcements: Sequence[Announcement]) -> None:
        self.told.extend(announcements)


class MemoryQueues:
    """Implements `ports.Queues`: keeps the messages sent, in order, and refuses tasks on request."""

    def __init__(self, *, refuses: Callable[[TaskWorkload], bool] = lambda _: False) -> None:
        self.refuses = refuses
        """Asked for every task; may be replaced during a test."""
        self.is_busy = False
        """Whether messages wait for a free worker; may be set during a test."""
        self.tasks: list[TaskWorkload] = []
        self.of_groups: dict[str, list[TaskWorkload]] = defaultdict(list)
        """By the group's name."""
        self.gone: dict[str, str] = {}
        """Groups whose queue refuses every message for good, with the reason; a test may add to it."""
        self.busy_groups: set[str] = set()
        """Groups for whose workers messages wait; a test may add to it."""
        self.callbacks: list[CallbackWorkload] = []
        self.connection_tests: list[ConnectionTestWorkload] = []
        self.triggers: list[tuple[ForTriggerer, float]] = []
        """With their delays, in seconds."""
        self.wakes: list[tuple[Wake, float]] = []
        """With their delays, in seconds."""

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        refused = [workload for workload in workloads if self.refuses(workload)]
        self.tasks += [workload for workload in workloads if workload not in refused]
        return refused

    def send_to_group(self, group: WorkerGroup, workloads: Sequence[TaskWorkload]) -> list[Unsent]:
        if group.name in self.gone:
            return [Unsent(workload, self.gone[group.name]) for workload in workloads]
        self.of_groups[group.name] += workloads
        return []

    def has_backlog(self, groups: Iterable[WorkerGroup] = ()) -> bool:
        return self.is_busy or any(group.name in self.busy_groups for group in groups)

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        self.callbacks += workloads
        return []

    def send_connection_test(self, workload: ConnectionTestWorkload) -> bool:
        self.connection_tests.append(workload)
        return True

    def send_triggers(self, workloads: Sequence[ForTriggerer], *, delay: float = 0) -> None:
        self.triggers += [(workload, delay) for workload in workloads]

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        self.wakes.append((wake, delay))

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        for wake, delay in wakes:
            self.wake(wake, delay=delay)


@dataclass
class MemorySecrets:
    """Secrets Manager and SSM."""

    secrets: dict[tuple[Service, str], str | Exception] = field(default_factory=dict)
    """An error is raised."""
    asked: list[str] = field(default_factory=list)
    """Names, in order."""

    def read(self, service: Service, name: str, region: str | None) -> str | None:  # noqa: ARG002 - the port's signature
        self.asked.append(name)
        found = self.secrets.get((service, name))
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class MemoryConfiguration:
    """The operator's document."""

    document: str = ""

    def text(self) -> str:
        return self.document
