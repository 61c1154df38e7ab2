"""A change of one setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingChange:
<<<<<<< HEAD
    """A setting to be written in the transaction of something else, if `before` (`None`: no setting) is stored."""
=======
    """A setting's change in another item's transaction, if the stored value equals `before` (`None`: no setting)."""
>>>>>>> w-words

    namespace: str
    name: str
    before: Any | None
    after: Any
