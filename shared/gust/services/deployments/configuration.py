"""Airflow's options, from the operator's document. A document with a mistake is an import error, and the last good options
stay."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from gust.model.airflow_options import read_document
from gust.model.deployment import Manifest
from gust.ports.configuration import ConfigurationDocument

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
