"""A change of one setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting to be written in the transaction of something else, if `before` (`None`: no setting) is stored."""

    namespace: str
    name: str
    before: Any | None
    after: Any
