"""Who waits for what of AWS: an item for each deferred dispatch, in the resource's partition."""

from __future__ import annotations

import math
from contextlib import suppress

from gust.model.awaited import Wait
from gust.ports.clock import Clock
from gust.store import items, keyspace
from gust.store.table import ConditionFailed, Expression, Table


class DynamoDBWaits:
    """Implements `ports.WaitStore`."""

    _table: Table
    _clock: Clock

    def put_wait(self, wait: Wait) -> None:
        expiry = {keyspace.TTL_ATTRIBUTE: items.number(math.ceil(wait.expires_at.timestamp()))}
        self._table.put(keyspace.wait(wait.resource, wait.key, wait.try_number), items.WAIT.item(wait) | expiry)

    def drop_wait(self, wait: Wait) -> None:
        seen = {"dispatch_count": items.WAIT.item(wait).get("dispatch_count")}
        with suppress(ConditionFailed):  # one of a later dispatch, or none
            self._table.delete(keyspace.wait(wait.resource, wait.key, wait.try_number), Expression().still(seen))

    def waits_for(self, resource: str) -> list[Wait]:
        found = self._table.query(keyspace.waits(resource))
        waits = [items.WAIT.read(item, resource=resource) for item in found]
        return [wait for wait in waits if wait.expires_at > self._clock.now()]
