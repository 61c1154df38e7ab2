"""A child that runs a trigger, a watcher or a callback: supervised as a try is, but it reports no state of one.

While it runs, its supervisor hides the message that asked for it, and asks whether it is still wanted: a supervisor that is
dead does neither, and another function goes on within a minute.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import attrs
import httpx
from airflow.sdk.execution_time import supervisor

from gust.airflow_bridge.execute import GONE, SupervisedTry
from gust.airflow_bridge.pipe import Pipe
from gust.aws.queues import RENEWED_EVERY


@dataclass(slots=True, kw_only=True)
class Signs:
    """What a supervisor does again and again while its child runs."""

    hide: Callable[[], object]
    """Hides the message from other functions for a while."""
    ask: Callable[[], object]
    """Asks whether the child is still wanted."""
    hide_every: float = RENEWED_EVERY
    """Seconds."""
    ask_every: float = RENEWED_EVERY
    """Seconds."""
    hid_at: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)

    def until_next(self) -> float:
        """Seconds until something is due."""
        due_at = min(self.hid_at + self.hide_every, self.asked_at + self.ask_every)
        return max(0.0, due_at - time.monotonic())

    def give(self) -> None:
        """Do what is due. Raises what asking raises."""
        now = time.monotonic()
        if now >= self.hid_at + self.hide_every:
            self.hid_at = now
            self.hide()
        if now >= self.asked_at + self.ask_every:
            self.asked_at = now
            self.ask()


@attrs.define(kw_only=True)
class SupervisedChild(SupervisedTry):
    """Serves the child's requests as a task's, keeps its log, and hears through a pipe what came of it."""

    said: Pipe
    signs: Signs
    was_stopped: bool = attrs.field(default=False, init=False)

    def _register_pipe_readers(self, *args: Any, **kwargs: Any) -> None:
        super()._register_pipe_readers(*args, **kwargs)
        self.selector.register(
            self.said, supervisor.selectors.EVENT_READ, (self.said.receive, self.selector.unregister)
        )

    def _on_child_started(self, **kwargs: Any) -> None:  # noqa: ARG002 - the child starts by itself
        self._note_heartbeat()

    def _service_subprocess(self, max_wait_time: float, *args: Any, **kwargs: Any) -> int | None:
        return super()._service_subprocess(min(max_wait_time, self.signs.until_next()), *args, **kwargs)

    def _send_heartbeat_if_needed(self) -> None:
        """Not a sign of life but a question: what was cleared, timed out or is run by another function is stopped."""
        self._note_heartbeat()
        try:
            self.signs.give()
        except httpx.HTTPStatusError as error:
            if error.response.status_code in GONE:
                self._stop()
        except httpx.TransportError as error:
            self.process_log.warning("The control plane does not answer", error=str(error))

    def _note_heartbeat(self) -> None:
        """Airflow's loop rests between two looks only while it believes that a heartbeat succeeded of late."""
        self._last_successful_heartbeat = time.monotonic()  # type: ignore[misc]  # a slot of the base

    def _stop_at_limit(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if not self.was_stopped:
            self.was_stopped = True
            self.kill(signal.SIGKILL, force=True)

    def update_task_state_if_needed(self) -> None:
        """It has no state to report; what it said is reported once it is gone."""
