"""The local stack's emulator with the meter in front, and around every invocation of a function a clock and a
counter of the lines that it printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from benches.meter import Application, Meter
from gust.local import emulator

Execute = Callable[[dict[str, Any], Any, str], dict[str, Any]]


def metered(application: Application) -> Application:
    """The application with a meter. MiniStack's own metrics count only invocations over HTTP, not by queue or stream."""
    # MiniStack reads its settings on import, so not before `main` has made them.
    from ministack.services import lambda_svc

    meter = Meter(application)
    lambda_svc._execute_function_warm = timed(lambda_svc._execute_function_warm, meter)
    return meter


def timed(execute: Execute, meter: Meter) -> Execute:
    @wraps(execute)
    def execute_and_time(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        started, printed = time.perf_counter(), ""
        try:
            answer = execute(function, event, request_id)
            printed = answer.get("log") or ""
            return answer
        finally:
            config = function.get("config") or function
            meter.invoked(
                config["FunctionName"],
                time.perf_counter() - started,
                memory_mb=config["MemorySize"],
                architecture=config.get("Architectures", ["x86_64"])[0],
                lines=printed.splitlines(),
            )

    return execute_and_time


if __name__ == "__main__":
    emulator.main(wrap=metered)
