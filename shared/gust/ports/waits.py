"""Who waits for what of AWS."""

from __future__ import annotations

from typing import Protocol

from gust.model.awaited import Wait


class WaitStore(Protocol):
    """Deferred dispatches by the resource that they wait for."""

    def put_wait(self, wait: Wait) -> None:
        """Store the wait until it expires. One of an earlier dispatch of the same try is replaced."""

    def drop_wait(self, wait: Wait) -> None:
        """Remove it, unless one of a later dispatch has replaced it. Does nothing where there is none."""

    def waits_for(self, resource: str) -> list[Wait]:
        """Those stored, by the ids of their tries, strongly consistent; also of dispatches that have gone on since."""
