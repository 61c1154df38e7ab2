"""The records that the borders of many stacks write (`tests.aws_like.border`)."""

from __future__ import annotations

import json
import os
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


def begin(data: Path) -> None:
    """Have the border of a stack over this folder write into the folder of the test run, if it has one: what it has
    recorded stays there also if the stack's test process does not come to `look_at`. Before each start of the stack."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder := os.environ.get(KEPT_IN)) and not (data / FILE).is_symlink():
        Path(folder).mkdir(parents=True, exist_ok=True)
        (data / FILE).symlink_to(Path(folder) / f"{uuid.uuid4().hex}.jsonl")


def look_at(data: Path, *, means_to_refuse: str = "") -> None:
    """Raises AssertionError with what AWS would have refused, if there is anything other than the resources of the pattern.
    Calling it again does nothing."""
    file = data / FILE
    if not file.exists():
        return
    refused = [
        line for line in read(file) if "refused" in line and not fnmatchcase(line.get("resource", ""), means_to_refuse)
    ]
    file.unlink()  # of a record of the test run, only the link
    assert not refused, f"AWS would have refused these calls: {json.dumps(refused, indent=2)}"


def read(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines():
        yield json.loads(line)
