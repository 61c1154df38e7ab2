"""The bucket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol

from gust.model.object_entry import ObjectEntry


class Objects(Protocol):
    """The bucket. `model.bucket_keys` makes its keys. Every method raises ServiceUnavailable if S3 fails."""

    def get(self, key: str) -> bytes:
        """Raises NotFound; Forbidden if the caller's role may not read the object, or not learn whether it exists."""

    def download(self, key: str, file: BinaryIO) -> None:
        """As `get`, for objects larger than memory: writes the content to `file` chunk by chunk."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store or replace."""

    def put_once(self, key: str, body: bytes | BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        """Store a content-addressed object; an existing one stays. A file is sent chunk by chunk, from its start."""

    def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""

    def list(self, prefix: str) -> dict[str, str]:
        """key → entity tag (a hash of the content), in order of the keys."""

    def entries(self, prefix: str) -> dict[str, ObjectEntry]:
        """As `list`, with sizes and times of upload."""

    def delete(self, keys: Iterable[str]) -> None:
        """Deleting nothing is no error."""
