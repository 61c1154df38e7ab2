"""The emulator of `tests.aws_like.emulator`, in which a minute of schedules, metrics and alarms takes a second."""

from __future__ import annotations

from typing import Final

from gust.local import emulator, ministack
from gust.local.asgi import Application
from tests.aws_like.emulator import guarded

MINUTE: Final = 1.0
"""Seconds."""

NAMES: Final = {"ministack.services.eventbridge": ("_SCHEDULER_TICK_INTERVAL", "_parse_rate_seconds")}


def hastened(application: Application) -> Application:
    from ministack.services import eventbridge

    ministack.check(NAMES)
    seconds_of = eventbridge._parse_rate_seconds

    def seconds(expression: str) -> float | None:
        found = seconds_of(expression)
        return found and found / 60 * MINUTE

    eventbridge._parse_rate_seconds = seconds
    eventbridge._SCHEDULER_TICK_INTERVAL = MINUTE / 4
    return guarded(application)


if __name__ == "__main__":
    emulator.main(wrap=hastened, minute=MINUTE)
