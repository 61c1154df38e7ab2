"""A variable or connection as a row of its list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingRow:
    place: int
    """In the order of names; replaces Airflow's id."""
    name: str
    stored: dict[str, Any]

    @staticmethod
    def of(settings: Mapping[str, dict[str, Any]]) -> Iterator[SettingRow]:
        return (SettingRow(place, name, stored) for place, (name, stored) in enumerate(settings.items()))
