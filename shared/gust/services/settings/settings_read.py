"""Variables and connections that DAG files read while they are parsed, and what follows when one of them changes.

A file's outcome holds for the versions of the settings that its parse was given, absent ones too: another version makes a
deployment parse it again (`deploy_bundle`). Each name that any file has read is noted; the stream tells of every change
of a setting, and one that is noted has a deployment look at the folder, as an upload does.

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

from gust.errors import AlreadyExists
from gust.model.variable import VARIABLES
from gust.model.workload import WakeDeployment
from gust.ports.store import Store
from gust.services.context import Services

NOTED: Final = "read_while_parsing"
"""The namespace of settings that the names are kept in. One stays when no file reads it any more: its changes then cost a
look at the folder each, at most."""

INTERVAL: Final = timedelta(seconds=30)
"""From one look to the next that changes of one setting set off: Airflow's `min_file_process_interval`."""

VERSION_HEADER: Final = "etag"
"""Where the execution API tells the version of what it answers; there is none where there is no setting."""

ABSENT: Final = "-"
PARALLEL: Final = 16


def name_of(namespace: str, key: str) -> str:
    return f"{namespace}/{key}"


def name_of_keys(prefix: str) -> str:
    return f"{VARIABLES}*{prefix}"


def version_of(stored: Mapping[str, Any] | None) -> str:
    """Of a setting as it is stored. Equal for equal documents; of an encrypted value it tells nothing."""
    return ABSENT if stored is None else _hashed(stored)


def version_of_keys(keys: Iterable[str]) -> str:
    return _hashed(sorted(keys))


def versions_now(store: Store, names: Iterable[str]) -> dict[str, str]:
    """The versions that settings have now, by name."""

    def version(name: str) -> str:
        if name.startswith(name_of_keys("")):
            return version_of_keys(store.list_settings(VARIABLES, prefix=name.removeprefix(name_of_keys(""))))
        namespace, _, key = name.partition("/")
        return version_of(store.get_setting(namespace, key))

    distinct = sorted(set(names))
    with ThreadPoolExecutor(PARALLEL) as pool:
        return dict(zip(distinct, pool.map(version, distinct), strict=True))


def note_read(store: Store, names: Iterable[str]) -> None:
    """Before what was parsed is stored: from then on each change of one of them has a deployment look."""
    for noted in {_noted(name) for name in names}:
        with suppress(AlreadyExists):
            store.create_setting(NOTED, noted, {})


def setting_changed(services: Services, namespace: str, key: str) -> None:
    """A variable or connection was made, changed or deleted: where a DAG file has read it, have a deployment look at the
    folder. At once, or `INTERVAL` after the look that the change before set off; one look for all changes until then."""
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
    # Sent first: a scheduler that dies in between sends it again. Two schedulers at once have the folder looked at twice.
    services.queues.wake(
        WakeDeployment(name=f"settings-{_hashed([name, at.isoformat()])}"), delay=round((at - now).total_seconds())
    )
    services.store.put_setting(NOTED, name, {"look_at": at.isoformat()})


def _noted(name: str) -> str:
    """Lists of keys are noted as one: which prefixes there are, a change need not know."""
    return name_of_keys("") if name.startswith(name_of_keys("")) else name


def _hashed(document: Any) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]
