"""JSON documents of any size up to 50 MB: in the item to 256 KB, in the bucket beyond, unseen by callers.

The object is written before the item that names it, under the hash of its content: a crash in between leaves an object
that the repeated write finds in place, and replacing a document never changes what a reader of the old item gets.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gust.errors import Invalid
from gust.model import bucket_keys
from gust.ports.objects import Objects
from gust.store import items
from gust.store.items import Item

LARGEST_IN_ITEM: Final = 256 * 1024
LARGEST: Final = 50 * 1024 * 1024


class Documents:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def keep(self, partition: str, field: str, value: Any) -> Item:
        """The attributes that hold the value. Raises Invalid, naming `field`, if it is larger than 50 MB."""
        body = items.to_json(value)
        encoded = body.encode()
        if len(encoded) <= LARGEST_IN_ITEM:
            return {"value": items.text(body)}
        if len(encoded) > LARGEST:
            raise Invalid(f"{field} is larger than {LARGEST // 2**20} MB of JSON", field=(field,))
        key = bucket_keys.document(partition, encoded)
        self._objects.put_once(key, encoded, content_type="application/json")
        return {"spilled": items.text(key)}

    def delete_all(self, partition: str) -> None:
        """Delete a partition's documents in the bucket."""
        self._objects.delete(self._objects.list(bucket_keys.documents(partition)))

    def read(self, item: Item) -> Any:
        if "spilled" in item:
            return json.loads(self._objects.get(item["spilled"]["S"]))
        return json.loads(item["value"]["S"])
