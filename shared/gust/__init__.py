"""Gust: unmodified Apache Airflow DAG files on pay-per-use AWS primitives."""

from pathlib import Path


def _version() -> str:
    """As pyproject.toml has it; in a layer, `layers/build.sh` has put it beside this file."""
    here = Path(__file__).parent
    built = here / "VERSION"
    if built.exists():
        return built.read_text().strip()
    lines = (here.parents[1] / "pyproject.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


__version__ = _version()
