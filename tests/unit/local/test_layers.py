"""All imports of the functions are in the layers that they are deployed with."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from gust.services.deployments import pins
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]
ONLY_HERE = {"local", "cli"}
FOR_TYPE_CHECKERS = {"_typeshed"}
WITH_AIRFLOW = {"airflow_bridge"}
FUNCTIONS_WITH_AIRFLOW = {"parser", "triggerer", "worker"}


def test_functions_without_airflow_import_only_what_the_runtime_layer_holds() -> None:
    files = [
        file
        for file in (ROOT / "shared" / "gust").rglob("*.py")
        if file.relative_to(ROOT / "shared" / "gust").parts[0] not in ONLY_HERE | WITH_AIRFLOW
    ]
    files += [f for f in (ROOT / "functions").rglob("*.py") if f.parent.name not in FUNCTIONS_WITH_AIRFLOW]
    assert imported_by(files) <= locked("layer-runtime")


@pytest.mark.parametrize("package", sorted(WITH_AIRFLOW))
def test_what_has_airflow_imports_only_what_both_layers_hold(package: str) -> None:
    files = (ROOT / "shared" / "gust" / package).rglob("*.py")
    assert imported_by(files) <= locked("layer-runtime") | locked("layer-airflow")


@pytest.mark.parametrize("layer", ["layer-runtime", "layer-airflow", "layer-builder"])
def test_layers_hold_the_versions_that_are_tested(layer: str) -> None:
    lock = (ROOT / "requirements" / f"{layer}.txt").read_text()
    assert pinned(lock) <= pinned((ROOT / "requirements" / "local.txt").read_text())


def imported_by(files: Iterator[Path] | list[Path]) -> set[str]:
    """Distributions, normalized."""
    known = packages_distributions()
    modules = {name for file in files for name in imports(ast.parse(file.read_text()))}
    foreign = modules - set(sys.stdlib_module_names) - FOR_TYPE_CHECKERS - {"gust"}
    return {normalized(known[name][0]) if name in known else name for name in foreign}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name.split(".")[0] for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module.split(".")[0]


def locked(name: str) -> set[str]:
    return {normalized(line.split("==")[0]) for line in pinned((ROOT / "requirements" / f"{name}.txt").read_text())}


def pinned(lock: str) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9._-]+==[^ ;]+)", lock, re.MULTILINE))


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_layer_has_the_pins_of_environments_that_a_checkout_has() -> None:
    """`layers/build.sh` writes them with sed, a checkout reads them from the locks."""
    script = (ROOT / "layers" / "build.sh").read_text()
    function = re.search(r"^pins\(\) \{\n.*?^\}\n", script, re.DOTALL | re.MULTILINE)
    assert function is not None
    locks = [str(ROOT / "requirements" / f"{lock}.txt") for lock in ("layer-airflow", "layer-runtime")]
    written = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", f'{function[0]}pins "$@"', "sh", *locks], capture_output=True, text=True, check=True,
        env=of_a_user(),
    )  # fmt: skip
    assert tuple(written.stdout.splitlines()) == pins.pins()


def test_what_a_layer_drops_an_environment_brings() -> None:
    dropped = re.search(r"for name in (uvloop [^;]+); do", (ROOT / "layers" / "build.sh").read_text())
    assert dropped is not None
    assert set(dropped[1].split()) == pins.NOT_SHIPPED
