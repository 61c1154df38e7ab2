"""Airflow's own example DAGs, taken from the installed wheel when needed and never committed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.oracle.drive import Plan

EXCLUDED: Final = {
    "example_kubernetes_executor.py": "Kubernetes: its tasks carry pod overrides",
    "example_local_kubernetes_executor.py": "Kubernetes: its tasks carry pod overrides",
    "example_dag_decorator.py": "internet: asks httpbingo.org for its own address",
    "example_retry_policy.py": "internet: calls api.example.com",
    "tutorial_objectstorage.py": "internet: downloads weather data (and needs pandas and duckdb)",
    "tutorial_taskflow_api_virtualenv.py": "internet: its virtual environment is filled from a package index",
}
"""File → why it cannot be compared."""

CONF: Final[dict[str, dict[str, Any]]] = {
    "example_params_ui_tutorial": {"required_field": "parity of Gust"},
    "example_trigger_target_dag": {"message": "Hello World"},
}
"""dag_id → `conf` of the run, where the DAG cannot do without or shows nothing without."""

LAST: Final = ("read_asset_event", "read_asset_event_from_classic")
"""These begin when the others have ended: they read the asset events that others leave."""

PLUGINS: Final = '''"""Registers the plugins that Airflow's example DAGs name.

Airflow does so itself where `[core] load_examples` is on, which would also load every provider's examples. The classes
must keep their own module names, because the DAG files import them from there: hence imports and no copies.
"""

from airflow.example_dags.plugins.business_day_window import BusinessDayWindowPlugin
from airflow.example_dags.plugins.custom_partition_mapper import PrefixStripMapperPlugin
from airflow.example_dags.plugins.custom_partition_timetable import ScheduledRuntimePartitionTimetablePlugin
from airflow.example_dags.plugins.decreasing_priority_weight_strategy import DecreasingPriorityWeightStrategyPlugin
from airflow.example_dags.plugins.listener_plugin import MetadataCollectionPlugin
from airflow.example_dags.plugins.workday import WorkdayTimetablePlugin
'''


def example_folder() -> Path:
    """Where the installed wheel keeps its examples; finding it imports nothing of Airflow but the package itself."""
    spec = find_spec("airflow")
    if spec is None or spec.submodule_search_locations is None:
        raise FileNotFoundError("apache-airflow-core is not installed")
    folders = (Path(place) / "example_dags" for place in spec.submodule_search_locations)
    return next(folder for folder in folders if folder.is_dir())


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with the examples that take part, the files they read, and their plugins."""
    source = example_folder()
    shutil.copytree(source / "sql", dags / "sql")
    for path in sorted(source.glob("*.py")):
        if path.name not in {*EXCLUDED, "__init__.py"}:
            shutil.copy(path, dags / path.name)
    (dags / "plugins").mkdir()
    (dags / "plugins" / "wheel_examples.py").write_text(PLUGINS)


def add_examples_of_standard_provider(dags: Path) -> None:
    """Airflow's own browser suite needs them: with `[core] load_examples`, Airflow loads every provider's examples too."""
    source = example_folder().parent / "providers" / "standard" / "example_dags"
    shutil.copytree(source, dags / "standard", ignore=shutil.ignore_patterns("__pycache__"))


def plan(dag_ids: Iterable[str]) -> Plan:
    """All of them at once, but for those whose outcome hangs on others."""
    ids = sorted(dag_ids)
    return Plan(
        batches=(tuple(i for i in ids if i not in LAST), tuple(i for i in ids if i in LAST)),
        bodies={dag_id: {"conf": conf} for dag_id, conf in CONF.items()},
    )
