"""Callbacks and deadlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.callback import Callback
from gust.model.keys import DagRunKey
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling.callback import CallbackMove


class CallbackStore(Protocol):
    """Callbacks and deadlines of runs. `load_run` reads them with their run."""

    def get_callback(self, run: DagRunKey, callback_id: str) -> Callback | None:
        """`None` if the run has no such callback."""

    def list_callbacks(self, run: DagRunKey) -> list[Callback]:
        """The run's callbacks, in order of their ids."""

    def walk_deadlines(self, dag_id: str | None = None, window: Window = OLDEST_FIRST) -> Iterator[Callback]:
        """Deadlines of the DAG's runs, or of all runs, whose `due_at` lies in the window; in order of (due_at, dag_id,
        run_id, callback_id). Reads as far as the caller iterates. May lag by a moment."""

    def move_callback(self, move: CallbackMove) -> None:
        """Write the fields in which `after` differs from `before`. Raises StaleCallback unless the stored (state,
        dispatch_count, started_at, due_at) are `before`'s, or nothing is stored and `before` is `None`. Repeating a move
        changes nothing, but only for the same worker: of two workers that claim a callback, the second is stale."""
