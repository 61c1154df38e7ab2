"""Hooks of plugins' listeners that belong to no run: about assets, and about files that cannot be imported."""

from enum import StrEnum


class Hook(StrEnum):
    """Airflow's names."""

    ASSET_CREATED = "on_asset_created"
    ASSET_ALIAS_CREATED = "on_asset_alias_created"
    ASSET_CHANGED = "on_asset_changed"
    ASSET_EVENT_EMITTED = "on_asset_event_emitted"
    NEW_IMPORT_ERROR = "on_new_dag_import_error"
    EXISTING_IMPORT_ERROR = "on_existing_dag_import_error"
