"""The bucket, on S3."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectionFailed

from gust.errors import Forbidden, NotFound, ServiceUnavailable
from gust.model.object_entry import ObjectEntry

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_HIDDEN: Final = frozenset({"403", "AccessDenied"})
"""S3's answer to a role that lacks a right, and, to a role without s3:ListBucket (e.g. a worker's), for a missing key."""
_IN_PLACE: Final = frozenset({"412", "PreconditionFailed"})
_RACING: Final = frozenset({"409", "ConditionalRequestConflict"})
"""S3's answer to one of two concurrent writers of the same new key: try again."""
_CONTENT_ADDRESSED: Final = re.compile(r"(?:specs|serialized|sources)/([0-9a-f]{64})\.\w+")
_PER_DELETE: Final = 1000
_CHUNK: Final = 1024 * 1024
_ATTEMPTS: Final = 5


class S3Objects:
    """Implements `ports.Objects`. `client` is a boto3 S3 client, one per process."""

    def __init__(self, bucket: str, client: Any) -> None:
        self._bucket = bucket
        self._client = client

    def get(self, key: str) -> bytes:
        """Raises NotFound if there is no such object or its content does not match the hash in its key, and Forbidden if S3
        denies access, as it does to a role without s3:ListBucket for a missing object, too."""
        try:
            body: bytes = self._open(key).read()
        except (HTTPClientError, ConnectionFailed) as error:
            raise ServiceUnavailable(f"S3 get_object: {error}") from error
        check_content(key, body)
        return body

    def _open(self, key: str) -> Any:
        try:
            return self._call("get_object", Key=key)["Body"]
        except ClientError as error:
            if _code(error) in _MISSING:
                raise NotFound(f"no object {key!r}") from error
            if _code(error) in _HIDDEN:
                either = "A role without s3:ListBucket gets the same answer for a missing object"
                raise Forbidden(f"S3 denies access to {key!r}. {either}. {error}") from error
            raise

    def download(self, key: str, file: BinaryIO) -> None:
        """Raises as `get`."""
        body = self._open(key)
        try:
            for chunk in body.iter_chunks(_CHUNK):
                file.write(chunk)
        except (HTTPClientError, ConnectionFailed) as error:
            raise ServiceUnavailable(f"S3 get_object: {error}") from error

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        self._call("put_object", Key=key, Body=body, ContentType=content_type)

    def put_once(self, key: str, body: bytes | BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        for _ in range(_ATTEMPTS):
            if not isinstance(body, bytes):
                body.seek(0)
            try:
                self._call("put_object", Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
            except ClientError as error:
                if _code(error) in _RACING:
                    continue
                if _code(error) not in _IN_PLACE:
                    raise
            return
        raise ServiceUnavailable(f"S3 put_object: {key!r} is contended")

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", Key=key)
        except ClientError as error:
            if _code(error) in _MISSING:
                return False
            raise
        return True

    def list(self, prefix: str) -> dict[str, str]:
        """Key → entity tag, in order of the keys."""
        return {key: entry.etag for key, entry in self.entries(prefix).items()}

    def entries(self, prefix: str) -> dict[str, ObjectEntry]:
        found: dict[str, ObjectEntry] = {}
        page: Mapping[str, Any] = {}
        while True:
            resume = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
            page = self._call("list_objects_v2", Prefix=prefix, **resume)
            for entry in page.get("Contents", ()):
                found[entry["Key"]] = ObjectEntry(
                    entry["ETag"].strip('"'), entry["Size"], entry["LastModified"].timestamp()
                )
            if not page.get("IsTruncated"):
                return found

    def delete(self, keys: Iterable[str]) -> None:
        doomed = [{"Key": key} for key in keys]
        for start in range(0, len(doomed), _PER_DELETE):
            wanted = {"Objects": doomed[start : start + _PER_DELETE], "Quiet": True}
            answer = self._call("delete_objects", Delete=wanted)
            if errors := answer.get("Errors"):
                raise ServiceUnavailable(
                    f"S3 delete_objects: {len(errors)} objects were not deleted, the first: {errors[0]}"
                )

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise ServiceUnavailable(f"S3 {operation}: {error}") from error
            raise
        except (HTTPClientError, ConnectionFailed) as error:
            raise ServiceUnavailable(f"S3 {operation}: {error}") from error
        return answer


def check_content(key: str, body: bytes) -> None:
    """Raises NotFound if the key names a hash and the content has another one: the parser runs DAG authors' code and may
    write such objects."""
    named = _CONTENT_ADDRESSED.fullmatch(key)
    if named and sha256(body).hexdigest() != named[1]:
        raise NotFound(f"no object {key!r}: the stored content does not match the hash in its key")


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]
