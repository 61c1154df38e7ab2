"""An upgrade of Airflow looks here first: private names stand in `compat` and `supervisor` alone, and the undocumented
imports of every other module are listed."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
BRIDGE = ROOT / "shared" / "gust" / "airflow_bridge"
AIRFLOW = Path(importlib.util.find_spec("airflow").origin).parent
SEAM = {BRIDGE / "compat.py", BRIDGE / "supervisor.py"}

PYTHONS_OWN = {
    ("sys", "_getframe"),
    ("sys", "_is_gil_enabled"),
    ("os", "_exit"),
    ("environ", "_data"),
    ("environb", "_data"),
}
PRIVATE_MODULE = re.compile(r"airflow\.(\w+\.)*_[a-z]\w*(\.\w+)*")


DOCUMENTED = {
    "airflow.configuration",
    "airflow.dag_processing.bundles.base",
    "airflow.policies",
    "airflow.sdk",
    "airflow.sdk.bases.secrets_backend",
    "airflow.sdk.exceptions",
    "airflow.triggers.base",
}
"""Modules that Airflow's documentation offers to DAG authors and deployments."""

UNDOCUMENTED = {
    "crashes.py": {"airflow.settings"},
    "dag_spec.py": {
        "airflow.sdk.serde",
        "airflow.serialization.definitions.assets",
        "airflow.serialization.definitions.notset",
        "airflow.serialization.definitions.xcom_arg",
    },
    "pace.py": {"airflow.sdk.serde"},
    "rehearsal.py": {"airflow.sdk.execution_time.comms", "airflow.sdk.execution_time.task_runner"},
    "secrets_backend.py": {"airflow.sdk.execution_time.comms", "airflow.sdk.execution_time.task_runner"},
    "sensors.py": {"airflow.settings"},
    "settings_reader.py": {"airflow.sdk.execution_time.comms"},
    "task_log.py": {"airflow.sdk.log"},
    "trigger.py": {"airflow.sdk.module_loading", "airflow.sdk.serde"},
    "trigger_questions.py": {"airflow.sdk.execution_time.comms"},
    "warm.py": {"airflow.sdk.execution_time.comms", "airflow.sdk.log"},
    "watcher.py": {"airflow.sdk.module_loading"},
}
"""Module of the bridge → modules of Airflow that it imports without a promise. Prefer `compat` to a new entry."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names(source: str) -> Iterator[str]:
    """`line: name` of each private module or name of Airflow's, and of each private attribute of another object: what it
    belongs to cannot be told from a file's text, and no other code is reached into either."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names if PRIVATE_MODULE.match(alias.name)]
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "airflow":
                found = [f"{module}.{a.name}" for a in names if is_private(a.name) or PRIVATE_MODULE.match(module)]
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in PYTHONS_OWN:
                continue
            case ast.Attribute(attr=name) if is_private(name):
                found = [name]
            case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[owner, ast.Constant(value=str(name)), *_]):
                found = [name] if is_private(name) and (ast.unparse(owner), name) not in PYTHONS_OWN else []
            case ast.Constant(value=str(text)):
                found = [text] if PRIVATE_MODULE.fullmatch(text) else []
            case _:
                continue
        yield from (f"{node.lineno}: {name}" for name in found)


@pytest.mark.parametrize("file", sorted({*BRIDGE.glob("*.py")} - SEAM), ids=lambda file: file.name)
def test_a_module_of_the_bridge_uses_no_private_name(file: Path) -> None:
    assert list(private_names(file.read_text())) == []


def imported(source: str) -> Iterator[str]:
    """Modules of Airflow that the source imports. A name of a package counts as a module where Airflow has one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "airflow")
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "airflow":
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                yield path if is_module(path) else str(node.module)


def is_module(path: str) -> bool:
    place = AIRFLOW.joinpath(*path.split(".")[1:])
    return place.with_suffix(".py").is_file() or place.is_dir()


@pytest.mark.parametrize("file", sorted({*BRIDGE.glob("*.py")} - SEAM), ids=lambda file: file.name)
def test_a_module_of_the_bridge_imports_what_is_documented_or_listed(file: Path) -> None:
    assert set(imported(file.read_text())) - DOCUMENTED == UNDOCUMENTED.get(file.name, set())


@pytest.mark.parametrize(
    "line",
    [
        "from airflow.sdk.api.datamodels._generated import TaskInstance",
        "import airflow.sdk._shared.module_loading",
        "from airflow.sdk.plugins_manager import _get_plugins",
        "group._expand_input",
        "super()._handle_request(1)",
        "getattr(task, '_task_module')",
        "modules = ['airflow.sdk._shared.secrets_masker']",
    ],
)
def test_the_ban_sees(line: str) -> None:
    assert list(private_names(line))


def test_the_ban_leaves_alone_what_is_ours_or_pythons() -> None:
    source = """
        import sys
        from airflow.sdk import DAG
        class A:
            def b(self):
                return self._c, sys._getframe(1), DAG.__name__, "airflow.sdk"
    """
    assert list(private_names(dedent(source))) == []
