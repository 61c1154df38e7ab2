"""The commands of an environment: `python` and `airflow` with its packages behind Airflow's own, for processes that a task
starts. `python` has the names that an interpreter has in a virtual environment: EKS's token is made by `python3.12`.

They are written where the environment is unpacked, because only that machine knows which interpreter runs tasks. The scripts
of packages look for `python` on the PATH, and find this one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote
from typing import Final

LAYER_BIN: Final = "/opt/bin"
"""Where Lambda unpacks our layer's commands: `python` with the layer's packages, and `airflow`."""

_PYTHON: Final = """#!/bin/sh
# The interpreter that runs tasks, with the packages that they have. They are not in a variable of the task's own: a virtual
# environment that it makes must not see them.
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
PYTHONPATH=${{PYTHONPATH:+$PYTHONPATH:}}$here exec {python} "$@"
"""
_AIRFLOW: Final = """#!/bin/sh
exec "$(dirname -- "$0")/python" -m airflow "$@"
"""


def add_to(environment: Path) -> None:
    folder = environment / "bin"
    folder.mkdir(exist_ok=True)
    base = f"{LAYER_BIN}/python" if os.path.exists(f"{LAYER_BIN}/airflow") else sys.executable
    python = _PYTHON.format(python=quote(base))
    names = ("python", f"python{sys.version_info.major}", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for name, text in (*((name, python) for name in names), ("airflow", _AIRFLOW)):
        command = folder / name
        command.unlink(missing_ok=True)
        command.write_text(text)
        command.chmod(0o755)
