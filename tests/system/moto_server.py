"""moto's server as a process of its own, for services that the stack's emulator lacks.

    with running() as url: …

`python -m tests.system.moto_server` is that process: it writes its port to stdout, and ends with its stdin.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.environment import of_a_user

_ROOT = Path(__file__).parents[2]


@contextmanager
def running() -> Iterator[str]:
    """Its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.system.moto_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=_ROOT,
        env=of_a_user(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1"),
    )
    with process:
        port = process.stdout.readline().strip()  # type: ignore[union-attr]  # a pipe
        assert port, "moto's server did not start"
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()  # type: ignore[union-attr]  # a pipe
        process.wait(10)


def main() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
