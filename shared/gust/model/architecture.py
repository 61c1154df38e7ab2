"""Architectures of workers."""

import os
from collections.abc import Mapping
from typing import Final

ARM64: Final = "arm64"
X86_64: Final = "x86_64"

MACHINES: Final[Mapping[str, str]] = {ARM64: "aarch64", X86_64: "x86_64"}
"""Architecture, by Lambda's name → Linux's name of the machine. Workers have one of these."""


def this_architecture() -> str:
    """Of this machine, by Lambda's name."""
    machine = os.uname().machine
    return next((name for name, known in MACHINES.items() if machine in (name, known)), machine)
