"""The local stack's emulator with the border in front, and functions in sandboxes, from what `./gust deploy` uploads."""

from __future__ import annotations

import json
import os
from typing import Any, Final

from gust.local import emulator, ministack
from gust.local.asgi import Application
from gust.local.deployment import STACK_NAME
from tests.aws_like.artefacts import Artefacts
from tests.aws_like.emulator import data_folder, guarded
from tests.aws_like.sandbox import Function, Sandbox

INITS: Final = "inits.jsonl"
"""A line for each environment that was started: function, seconds, seconds of processor time."""

NAMES: Final = {
    "ministack.core.lambda_runtime": ("_worker_class_for", "Worker.kill", "Worker._discard_tmpdir", "Worker.invoke")
}


def from_artefacts(application: Application) -> Application:
    ministack.check(NAMES)
    from ministack.core import lambda_runtime

    artefacts = Artefacts()
    artefacts.functions()  # before there are threads that ask
    runtime = artefacts.runtime()
    data = data_folder()

    class Environment(lambda_runtime.Worker):  # type: ignore[misc]  # it has no types
        """A sandbox in the place of MiniStack's worker process."""

        sandbox: Sandbox | None = None

        def _spawn(self) -> None:
            task, layers, handler = artefacts.function_called(self.func_name, STACK_NAME)
            function = Function(
                name=self.func_name,
                handler=handler,
                task=task,
                opt=artefacts.opt(layers),
                memory=int(self.config["MemorySize"]),
                storage=int((self.config.get("EphemeralStorage") or {}).get("Size", 512)),
                timeout=float(self.config["Timeout"]),
                environment=self.config.get("Environment", {}).get("Variables", {}),
            )
            log = data / "logs" / f"{self.func_name}.sandbox.log"
            endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
            self.sandbox = Sandbox(function, runtime, endpoint=endpoint, log=log)
            self._proc = self.sandbox.process
            line = {
                "function": self.func_name,
                "seconds": self.sandbox.init_seconds,
                "processor": self.sandbox.init_processor_seconds,
                "lacking": self.sandbox.lacking,
            }
            with (data / INITS).open("a") as file:
                file.write(json.dumps(line) + "\n")

        def invoke(self, event: Any, request_id: str, **_: Any) -> dict[str, Any]:
            with self._lock:
                cold = self.sandbox is None or not self.sandbox.is_alive
                if cold:
                    self._spawn()
                assert self.sandbox is not None
                answer = self.sandbox.invoke(event, request_id)
            if answer.error:
                message = answer.payload.get("errorMessage", answer.error)
                return {
                    "status": "error",
                    "error": message,
                    "error_payload": answer.payload,
                    "cold_start": cold,
                    "log": "",
                }
            return {"status": "ok", "result": answer.payload, "cold_start": cold, "log": ""}

        def kill(self) -> None:
            self._discard_tmpdir()

        def _discard_tmpdir(self) -> None:
            if self.sandbox is not None:
                self.sandbox.end()

    lambda_runtime._worker_class_for = lambda _config: Environment
    return guarded(application)


if __name__ == "__main__":
    emulator.main(wrap=from_artefacts)
