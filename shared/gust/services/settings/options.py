"""Airflow's options that hold now. The deployer stores them when it has checked the operator's document; functions without
DAG authors' code read them here, within a minute of a change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gust.model.airflow_options import variable_of
from gust.ports.store import Store
from gust.services.context import Services

CONFIGURATION: Final = "configuration"
"""The namespace of settings."""

OPTIONS: Final = "options"

HEEDED: Final = (
    "core.hide_sensitive_var_conn_fields",
    "core.sensitive_var_conn_names",
    "state_store.default_retention_days",
    "state_store.max_value_storage_bytes",
)
"""What the REST API reads in its environment."""

LIFETIME: Final = timedelta(minutes=1)
"""How long a function uses what it has read."""


def stored_options(store: Store) -> Mapping[str, str]:
    """`section.option` → value, as of now."""
    return store.get_setting(CONFIGURATION, OPTIONS) or {}


def current_options(services: Services) -> Mapping[str, str]:
    """`section.option` → value."""
    now, remembered = services.clock.now(), services.remembered_options
    if remembered.until is None or remembered.until <= now:
        remembered.options = stored_options(services.store)
        remembered.until = now + LIFETIME
    return remembered.options


def export_options(services: Services) -> None:
    """Put the options that the REST API heeds into this process's environment, where their readers look. Does nothing where
    the process has done so within the minute."""
    before = services.remembered_options.options
    after = current_options(services)
    if after is before:
        return
    for name in HEEDED:
        if name in after:
            os.environ[variable_of(name)] = after[name]
        elif name in before:
            os.environ.pop(variable_of(name), None)


def keep_options(store: Store, options: Mapping[str, str]) -> None:
    """Make the options the current ones. Writes nothing if they are."""
    if stored_options(store) != options:
        store.put_setting(CONFIGURATION, OPTIONS, dict(options))
