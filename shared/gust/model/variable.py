"""Variables: what people and tasks store under a name."""

from dataclasses import dataclass
from typing import Final

VARIABLES: Final = "variables"
"""The namespace of settings that variables are kept in, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    key: str
    value: str | None
    """`None` where what is stored cannot be decrypted."""
    description: str | None = None
    is_encrypted: bool = True
    """As it is stored. What was stored before Gust encrypted anything is not, until it is written again."""
