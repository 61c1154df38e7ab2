"""What a worker's import of Airflow spares, without a difference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.environment import of_a_user

SHARED = Path(__file__).parents[3] / "shared"

LOOK = """
import sys
from gust.airflow_bridge import compat
compat.prepare_environment()
compat.import_airflow()
from airflow.sdk.bases.decorator import task_decorator_factory
from airflow.sdk.definitions._internal import decorators
print("libcst" in sys.modules)
source = "@task.external_python(python='x')\\n@setup\\n@other\\ndef f():  # stays\\n    return 1\\n"
print(repr(decorators.remove_task_decorator(source, "@task.external_python")))
import libcst
print(issubclass(decorators._TaskDecoratorRemover, libcst.CSTTransformer), sys.modules["libcst"] is libcst)
print(repr(decorators.remove_task_decorator(source, "@other")))
"""


def test_a_decorator_is_removed_with_libcst_that_the_call_imports(tmp_path: Path) -> None:
    output = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", LOOK],
        env=of_a_user(PYTHONPATH=str(SHARED), AIRFLOW_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert output.splitlines() == [
        "False",
        repr("@other\ndef f():  # stays\n    return 1\n"),
        "True True",
        repr("@task.external_python(python='x')\ndef f():  # stays\n    return 1\n"),
    ]


FILES = """
import inspect, json, os, sys
import gust.airflow_bridge
from gust.airflow_bridge import compat, warm
found = []
for way in (warm.know_files_of_modules, lambda: inspect.getmodule(sys._getframe())):
    inspect.modulesbyfile.clear()
    inspect._filesbymodname.clear()
    way()
    found.append(dict(inspect.modulesbyfile))
print(json.dumps(found))
"""


def test_files_of_modules_are_known_as_python_finds_them(tmp_path: Path) -> None:
    """Also through links: a folder's, and a file's own."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "sound.py").write_text("")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    (tmp_path / "linked.py").symlink_to(tmp_path / "real" / "sound.py")
    output = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"import folder.sound, linked{FILES}"],
        env=of_a_user(PYTHONPATH=f"{SHARED}:{tmp_path}"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    ours, pythons = json.loads(output)
    assert ours == pythons
    assert str(tmp_path / "real" / "sound.py") in ours
    assert str(tmp_path / "linked.py") in ours


TABLE = """
import yaml
from gust.airflow_bridge import compat, warm
plain = yaml.SafeLoader
warm.set_environment()
from airflow.sdk._shared.observability.metrics import metrics_registry, stats
compat.know_metrics()
known = stats._registry._metrics
print(known == metrics_registry.MetricsRegistry()._metrics, len(known) > 100, yaml.SafeLoader is plain)
"""


def test_airflow_reads_the_same_metrics_in_c() -> None:
    output = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", TABLE],
        env=of_a_user(PYTHONPATH=str(SHARED)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert output.splitlines() == ["True True True"]
