"""Airflow's options, from the operator's document. A document with a mistake is an import error, and the last good options
stay."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from gust.model.airflow_options import read_document
from gust.model.deployment import Manifest
from gust.model.pool import DEFAULT_POOL
from gust.ports.configuration import ConfigurationDocument
from gust.services.context import Services
from gust.services.settings.options import keep_options
from gust.services.settings.pools import change_pool

DOCUMENT: Final = "(Airflow's configuration)"
"""The file name of its import error."""

log = logging.getLogger(__name__)


def options_of(document: ConfigurationDocument, before: Manifest | None) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """`section.option` → value; and import errors by file name."""
    checked = read_document(document.text())
    if checked.problems:
        text = "".join(f"{problem}\n" for problem in checked.problems)
        log.warning("Airflow's configuration has mistakes; the options before it stay:\n%s", text)
        return (before.options if before else {}), {DOCUMENT: f"The options before this document stay.\n{text}"}
    if checked.ignored:
        log.info("Options without effect: %s", ", ".join(checked.ignored))
    return checked.options, {}


def make_current(services: Services, options: Mapping[str, str]) -> None:
    """From now on the options hold for functions that have no bundle. A default pool without a size gets its first one."""
    keep_options(services.store, options)
    slots = int(options.get("core.default_pool_task_slot_count", "-1"))
    if slots >= 0 and DEFAULT_POOL not in services.store.get_pools([DEFAULT_POOL]):
        change_pool(services, DEFAULT_POOL, slots=slots)
