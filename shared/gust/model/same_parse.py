"""The proof that a DAG file gives each task the same when it is parsed, so that a worker may parse it once for many."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SameParse(BaseModel):
    """What a parse stood on that the parser has watched. It holds where a worker computes the same digest."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    digest: str
    """Of the bundle's names, the contents of the files that were read, the values of the variables, the environment, and the
    versions of Python, Airflow and Gust."""
    files: tuple[str, ...] = ()
    """Relative paths of the bundle's other files that were read."""
    variables: tuple[str, ...] = ()
    """Names of the environment variables that were looked for."""
    modules: tuple[str, ...] = ()
    """Installed modules that were imported under watch: a worker may import them while it parses the file."""
