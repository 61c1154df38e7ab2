"""Layer `web` for the local stack: what `layers/web/pack.py` makes of the Airflow that is installed here.

It takes a second and is kept beside the packages it was made from, in `.venv`, so that the next stack finds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

_KEPT: Final = Path(sys.prefix) / "share" / "gust"


def packed_web(root: Path) -> Path:
    """The folder that a function would find as /opt/web. Packs it where it is not there yet."""
    script = root / "layers" / "web" / "pack.py"
    # By the names of folders: to read the metadata of all that is installed takes a tenth of a second.
    packed = ("apache_airflow*.dist-info", "aws_lambda_powertools-*.dist-info")
    versions = sorted(found.name for folder in sys.path for names in packed for found in Path(folder).glob(names))
    form = root / "shared" / "gust" / "model" / "connection_form.py"
    ours = [script.read_text(), script.with_name("docs.html").read_text(), form.read_text()]
    state = hashlib.sha256("\n".join([*versions, *ours]).encode()).hexdigest()[:16]
    kept = _KEPT / f"web-{state}"
    if not kept.is_dir():
        _pack(script, kept)
    return kept


def _pack(script: Path, kept: Path) -> None:
    """Whole or not at all: two stacks may start at once."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=kept.parent, prefix="packing-"))
    try:
        subprocess.run([sys.executable, str(script), str(airflow()), str(swagger()), str(made / "web")], check=True)
        with contextlib.suppress(OSError):  # another one was first
            os.rename(made / "web", kept)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def airflow() -> Path:
    """Where the package lies, without importing it."""
    return _located("apache-airflow-core", "airflow")


def swagger() -> Path:
    """Where powertools has Swagger UI."""
    return _located("aws-lambda-powertools", "aws_lambda_powertools/event_handler/openapi/swagger_ui")


def _located(name: str, folder: str) -> Path:
    for distribution in distributions(name=name):
        return Path(str(distribution.locate_file(folder)))
    raise FileNotFoundError(f"{name} is not installed")
