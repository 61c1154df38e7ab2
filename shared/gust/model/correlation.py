"""The id by which log lines of several functions about one request are found.

It comes with the request, or is made for it. The run that the request makes or edits keeps it, every message about the run
carries it, and workers send it along with their own requests.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final

REQUEST_ID: Final = "x-request-id"
"""The header of a request to the API, and of its answer."""

OF_WORKERS: Final = "correlation-id"
"""The header of a worker's request; the Task SDK makes one for each, and a worker puts its message's there."""

TRACE_ID: Final = "x-amzn-trace-id"
"""The header that API Gateway adds to each request. Its root names the request in X-Ray, too."""

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._:+/=@-]{1,64}")
"""Short, because the run's item keeps it; plain, because it goes into logs and a header."""


def new_correlation_id() -> str:
    return secrets.token_hex(8)


def correlation_id_of(headers: Mapping[str, str]) -> str:
    """The id that the request's headers (by lower-case name) give, else a new one. An id that is too long or has other
    characters is not used."""
    root = re.search(r"Root=([^;]+)", headers.get(TRACE_ID, ""))
    given = (headers.get(REQUEST_ID, ""), root[1] if root else "")
    return next(filter(is_accepted, given), None) or new_correlation_id()


def is_accepted(given: str) -> bool:
    return _ACCEPTED.fullmatch(given) is not None
