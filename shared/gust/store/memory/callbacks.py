"""Callbacks and deadlines of runs, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gust.errors import StaleCallback
from gust.model.callback import Callback, CallbackKind
from gust.model.keys import DagRunKey
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling.callback import CallbackMove
from gust.store.fences import Changes, callback_fence, changed_callback_fields, repeated_callback
from gust.store.memory.state import MemoryState, as_stored, atomic


class MemoryCallbacks(MemoryState):
    """Implements `ports.CallbackStore`."""

    @atomic
    def get_callback(self, run: DagRunKey, callback_id: str) -> Callback | None:
        found = self._callbacks.get((run, callback_id))
        return None if found is None else as_stored(found)

    @atomic
    def list_callbacks(self, run: DagRunKey) -> list[Callback]:
        return [as_stored(found) for (of, _), found in sorted(self._callbacks.items()) if of == run]

    @atomic
    def walk_deadlines(self, dag_id: str | None = None, window: Window = OLDEST_FIRST) -> Iterator[Callback]:
        found = sorted(
            (callback.due_at, run, callback_id, as_stored(callback))
            for (run, callback_id), callback in self._callbacks.items()
            if callback.kind is CallbackKind.DEADLINE
            and callback.due_at is not None
            and dag_id in (None, run.dag_id)
            and window.holds(callback.due_at)
        )
        return window.in_order([one[-1] for one in found])

    @atomic
    def move_callback(self, move: CallbackMove) -> None:
        self._check_callbacks([move], or_repeated=True)
        self._write_callbacks([move])

    def _check_callbacks(self, moves: Sequence[CallbackMove], *, or_repeated: bool = False) -> None:
        """Raises StaleCallback."""
        for move in moves:
            known = _known(move)
            current = self._callbacks.get((known.run_key, known.callback_id))
            has_happened = move.after is not None and _has(current, repeated_callback(move.after))
            is_as_seen = _has(current, callback_fence(move.before)) if move.before is not None else current is None
            if not is_as_seen and not (or_repeated and has_happened):
                raise StaleCallback(f"callback {known.callback_id!r} of {known.run_key} moved on", current)

    def _write_callbacks(self, moves: Sequence[CallbackMove]) -> None:
        for move in moves:
            known = _known(move)
            key = (known.run_key, known.callback_id)
            if move.after is None:
                del self._callbacks[key]
            elif move.before is None:
                self._callbacks.setdefault(key, as_stored(move.after))
            else:
                changes = changed_callback_fields(move.before, move.after)
                self._callbacks[key] = as_stored(replace(self._callbacks[key], **changes))


def _known(move: CallbackMove) -> Callback:
    known = move.after or move.before
    if known is None:
        raise ValueError("a move from nothing to nothing")
    return known


def _has(current: Callback | None, values: Changes) -> bool:
    return current is not None and all(getattr(current, name) == value for name, value in values.items())
