"""Masks secrets in answers and in the event log by the names of their fields, with Airflow's rules and names.

A mask that comes back in a request stands for the stored value: an API user edits a connection's description without
having seen its password.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any, Final

MASK: Final = "***"
DEEPEST: Final = 5
"""Levels of a hidden value whose structure is shown; everything below is one mask."""

SENSITIVE: Final = (
    *("access_key", "access_token", "api_key", "apikey", "auth_header", "authorization", "bearer"),
    *("connection_string", "dsn", "keyfile_dict", "passphrase", "passwd", "password", "private_key"),
    *("proxies", "proxy", "proxy_password", "secret", "service_account", "service_key", "token", "webhook_url"),
)
"""A name that contains one of these is sensitive; a test compares with Airflow's."""

MORE_NAMES: Final = "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES"
HIDES: Final = "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS"
"""Airflow's settings, in the function's environment."""


def hides(name: object) -> bool:
    """Whether values under the name are secret."""
    if not isinstance(name, str) or os.environ.get(HIDES, "true").strip().lower() in ("f", "false", "0"):
        return False
    return _is_sensitive(name, os.environ.get(MORE_NAMES, ""))


@lru_cache(maxsize=1024)
def _is_sensitive(name: str, more: str) -> bool:
    normal = re.sub(r"\W+", "_", name.strip().lower())
    others = {part.strip() for part in more.split(",")} if more else set()
    return any(part in normal for part in (*SENSITIVE, *others))


def redact(value: Any, name: str | None = None, *, depth: int = 0) -> Any:
    """The value with masks for all texts under sensitive names, at any depth."""
    if name and hides(name):
        return _hidden(value, depth)
    match value:
        case dict():
            return {key: redact(inner, key, depth=depth + 1) for key, inner in value.items()}
        case list():
            return [redact(inner, depth=depth + 1) for inner in value]
        case _:
            return value


def _hidden(value: Any, depth: int) -> Any:
    """Masks texts; numbers stay, as in Airflow."""
    if depth > DEEPEST or isinstance(value, str):
        return MASK
    match value:
        case dict():
            return {key: _hidden(inner, depth + 1) for key, inner in value.items()}
        case list():
            return [_hidden(inner, depth + 1) for inner in value]
        case _:
            return value


def unmasked(new: Any, old: Any, name: str | None = None, *, depth: int = 0, is_secret: bool = False) -> Any:
    """`new` with the values of `old` in place of the masks."""
    is_secret = is_secret or (name is not None and hides(name))
    if depth > DEEPEST or not isinstance(new, dict | list):
        return old if new == MASK and (is_secret or depth > DEEPEST) else new
    match new, old:
        case dict(), dict():
            return {
                key: unmasked(inner, old[key], None if is_secret else key, depth=depth + 1, is_secret=is_secret)
                if key in old
                else inner
                for key, inner in new.items()
            }
        case list(), list():
            known = [unmasked(one, other, depth=depth + 1, is_secret=is_secret) for one, other in zip(new, old)]  # noqa: B905 - a longer one has more
            return known + new[len(known) :]
        case _:
            return new
