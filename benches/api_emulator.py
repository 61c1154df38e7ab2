"""MiniStack with a history in its table: the emulator of the API's bench. The process ends with its standard input."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from benches.history import Size, fill
from benches.meter import Message, Receive, Send

FILL: Final = "/_bench/fill"
"""`POST` with a table's name writes the history into it and answers what that took."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches.api_emulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dags", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    options = parser.parse_args()
    os.environ.update(BIND_HOST="127.0.0.1", GATEWAY_PORT=str(options.port), SFTP_ENABLED="0", IOT_MTLS_ENABLED="0")
    asyncio.run(serve(options.port, Size(options.dags, options.runs)))


async def serve(port: int, size: Size) -> None:
    import uvicorn
    from ministack import app as ministack

    from gust.local.ministack import parse_expressions_once

    parse_expressions_once()

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == FILL:
            await answer(send, filled(size))
        else:
            await ministack.app(scope, receive, send)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, interface="asgi3", lifespan="on", log_level="warning",
        access_log=False, timeout_keep_alive=75,
    )  # fmt: skip
    server = Server(config)
    asyncio.get_running_loop().add_reader(sys.stdin, stop_at_end_of_input, server)
    await server.serve()
    os._exit(0)


def stop_at_end_of_input(server: Any) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        server.should_exit = True


def filled(size: Size) -> dict[str, Any]:
    from ministack.services import dynamodb

    started = time.monotonic()
    gc.disable()
    [table] = [table for (_, _, name), table in dynamodb._tables._data.items()]
    count = fill(table, size)
    dynamodb._items_replaced(table)
    dynamodb._index_members(table)
    # A collection would look at all of it again and again.
    gc.freeze()
    gc.enable()
    return {
        "items": count,
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def answer(send: Send, content: dict[str, Any]) -> None:
    start: Message = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


if __name__ == "__main__":
    main()
