"""An object that was created in a bucket, as S3 tells EventBridge of it, and the assets that may hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid5

from gust.model.asset import Asset, AssetKey

GLOB: Final = "glob"
"""In an asset's extra: the names that count, relative to the asset's URI."""

_NAMESPACE: Final = UUID("7f0c1f0e-52f9-4f3a-9e0f-0d6a1c6f3c55")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCreated:
    bucket: str
    key: str
    time: str
    """When S3 created it, ISO 8601."""
    size: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    """Hexadecimal, grows with each write of the key: S3 sends a duplicate of an event with the same one."""
    event_id: str = ""
    """EventBridge's own id of the event."""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> ObjectCreated:
        """Raises ValueError for an event of another kind."""
        about: Mapping[str, Any]
        match event:
            case {
                "source": "aws.s3",
                "detail-type": "Object Created",
                "time": str(time),
                "detail": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)} as about},
            }:
                return cls(
                    bucket=bucket,
                    key=key,
                    time=time,
                    size=about.get("size"),
                    etag=about.get("etag"),
                    version_id=about.get("version-id"),
                    sequencer=about.get("sequencer"),
                    event_id=str(event.get("id", "")),
                )
            case _:
                raise ValueError("This is no event of a created object")

    @property
    def is_folder(self) -> bool:
        """S3's console makes an empty object whose name ends in a slash where a person makes a folder."""
        return self.key.endswith("/") and not self.size

    def event_id_for(self, asset: AssetKey) -> str:
        """Equal for all deliveries of the event of one write of the object."""
        write = self.sequencer or self.version_id or self.event_id
        return str(uuid5(_NAMESPACE, "\x1f".join((*asset, self.bucket, self.key, write))))

    @property
    def extra(self) -> dict[str, Any]:
        """What the asset event tells tasks of the object."""
        return {
            "bucket": self.bucket,
            "key": self.key,
            "size": self.size,
            "etag": self.etag,
            "version_id": self.version_id,
            "event_time": self.time,
        }

    @property
    def uris(self) -> dict[str, str]:
        """The URIs of assets that may hold the object → the object's name relative to each: its bucket, every folder above
        it, and itself. Airflow drops slashes from the end of an asset's URI, and takes `#` and `?` for separators: keys
        with these are found by their percent-encoded form."""
        root = f"s3://{self.bucket}"
        found = {root: self.key, f"{root}/": self.key}
        parts = self.key.split("/")
        for number in range(1, len(parts) + 1):
            above, name = "/".join(parts[:number]), "/".join(parts[number:])
            for path in {above, quote(above)}:
                found.setdefault(f"{root}/{path}".rstrip("/"), name)
        return found


def counts_for(asset: Asset, name: str) -> bool:
    """Whether an object of that name, relative to the asset's URI, is an event of the asset: its glob matches, if it has
    one. `*` matches slashes too, as in S3KeySensor. An object that lies at the URI itself has no name."""
    glob = asset.extra.get(GLOB)
    return not isinstance(glob, str) or fnmatchcase(name, glob)
