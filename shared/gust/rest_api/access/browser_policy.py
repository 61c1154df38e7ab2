"""The security headers of every answer.

The web UI loads scripts, styles and data from its own origin only. It makes styles and some workers at run time; a
DAG's description may show images of other sites, and a plugin's page may show other sites in a frame.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from gust.rest_api.access.auth import is_plain_http

ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
ONLY_ENCRYPTED: Final = {"Strict-Transport-Security": "max-age=31536000"}

_POLICY: Final = (
    "default-src 'self'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; "
    "font-src 'self' data:; worker-src 'self' blob:; frame-src 'self' https: http:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
_INLINE: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def security_headers(event: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, str]:
    """The headers for the `response` to the request, both in API Gateway's form."""
    encrypted = {} if is_plain_http(event) else ONLY_ENCRYPTED
    return {**ALWAYS, **encrypted, "Content-Security-Policy": content_policy(response)}


def content_policy(response: Mapping[str, Any]) -> str:
    """Inline scripts of our own pages may run, and no other inline scripts."""
    headers = {name.lower(): value for name, value in (response.get("headers") or {}).items()}
    is_page = str(headers.get("content-type", "")).startswith("text/html") and not response.get("isBase64Encoded")
    scripts = _INLINE.findall(response.get("body") or "") if is_page else []
    return _POLICY.format(scripts="".join(f" 'sha256-{_hash(script)}'" for script in scripts))


def _hash(script: str) -> str:
    return base64.b64encode(sha256(script.encode()).digest()).decode()
