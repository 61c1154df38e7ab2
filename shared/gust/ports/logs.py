"""Task logs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.task_instance import TaskInstance


class LogReader(Protocol):
    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Structured log lines of one try in order, and a token for the next lines (`None` at the end)."""

    def where(self, instance: TaskInstance) -> list[str]:
        """How to find the lines without Gust, a text for each way; empty if there are none."""
