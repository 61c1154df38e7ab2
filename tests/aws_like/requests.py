"""A request to AWS as it arrives at the emulator, before anything has looked at it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qs

_CREDENTIAL: Final = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")
_APPLICATION: Final = re.compile(r"\bgust app/([\w-]+)")


@dataclass(frozen=True)
class Request:
    service: str
    """As the request's signature names it: `dynamodb`, `states`."""
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, scope: Mapping[str, Any], body: bytes) -> Request | None:
        """`None` for what is no call to AWS: it has no signature."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        signed = _CREDENTIAL.search(headers.get("authorization", ""))
        if signed is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "x-www-form-urlencoded" in headers.get("content-type", ""):  # STS speaks so
            query |= parse_qs(body.decode(), keep_blank_values=True)
        return cls(signed[1], scope["method"], scope["path"], query, headers, body)

    @property
    def caller(self) -> str | None:
        """The function, by its full name, or `container`, as `gust.bootstrap` has SDKs name it. `None` for a call of a
        test or of a task's own client, whose rights are the parameter TaskPolicyArns."""
        named = _APPLICATION.search(self.headers.get("user-agent", ""))
        return named[1] if named else None

    @property
    def operation(self) -> str:
        """Of services that speak JSON; empty for those that speak in paths (S3, Lambda)."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body; empty where it is none."""
        try:
            read = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}
