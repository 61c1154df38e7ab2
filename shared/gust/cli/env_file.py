"""`--env-file FILE`: variables for what a command starts, as `docker run --env-file` and `.env` files have them."""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gust.cli import text_file

DEFAULT_DEFERRABLE: Final = "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"
"""Airflow's setting: whether operators that can defer do so by default. On AWS it is the parameter DefaultDeferrable."""


KEPT: Final = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", DEFAULT_DEFERRABLE)
"""Names, or their beginnings."""


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="take variables of the environment from a file, too; they come before your shell's",
    )


def with_files(environment: Mapping[str, str], files: list[Path]) -> dict[str, str]:
    """The environment, and the variables of the files: a later file's come before an earlier one's. Raises
    TextFileError."""
    from dotenv import dotenv_values

    merged = dict(environment)
    for file in files:
        values = dotenv_values(stream=io.StringIO(text_file.read(file)), interpolate=False)
        merged |= {name: value for name, value in values.items() if value is not None}
        # `NAME` alone passes the shell's value on, which is there already.
    return merged


def for_dag_authors(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without Airflow's settings, so that DAG files run as in a stack. Connections and variables stay."""
    return {
        name: value for name, value in environment.items() if not name.startswith("AIRFLOW") or name.startswith(KEPT)
    }
