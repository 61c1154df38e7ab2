"""Variables: values that API users and tasks store under a name."""

from dataclasses import dataclass
from typing import Final

VARIABLES: Final = "variables"
"""The namespace of settings that variables are kept in, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    key: str
    value: str | None
    """`None` if the stored value cannot be decrypted."""
    description: str | None = None
    is_encrypted: bool = True
    """Whether the stored value is encrypted. False for one stored before Gust encrypted settings, until its next write."""
