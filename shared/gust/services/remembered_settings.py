"""What a process remembers of settings that others change: until a moment, and no longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gust.model.secrets_backend import Secret, Service


@dataclass(slots=True)
class RememberedOptions:
    options: Mapping[str, str] = field(default_factory=dict)
    until: datetime | None = None


RememberedSecrets = dict[tuple[Service, str | None, str], tuple[Secret, datetime]]
"""(service, region, name) → the answer, and until when it counts."""
