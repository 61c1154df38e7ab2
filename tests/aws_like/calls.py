"""The records that the borders of many stacks leave behind (`tests.aws_like.border`)."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from tests.aws_like.border import FILE

EMULATOR: Final = "tests.aws_like.emulator"
"""The module that runs as the emulator's process."""

KEPT_IN: Final = "GUST_AWS_CALLS"
"""Environment variable of a test run: the folder for its stacks' records. `./gust test` sets it."""


def keep(data: Path, *, means_to_refuse: str = "") -> None:
    """Move a stack's record to the folder of the test run, if it has one. Raises AssertionError with what AWS would have
    refused, if there is anything other than the resources of the pattern. Calling it again does nothing."""
    file = data / FILE
    if not file.exists():
        return
    refused = [
        line for line in read(file) if "refused" in line and not fnmatchcase(line.get("resource", ""), means_to_refuse)
    ]
    if folder := os.environ.get(KEPT_IN):
        shutil.copy(file, Path(folder) / f"{uuid.uuid4().hex}.jsonl")
    file.unlink()
    assert not refused, f"AWS would have refused these calls: {json.dumps(refused, indent=2)}"


def read(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines():
        yield json.loads(line)
