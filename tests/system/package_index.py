"""The package index that the builder's uv uses on this machine."""

import os
import subprocess
import sys
from pathlib import Path

from gust.environment_builder.uv import environment, find


def answers(requirement: str, place: Path) -> bool:
    """Whether the package index offers it as a wheel."""
    (place / "asked.txt").write_text(requirement)
    asked = [find(), "pip", "compile", "asked.txt", "--quiet", "--only-binary", ":all:", "--python", sys.executable]
    done = subprocess.run(  # noqa: S603
        asked, cwd=place, env=environment(os.environ), capture_output=True, timeout=60, check=False
    )
    return done.returncode == 0
