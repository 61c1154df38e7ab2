"""Task logs."""

from __future__ import annotations

from typing import Any, Protocol

from gust.model.task_instance import TaskInstance


class LogReader(Protocol):
    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Structured log lines of one try in order, and a token for what follows (`None` at the end)."""

    def where(self, instance: TaskInstance) -> list[str]:
        """How a person finds the lines without Gust, a line for each way; nothing where there are none."""
