"""Callbacks and deadlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.callback import Callback
from gust.model.keys import DagRunKey
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling.callback import CallbackMove


class CallbackStore(Protocol):
    """Callbacks that a run owes; `load_run` reads them with it."""

    def get_callback(self, run: DagRunKey, callback_id: str) -> Callback | None: ...

    def list_callbacks(self, run: DagRunKey) -> list[Callback]: ...

    def walk_deadlines(self, dag_id: str | None = None, window: Window = OLDEST_FIRST) -> Iterator[Callback]:
        """Deadlines of a DAG's runs, or of all runs, in order of (due_at, dag_id, run_id, callback_id), between the moments,
        both included. Read as far as they are asked for; may lag by a moment."""

    def move_callback(self, move: CallbackMove) -> None:
        """Write the fields in which `after` differs from `before`, if the stored (state, dispatch_count, started_at,
        due_at) are `before`'s, or nothing is stored where there is no `before`. Repeating a move that already happened
        is no error; the worker counts there, so that of two that claim it one is stale. Raises StaleCallback."""
