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
    versions = sorted(f"{d.name}=={d.version}" for d in distributions() if (d.name or "").startswith("apache-airflow"))
    state = hashlib.sha256("\n".join([*versions, script.read_text()]).encode()).hexdigest()[:16]
    kept = _KEPT / f"web-{state}"
    if not kept.is_dir():
        _pack(script, kept)
    return kept


def _pack(script: Path, kept: Path) -> None:
    """Whole or not at all: two stacks may start at once."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=kept.parent, prefix="packing-"))
    try:
        subprocess.run([sys.executable, str(script), str(_airflow()), str(made / "web")], check=True)
        with contextlib.suppress(OSError):  # another one was first
            os.rename(made / "web", kept)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _airflow() -> Path:
    """Where the package lies, without importing it."""
    for distribution in distributions(name="apache-airflow-core"):
        return Path(str(distribution.locate_file("airflow")))
    raise FileNotFoundError("apache-airflow-core is not installed")
