"""Where the secrets of a connection, a variable or an option lie in Secrets Manager or SSM, and in which form.

The names, arguments and defaults are those of the amazon provider's two backends; `tests/unit/test_secrets_backend.py`
compares with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

SECRETS_MANAGER: Final = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
PARAMETER_STORE: Final = "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend"


class Service(StrEnum):
    SECRETS_MANAGER = "secretsmanager"
    PARAMETER_STORE = "ssm"


class Kind(StrEnum):
    CONNECTION = "connections"
    VARIABLE = "variables"
    OPTION = "config"


SERVICES: Final[Mapping[str, Service]] = {
    SECRETS_MANAGER: Service.SECRETS_MANAGER,
    PARAMETER_STORE: Service.PARAMETER_STORE,
}

ARGUMENTS: Final = frozenset(f"{kind}_{what}" for kind in Kind for what in ("prefix", "lookup_pattern"))
_OF_SECRETS_MANAGER: Final = frozenset({"sep", "extra_conn_words"})
_WITHOUT_EFFECT: Final = frozenset(
    {"full_url_mode", "are_secret_values_urlencoded", "profile_name", "verify", "use_ssl"}
)
"""Old arguments, and some that say how to reach AWS from another machine. The provider ignores the first two as well."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "login": ("login", "user", "username", "user_name"),
    "password": ("password", "pass", "key"),
    "host": ("host", "remote_host", "server"),
    "port": ("port",),
    "schema": ("database", "schema"),
    "conn_type": ("conn_type", "conn_id", "connection_type", "engine"),
    "extra": ("extra",),
}
"""Field of a connection → the names that it may have in a secret with a JSON object."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The backend's answer."""

    value: str | None = None
    """None: there is none, or it could not be read."""
    problem: str | None = None
    """Why it could not be read."""
    is_transient: bool = False
    """Another try may succeed."""


@dataclass(frozen=True, slots=True)
class SecretsBackend:
    service: Service
    prefixes: Mapping[Kind, str | None]
    """None: nothing of the kind is looked up."""
    patterns: Mapping[Kind, str | None]
    sep: str = "/"
    words: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: FIELDS)
    region: str | None = None

    def name_of(self, kind: Kind, key: str) -> str | None:
        """The name of the secret or parameter; None where this backend is not asked."""
        prefix, pattern = self.prefixes[kind], self.patterns[kind]
        if prefix is None or (pattern and not re.match(pattern, key, re.IGNORECASE)):
            return None
        if self.service is Service.SECRETS_MANAGER:
            return f"{prefix}{self.sep}{key}" if prefix else key
        name = f"{prefix}/{key}"
        return name if name.startswith("/") else f"/{name}"

    def value_of(self, kind: Kind, secret: str) -> str:
        """What Airflow reads. A connection in Secrets Manager may be a JSON object whose fields have other names. Raises
        ValueError for one that is no JSON."""
        if kind is not Kind.CONNECTION or self.service is not Service.SECRETS_MANAGER:
            return secret
        if not secret.strip().startswith("{"):
            return secret
        given = json.loads(secret)
        fields = {
            name: next((value for word, value in given.items() if word in words), None)
            for name, words in self.words.items()
        }
        return json.dumps(fields)


def backend_of(options: Mapping[str, str]) -> SecretsBackend | None:
    """The backend that the execution API asks; None: there is none, or it runs in the task's process. The options have been
    checked."""
    service = SERVICES.get(options.get("secrets.backend", "").strip())
    if service is None:
        return None
    given: Mapping[str, Any] = json.loads(options.get("secrets.backend_kwargs") or "{}")
    sep = given.get("sep", "/")
    root = "" if service is Service.SECRETS_MANAGER else "/"

    def prefix_of(kind: Kind) -> str | None:
        prefix = given.get(f"{kind}_prefix", f"{root}airflow/{kind}")
        return None if prefix is None else str(prefix).rstrip(sep)

    extra = {
        "login" if name == "user" else name: tuple(words)
        for name, words in (given.get("extra_conn_words") or {}).items()
    }
    return SecretsBackend(
        service=service,
        prefixes={kind: prefix_of(kind) for kind in Kind},
        patterns={kind: given.get(f"{kind}_lookup_pattern") for kind in Kind},
        sep=sep,
        words={name: (*words, *extra.get(name, ())) for name, words in FIELDS.items()},
        region=given.get("region_name"),
    )


def problems_of(backend: str, given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of one of the two backends, in sentences."""
    allowed = ARGUMENTS | _WITHOUT_EFFECT | {"region_name"}
    if SERVICES[backend] is Service.SECRETS_MANAGER:
        allowed |= _OF_SECRETS_MANAGER
    found = [
        f"{name} cannot be set: the execution API asks with its own role, in its own account."
        for name in sorted(given.keys() - allowed)
    ]
    for name in sorted(given.keys() & (ARGUMENTS | {"sep", "region_name"})):
        value = given[name]
        if not isinstance(value, str) and not (value is None and name != "sep"):
            found.append(f"{name} is a text.")
        elif name.endswith("_pattern") and value is not None:
            try:
                re.compile(value)
            except re.error as error:
                found.append(f"{name}: {value!r} is no pattern: {error}.")
    words = given.get("extra_conn_words") or {}
    if not isinstance(words, dict) or not all(
        name in {*FIELDS, "user"} and isinstance(each, list) and all(isinstance(word, str) for word in each)
        for name, each in words.items()
    ):
        found.append(f"extra_conn_words is an object of lists, for {', '.join(sorted({*FIELDS, 'user'}))}.")
    return found
