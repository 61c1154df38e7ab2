"""The bucket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol

from gust.model.object_entry import ObjectEntry


class Objects(Protocol):
    """The bucket."""

    def get(self, key: str) -> bytes:
        """Raises NotFound, or Forbidden where the reader may not know whether it is there."""

    def download(self, key: str, file: BinaryIO) -> None:
        """As `get`, of what need not fit into memory: written to `file`, chunk by chunk."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None: ...

    def put_once(self, key: str, body: bytes | BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        """For content-addressed objects: an existing one is left as it is. A file is sent whole, chunk by chunk."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> dict[str, str]:
        """Key → entity tag (a hash of the content)."""

    def entries(self, prefix: str) -> dict[str, ObjectEntry]:
        """As `list`, with sizes."""

    def delete(self, keys: Iterable[str]) -> None: ...
