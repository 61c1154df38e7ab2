"""Runs uv as a command, with a scrubbed environment, and passes on its error messages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gust.errors import GustError

PASSED_ON: Final = ("UV_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "LANG", "LC_")
ALSO: Final = frozenset({"PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "all_proxy", "no_proxy"})
"""The only variables of this process that uv gets. A requirements file may name variables (`${TOKEN}` in an index's
address), and this process holds AWS credentials."""


RETRIES: Final = "5"
"""Of a request to an index, in some 25 seconds: a failed build is not repeated before the next upload, or minutes."""


class Refused(GustError):
    """uv failed; the message is uv's own."""


@dataclass(frozen=True, slots=True)
class Uv:
    patience: float
    """Seconds that all commands may take together."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that a requirements file may name."""
    command: str = ""
    platform: str = ""
    """uv's name of the platform that packages are for; empty for this machine's."""
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "began", self.clock())

    def run(self, arguments: Sequence[str], *, inside: Path) -> str:
        """Returns uv's output on stderr, such as warnings. Raises Refused."""
        command = [self.command or find(), *arguments, "--python", sys.executable, "--color", "never", "--no-progress"]
        if self.platform:
            command += ["--python-platform", self.platform]
        try:
            done = subprocess.run(  # noqa: S603 - arguments are ours; the author's words stand in files
                command,
                cwd=inside,
                env=dict(self.variables) | environment(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=max(0.0, self.began + self.patience - self.clock()),
                check=False,
            )
        except subprocess.TimeoutExpired as slow:
            raise Refused(f"It was not done within {self.patience:.0f} seconds.") from slow
        output = self.masked(done.stderr.replace(f"{inside}/", ""))
        if done.returncode:
            raise Refused(output.strip() or f"uv ended with exit code {done.returncode} and no word.")
        return output

    def expanded(self, text: str) -> str:
        """The text with its `${NAME}` replaced, as uv replaces them in a requirements file."""
        for name, value in self.variables.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    def masked(self, output: str) -> str:
        """The text without the values of the variables."""
        for value in self.variables.values():
            if value:
                output = output.replace(value, "***")
        return output


def find() -> str:
    """The `uv` beside our interpreter, or on the PATH; on Lambda the layer `builder` has it. Raises Refused."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which("uv", path=places)
    if found is None:
        raise Refused("uv is not installed where environments are built.")
    return found


def environment(around: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in around.items() if name in ALSO or name.startswith(PASSED_ON)}
    kept.setdefault("UV_HTTP_RETRIES", RETRIES)
    if "HOME" not in kept:
        kept.setdefault("UV_CACHE_DIR", f"{tempfile.gettempdir()}/gust-uv")
    return kept
