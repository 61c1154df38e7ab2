"""The environment of every process that a test starts: a user's, and nothing of the test's own.

Airflow behaves differently under pytest (`SWITCHES`), and variables that a test sets do not exist at a user's. So every
process under test gets its variables from `of_a_user`, and a child that a test forks drops the test's.
"""

from __future__ import annotations

import os
import re
from typing import Final

KEPT: Final = frozenset({"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"})
"""What every shell has."""

KEPT_PREFIXES: Final = ("LC_", "OPENBLAS_", "PIP_", "SSL_", "UV_", "XDG_")
"""How names begin of what a machine needs to find its packages, certificates and processor."""

SWITCHES: Final = {
    "PYTEST_VERSION": "loggers are not kept at their first use",
    "PYTEST_CURRENT_TEST": "a handler of remote logs that cannot be made is an error",
    "_AIRFLOW__AS_LIBRARY": "`import airflow` initializes nothing",
    "_AIRFLOW_SKIP_DB_TESTS": "the database's session is a fake",
    "_AIRFLOW_PATCH_GEVENT": "gevent takes the place of threads",
    "_AIRFLOW_PROCESS_CONTEXT": "which secrets backends are asked",
    "_AIRFLOW_FORK_EXEC": "the task's process asks for its log's socket",
    "_AIRFLOW__REEXECUTED_PROCESS": "the task's process was started by sudo",
    "_AIRFLOW__STARTUP_MSG": "what the process that was started by sudo shall run",
    "__AIRFLOW_SUPERVISOR_FD": "the socket of a task's supervisor",
    "_AIRFLOW_PARSING_CONTEXT_DAG_ID": "a DAG file is parsed for one DAG",
    "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "a DAG file is parsed for one task",
    "AIRFLOW_DISABLE_GREENBACK_PORTAL": "triggers have no greenback",
    "AIRFLOW_IS_K8S_EXECUTOR_POD": "rendered fields hold the pod's specification",
    "AIRFLOW_CONFIG": "another configuration file",
    "AIRFLOW_HOME": "another home",
    "AIRFLOW_API_APPS": "which applications the API server has",
    "BUILDING_AIRFLOW_DOCS": "types as documentation wants them",
    "PYTHON_OPERATORS_VIRTUAL_ENV_MODE": "no signal handlers and no ORM at exit",
    "DEV": "tracebacks in colors",
    "DEV_MODE": "the web UI comes from Vite",
    "NO_COLOR": "logs without colors",
    "FORCE_COLOR": "logs with colors",
    "COLORTERM": "how many colors",
    "AIRFLOW_IS_EXECUTOR_CONTAINER": "logs of an executor's container go to its stdout, too",
    "SQLALCHEMY_ENGINE_DEBUG": "the database is traced",
    "PYTHONASYNCIODEBUG": "asyncio's debug mode",
    "PYTHONDEVMODE": "Python's development mode",
}
"""Variables that switch Airflow's behaviour, beside its settings (`AIRFLOW__…`), connections and variables. None of them
may come from a test."""


def of_a_user(**more: str) -> dict[str, str]:
    """Environment variables as a user's shell has them, and `more`."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    return kept | more


def forget_airflow() -> None:
    """Take Airflow's variables out of this process, before Airflow is imported: a developer's, and those of the pytest
    process that has started this one. With them, all processes of a run would unpack bundles into one folder."""
    for name in [name for name in os.environ if re.match("_*AIRFLOW_", name)]:
        del os.environ[name]


def forget_the_test() -> None:
    """Take this process's traces of pytest away. For children that a test forks, which are under test themselves."""
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]


def make_children_forget() -> None:
    """From now on every fork of this process forgets the test, and this process looks to Airflow like any other.

    pytest sets `PYTEST_CURRENT_TEST` for each test and wants to find it again, so that one stays here."""
    os.environ.pop("PYTEST_VERSION", None)
    os.register_at_fork(after_in_child=forget_the_test)
