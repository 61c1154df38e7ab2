"""A process under test has a user's environment: it cannot tell that a test has started it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import environment
from tests.environment import of_a_user

TESTS = Path(__file__).parents[1]
STARTS = {"run", "Popen", "check_call", "check_output", "call"}
STACKS = {"LocalStack", "running"}


def test_a_users_shell_has_nothing_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*environment.SWITCHES, "AIRFLOW__CORE__PARALLELISM", "GUST_BUCKET", "AWS_PROFILE", "CI"):
        monkeypatch.setenv(name, "1")
    seen = of_a_user(ASKED_FOR="yes")
    assert seen.pop("ASKED_FOR") == "yes"
    assert not [
        name for name in seen if name not in environment.KEPT and not name.startswith(environment.KEPT_PREFIXES)
    ]
    assert seen["PATH"] == os.environ["PATH"]


def test_a_child_that_a_test_forks_does_not_know_of_it() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, repr([name for name in os.environ if name.startswith("PYTEST")]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 1000) == b"[]"
    assert "PYTEST_VERSION" not in os.environ


def test_each_pytest_process_has_an_airflow_of_its_own() -> None:
    """A process of `-n 2` is started by another that has made Airflow's settings already."""
    place = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    show = f"import os, tests.conftest; print(os.environ['AIRFLOW_HOME'], os.environ[{place!r}])"
    started = of_a_user(**{place: os.environ[place], "AIRFLOW__CORE__PARALLELISM": "1", "PYTHONPATH": "shared:."})
    program = [sys.executable, "-c", f"{show}; print([name for name in os.environ if 'PARALLELISM' in name])"]
    done = subprocess.run(program, env=started, cwd=TESTS.parent, capture_output=True, text=True, check=True)  # noqa: S603

    where, others = done.stdout.splitlines()
    home, bundles = where.split(" ", 1)
    assert str(Path(home).parent) in bundles
    assert bundles != os.environ[place]
    assert others == "[]"


def test_everything_that_a_test_starts_is_given_a_users_environment() -> None:
    """Or one that says otherwise on purpose, and is not the test's own."""
    assert list(_started_with_the_tests_own()) == []


def _started_with_the_tests_own() -> Iterator[str]:
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Attribute(value=ast.Name("subprocess"), attr=name) if name in STARTS:
                    wanted = "env"
                case ast.Name(name) if name in STACKS:
                    wanted = "environment"
                case _:
                    continue
            if not any(keyword.arg in (wanted, None) for keyword in node.keywords):
                yield f"{path.relative_to(TESTS)}:{node.lineno}"


READS = re.compile(r"""(?:environ(?:\.get|\.pop)?|getenv)\s*[(\[]\s*["'](\w+)["']|["']([A-Z_]\w+)["'] in os\.environ""")

OTHERS = re.compile(r"AIRFLOW__|AIRFLOW_(CONN|VAR)_|OTEL_|GUNICORN|FORWARDED_ALLOW_IPS|KRB5")
"""Settings, and what belongs to servers that Gust does not run."""


def test_all_switches_of_airflow_are_known() -> None:
    """A new release may read another: look at what it does, and name it among the switches."""
    (place,) = find_spec("airflow").submodule_search_locations or ()  # type: ignore[union-attr]
    found = set()
    for path in Path(place).rglob("*.py"):
        below = path.relative_to(place).parts
        if below[0] in ("providers", "example_dags", "migrations", "cli"):
            continue
        for names in READS.findall(path.read_text()):
            found.update(name for name in names if name)
    unknown = {name for name in found if not OTHERS.match(name)} - environment.SWITCHES.keys() - environment.KEPT
    assert unknown == set()
