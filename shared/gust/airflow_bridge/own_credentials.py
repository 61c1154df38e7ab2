"""The AWS credentials that Lambda or ECS puts into a function's environment, kept out of memory while children are prepared.

`hide` moves them into a pipe and overwrites them wherever they lie in this process's memory: in the environment block that
/proc shows, in `os.environ`, in what was freed. `restore` puts them back into the environment, for the AWS clients
of this process. A process that is forked between the two has never seen them.
"""

from __future__ import annotations

import ctypes
import json
import logging
import mmap
import os
from pathlib import Path
from typing import Final

from gust.airflow_bridge.surroundings import OUR_CREDENTIALS

SECRETS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)

SHORTEST: Final = 16
"""Characters. Shorter values are no secrets (the local stack's `local`), and may stand in memory for something else."""

log = logging.getLogger(__name__)


class OwnCredentials:
    """Made by `hide`, ended by `restore`."""

    def __init__(self, reading: int) -> None:
        self._reading = reading

    def restore(self) -> None:
        with os.fdopen(self._reading) as file:
            os.environ |= json.load(file)


def hide() -> OwnCredentials:
    """For a process without other threads, before it makes an AWS client."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        json.dump({name: os.environ[name] for name in OUR_CREDENTIALS if name in os.environ}, file)
    patterns = [_Pattern(os.environ[name]) for name in SECRETS if len(os.environ.get(name, "")) >= SHORTEST]
    for name in OUR_CREDENTIALS:
        os.environ.pop(name, None)
    _overwrite(patterns)
    if _overwrite(patterns):
        log.warning("The function's own credentials could not be removed from its memory")
    for pattern in patterns:
        pattern.close()
    return OwnCredentials(reading)


class _Pattern:
    """A text in memory that is not searched (shared memory is not), in the encoding of the environment."""

    def __init__(self, text: str) -> None:
        encoded = os.fsencode(text)
        self.length = len(encoded)
        self._shared = mmap.mmap(-1, self.length)
        self._shared[:] = encoded
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._shared))

    def close(self) -> None:
        self._shared[:] = bytes(self.length)


def _overwrite(patterns: list[_Pattern]) -> int:
    """Overwrite every occurrence in this process's private, writable memory. Returns how many there were."""
    search = ctypes.CDLL(None).memmem
    search.restype = ctypes.c_void_p
    search.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)
    found = 0
    for begin, end in _private_memory():
        for pattern in patterns:
            at = search(begin, end - begin, pattern.address, pattern.length)
            while at:
                ctypes.memset(at, ord("x"), pattern.length)
                found += 1
                at += pattern.length
                at = search(at, end - at, pattern.address, pattern.length)
    return found


def _private_memory() -> list[tuple[int, int]]:
    """Beginning and end of each mapping that is this process's alone and that it may write."""
    mappings = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions = line.split()[:2]
        if permissions.startswith("rw") and permissions.endswith("p"):
            begin, _, end = addresses.partition("-")
            mappings.append((int(begin, 16), int(end, 16)))
    return mappings
