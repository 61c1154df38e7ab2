"""Airflow's own web UI, as layer `web` packed it from the pinned wheel: its files under `/static`, and its page for
every path without a route. Also the REST API's contract, and the page that shows it with Swagger UI.

Files are stored and sent compressed: the largest, of 7 MB, would not fit into a Lambda function's answer.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from gust.errors import NotSupportedYet
from gust.http.answer import Json
from gust.rest_api.http.rest_event import BASE_PATH

LAYER: Final = "/opt/web"

FOREVER: Final = "public, max-age=31536000, immutable"
HOUR: Final = "public, max-age=3600"
"""For files that change under the same name: translations and icons."""

_BASE: Final = "{{ backend_server_base_url }}"


@dataclass(frozen=True, slots=True)
class File:
    """A file to answer with. `body` is base64."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: str = ""


@dataclass(frozen=True)
class WebFiles:
    """The layer's folder, read when first used."""

    folder: Path

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return dict(json.loads(self._read("manifest.json")))

    @cached_property
    def connection_types(self) -> list[Json]:
        """The form fields of each connection type."""
        return list(json.loads(self._read("connection_types.json")))

    @cached_property
    def _index(self) -> str:
        return self._read("index.html").decode()

    def file(self, path: str, headers: Mapping[str, str]) -> File | None:
        """The file at `path` of a URL, for a request with these headers (lower-case names). `None`: there is none."""
        entry = self._manifest.get(unquote(path))
        if entry is None:
            return None
        caching = {"Cache-Control": FOREVER if entry["immutable"] else HOUR, "ETag": entry["etag"]}
        if entry["etag"] in headers.get("if-none-match", ""):
            return File(304, entry["type"], caching)
        body = self._read(f"files/{entry['file']}")
        if entry["file"].endswith(".gz"):
            caching["Vary"] = "Accept-Encoding"
            if accepts_gzip(headers):
                caching["Content-Encoding"] = "gzip"
            else:
                body = gzip.decompress(body)
        return File(200, entry["type"], caching, base64.b64encode(body).decode())

    def page(self, base: str) -> str:
        """The UI's page for an API under the path `base`: `/`, or `/<stage>/`."""
        return self._index.replace(_BASE, html.escape(base))

    def docs_page(self, base: str) -> str:
        return self._docs.replace(_BASE, html.escape(base))

    def contract(self, base: str) -> str:
        """The OpenAPI document, as JSON, of an API under the path `base`."""
        return self._contract.replace(_BASE, json.dumps(base.rstrip("/") or "/")[1:-1])

    @cached_property
    def _docs(self) -> str:
        return self._read("docs.html").decode()

    @cached_property
    def _contract(self) -> str:
        return self._read("openapi.json").decode()

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as missing:
            raise NotSupportedYet(f"The web UI is not installed: layer `web` provides it in {LAYER}") from missing


@cache
def web_files() -> WebFiles:
    """The layer's, or those in the folder that `GUST_WEB` names."""
    return WebFiles(Path(os.environ.get("GUST_WEB") or LAYER))


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Whether a request with these headers (lower-case names) accepts gzip. Without the header it does not: programs
    that send none do not decompress."""
    for part in headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def base_path(event: Mapping[str, Any]) -> str:
    """The API's base path: a stage other than `$default` is the first part of every path."""
    if BASE_PATH in event:
        return f"{event[BASE_PATH]}/"
    stage = event.get("requestContext", {}).get("stage") or "$default"
    named = stage != "$default" and f"{event.get('rawPath', '')}/".startswith(f"/{stage}/")
    return f"/{stage}/" if named else "/"


def in_address(event: Mapping[str, Any], path: str) -> str:
    """The path as the browser needs it: with the API's base path, if that is not there."""
    base = base_path(event).rstrip("/")
    return path if path == base or path.startswith(f"{base}/") else f"{base}{path}"
