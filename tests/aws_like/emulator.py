"""The local stack's emulator with the border in front: `LocalGust` starts it instead of the plain one."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from gust.local import emulator, ministack
from gust.local.asgi import Application
from tests.aws_like.border import FILE, NAMES, Border, Record, limit_invocations
from tests.aws_like.holding import Holding
from tests.aws_like.throttles import Busy

BUSY: Final = "GUST_BUSY"
"""Environment variable: seed and share of throttled calls of a busy AWS, as `7/0.2`."""


def guarded(application: Application) -> Application:
    # MiniStack reads its settings on import, so not before `main` has made them.
    ministack.check(NAMES)
    record = Record(data_folder() / FILE)
    limit_invocations(record)
    return Holding(Border(application, record, busy=_busy()), data_folder())


def _busy() -> Busy | None:
    seed, _, share = os.environ.get(BUSY, "").partition("/")
    return Busy(int(seed), float(share)) if seed else None


def data_folder() -> Path:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    given: Path = parser.parse_known_args(sys.argv[1:])[0].data
    return given


if __name__ == "__main__":
    emulator.main(wrap=guarded)
