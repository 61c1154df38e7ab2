"""Variables: what people and tasks store under a name."""

from dataclasses import dataclass
from typing import Any, Final, Self

VARIABLES: Final = "variables"
"""The namespace of settings that variables are kept in, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    key: str
    value: str
    description: str | None = None

    @classmethod
    def from_document(cls, key: str, document: dict[str, Any]) -> Self:
        return cls(key=key, value=document["value"], description=document.get("description"))

    def to_document(self) -> dict[str, Any]:
        return {"value": self.value, "description": self.description}
