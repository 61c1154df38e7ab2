"""One object of the bucket, as a list shows it."""

from __future__ import annotations

from typing import NamedTuple


class ObjectEntry(NamedTuple):
    """One object of the bucket."""

    etag: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970: when it was uploaded."""
