"""What an `events.yaml` says: which events start which DAG, or are events of which asset."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

EVENTS_FILE: Final = "events.yaml"
"""In the folder of DAGs, or in any folder of it."""

MOST_PATTERNS: Final = 250
"""Rules that a stack makes. Of the 300 that a bus has room for, the others are the stack's own and the operator's."""


class EventRule(BaseModel):
    """One entry of an `events.yaml`. Texts of the form `{% … %}`, at any depth, are JSONata over the event."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    line: int
    pattern: dict[str, Any]
    """In EventBridge's own language."""
    dag_id: str | None = None
    asset: str | None = None
    """Its name or its URI."""
    conf: dict[str, Any] | str = {}
    """Of the run."""
    extra: dict[str, Any] | str = {}
    """Of the asset event."""
    logical_date: str | None = None
    partition_key: str | None = None
    dedup_key: str | None = None
    """Two events with the same key are one; without it, EventBridge's id of the event."""

    @property
    def pattern_text(self) -> str:
        return _text(self.pattern)

    @property
    def pattern_id(self) -> str:
        """Entries with the same pattern share a rule of EventBridge."""
        return _id(self.pattern_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFile:
    """The entries of one `events.yaml`, at its last good version."""

    filename: str
    """Relative to the folder of DAGs."""
    entries: dict[str, Any] = field(default_factory=dict)
    """Line → entry, as JSON."""

    @classmethod
    def of(cls, filename: str, rules: Iterable[EventRule]) -> EventFile:
        return cls(
            filename=filename,
            entries={str(rule.line): rule.model_dump(exclude={"line"}, exclude_defaults=True) for rule in rules},
        )

    @property
    def rules(self) -> list[EventRule]:
        """In the order of the file. Raises ValueError for an entry of a newer Gust that this one cannot read."""
        return [EventRule(line=int(line), **entry) for line, entry in sorted(self.entries.items(), key=_line)]

    @property
    def patterns(self) -> dict[str, str]:
        """Id → text, also of entries that cannot be read otherwise."""
        texts = (_text(entry["pattern"]) for entry in self.entries.values() if "pattern" in entry)
        return {_id(text): text for text in texts}


def _text(pattern: Any) -> str:
    return json.dumps(pattern, sort_keys=True, separators=(",", ":"))


def _id(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


def _line(entry: tuple[str, Any]) -> int:
    return int(entry[0])


def is_events_file(path: str) -> bool:
    return path.rpartition("/")[2] == EVENTS_FILE
