"""Who waits for what of AWS, in memory."""

from __future__ import annotations

from gust.model.awaited import Wait
from gust.store import items, keyspace
from gust.store.memory.state import MemoryState, as_stored, atomic, check_fits


class MemoryWaits(MemoryState):
    """Implements `ports.WaitStore`."""

    @atomic
    def put_wait(self, wait: Wait) -> None:
        check_fits(items.WAIT.item(wait))
        self._waits[keyspace.wait(wait.resource, wait.key, wait.try_number)] = as_stored(wait)

    @atomic
    def drop_wait(self, wait: Wait) -> None:
        key = keyspace.wait(wait.resource, wait.key, wait.try_number)
        if key in self._waits and self._waits[key].dispatch_count == wait.dispatch_count:
            del self._waits[key]

    @atomic
    def waits_for(self, resource: str) -> list[Wait]:
        found = [wait for key, wait in sorted(self._waits.items()) if key.pk == keyspace.waits(resource)]
        return [as_stored(wait) for wait in found if wait.expires_at > self._clock.now()]
