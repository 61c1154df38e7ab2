"""Airflow without libcst until the verb that needs it."""

from __future__ import annotations

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
