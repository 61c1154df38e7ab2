"""Variables and connections that DAG files read while they are parsed; a change of one starts a deployment.

A file's outcome holds for the versions of the settings that it read, absent ones too: another version makes a deployment
parse it again (`deploy_bundle`). Each name that any file has read is noted. The stream carries every change of a setting to
the scheduler; for a noted one it requests a deployment, as an upload does.

Names are `variables/<key>` and `connections/<conn_id>`; `variables*<prefix>` stands for the list of keys with the prefix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from gust.errors import AlreadyExists, NotFound
from gust.model.variable import VARIABLES
from gust.model.workload import WakeDeployment
from gust.ports.store import Store
from gust.services.context import Services

NOTED: Final = "read_while_parsing"
"""The namespace of settings that holds the names. A name stays when no file reads it any longer: each of its changes then
costs one look at the folder at most."""

INTERVAL: Final = timedelta(seconds=30)
"""Shortest time between two looks that changes of one setting start: Airflow's `min_file_process_interval`."""

VERSION_HEADER: Final = "etag"
"""The header in which the execution API returns the setting's version; absent if there is no such setting."""

ABSENT: Final = "-"
PARALLEL: Final = 16


def stored_setting(services: Services, namespace: str, key: str, *, missing: str) -> dict[str, Any]:
    """The document. Raises NotFound with the message `missing`."""
    stored: dict[str, Any] | None = services.store.get_setting(namespace, key)
    if stored is None:
        raise NotFound(missing)
    return stored


def name_of(namespace: str, key: str) -> str:
    return f"{namespace}/{key}"


def name_of_keys(prefix: str) -> str:
    return f"{VARIABLES}*{prefix}"


def version_of(stored: Mapping[str, Any] | None) -> str:
    """The version of a stored setting. Equal for equal documents; it reveals nothing of an encrypted value."""
    return ABSENT if stored is None else _hashed(stored)


def version_of_keys(keys: Iterable[str]) -> str:
    return _hashed(sorted(keys))


def versions_now(store: Store, names: Iterable[str]) -> dict[str, str]:
    """Name → present version of the setting."""

    def version(name: str) -> str:
        if name.startswith(name_of_keys("")):
            return version_of_keys(store.list_settings(VARIABLES, prefix=name.removeprefix(name_of_keys(""))))
        namespace, _, key = name.partition("/")
        return version_of(store.get_setting(namespace, key))

    distinct = sorted(set(names))
    with ThreadPoolExecutor(PARALLEL) as pool:
        return dict(zip(distinct, pool.map(version, distinct), strict=True))


def note_read(store: Store, names: Iterable[str]) -> None:
    """Note the names, before the parse's result is stored: from then on each change of one of them starts a deployment."""
    for noted in {_noted(name) for name in names}:
        with suppress(AlreadyExists):
            store.create_setting(NOTED, noted, {})


def setting_changed(services: Services, namespace: str, key: str) -> None:
    """A variable or connection was made, changed or deleted: if a DAG file has read it, have a deployment look at the
    folder. At once, or `INTERVAL` after the look for the change before; one look serves all changes until then."""
    for name in [name_of(namespace, key), *([_noted(name_of_keys(""))] if namespace == VARIABLES else [])]:
        read = services.store.get_setting(NOTED, name)
        if read is not None:
            _have_looked(services, name, read)
            return


def _have_looked(services: Services, name: str, read: dict[str, Any]) -> None:
    now = services.clock.now()
    last = datetime.fromisoformat(read["look_at"]) if "look_at" in read else None
    if last is not None and last > now:
        return  # that look comes after this change
    at = now if last is None else max(now, last + INTERVAL)
    # Send first: a scheduler that dies in between sends it again. Two schedulers at once cause two looks at the folder.
    services.queues.wake(
        WakeDeployment(name=f"settings-{_hashed([name, at.isoformat()])}"), delay=round((at - now).total_seconds())
    )
    services.store.put_setting(NOTED, name, {"look_at": at.isoformat()})


def _noted(name: str) -> str:
    """The name as it is noted. All lists of keys share one name: a change need not know the prefixes."""
    return name_of_keys("") if name.startswith(name_of_keys("")) else name


def _hashed(document: Any) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]
