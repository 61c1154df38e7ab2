"""Ask the secrets backend, Secrets Manager or SSM, for a task, a trigger or the parser. None of them may read a secret.

Answers are remembered for a lifetime, absent secrets and refusals too: a rotated, new or newly permitted secret is seen when
it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gust.errors import Forbidden, ServiceUnavailable
from gust.model.airflow_options import LONGEST_DURATION, is_true
from gust.model.secrets_backend import Kind, Secret, SecretsBackend, backend_of
from gust.services.context import Services
from gust.services.settings.options import stored_options

LIFETIME: Final = timedelta(minutes=1)
"""Without `[secrets] use_cache`."""

MOST: Final = 1_000
"""Answers that a process remembers."""


ABSENT: Final = Secret()


def read_secret(services: Services, kind: Kind, key: str) -> Secret:
    """What the stack's secrets backend has; absent where the stack has none."""
    options = stored_options(services.store)  # fresh: a file that is parsed now is not parsed again a minute later
    backend = backend_of(options)
    name = backend.name_of(kind, key) if backend is not None else None
    if backend is None or name is None:
        return ABSENT
    found = _known_or_read(services, backend, name, lifetime_of(options))
    if found.value is None:
        return found
    try:
        return Secret(backend.value_of(kind, found.value))
    except (ValueError, AttributeError, RecursionError) as error:
        # The secret itself is in the error's text: only the kind of error is told.
        return Secret(problem=f"{name} holds no connection: {type(error).__name__}")


def lifetime_of(options: Mapping[str, str]) -> timedelta:
    """How long an answer is remembered."""
    if is_true(options.get("secrets.use_cache", "")):
        return timedelta(seconds=min(int(options.get("secrets.cache_ttl_seconds", "900")), LONGEST_DURATION["seconds"]))
    return LIFETIME


def _known_or_read(services: Services, backend: SecretsBackend, name: str, lifetime: timedelta) -> Secret:
    known, now = services.remembered_secrets, services.clock.now()
    place = backend.service, backend.region, name
    if (remembered := known.get(place)) is not None and remembered[1] > now:
        return remembered[0]
    try:
        found = Secret(services.secrets.read(backend.service, name, backend.region))
    except Forbidden as error:
        found = Secret(problem=f"{name} in {backend.service}: {error}")
    except ServiceUnavailable as error:
        return Secret(problem=f"{name} in {backend.service}: {error}", is_transient=True)
    if len(known) >= MOST:
        known.clear()
    known[place] = found, now + lifetime
    return found
