"""Airflow's options that hold now. The deployer stores them when it has checked the operator's document; functions without
DAG authors' code read them here, within a minute of a change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gust.ports.store import Store
from gust.services.context import Services

CONFIGURATION: Final = "configuration"
"""The namespace of settings."""

OPTIONS: Final = "options"

LIFETIME: Final = timedelta(minutes=1)
"""How long a function uses what it has read."""


def current_options(services: Services) -> Mapping[str, str]:
    """`section.option` → value."""
    now, remembered = services.clock.now(), services.remembered_options
    if remembered.until is None or remembered.until <= now:
        remembered.options = services.store.get_setting(CONFIGURATION, OPTIONS) or {}
        remembered.until = now + LIFETIME
    return remembered.options


def keep_options(store: Store, options: Mapping[str, str]) -> None:
    """Make the options the current ones. Writes nothing if they are."""
    if (store.get_setting(CONFIGURATION, OPTIONS) or {}) != dict(options):
        store.put_setting(CONFIGURATION, OPTIONS, dict(options))
