"""Task logs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.task_instance import TaskInstance


class LogReader(Protocol):
    """Reads task logs."""

    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """At most `limit` structured log lines of one try, in order, and a token for the lines that follow (`None` at the
        end)."""

    def where(self, instance: TaskInstance) -> list[str]:
        """How a person finds the lines without Gust, one line for each way; empty if there are no lines."""
