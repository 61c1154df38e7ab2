"""A change of one setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that is written with something else, if `before` (`None`: nothing) is what is stored."""

    namespace: str
    name: str
    before: Any | None
    after: Any
