"""Variables and connections, in memory."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from gust.errors import AlreadyExists, Stale
from gust.store.memory.state import MemoryState, StoredSetting, atomic


class MemorySettings(MemoryState):
    """Implements `ports.SettingStore`."""

    @atomic
    def get_setting(self, namespace: str, name: str) -> Any | None:
        return self._fresh_settings(namespace).get(name)

    @atomic
    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        there = self._settings.get((namespace, name))
        made_at = there.made_at if there else self._clock.now()
        self._settings[namespace, name] = StoredSetting(json.dumps(value), expires_at, made_at)

    @atomic
    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        if (namespace, name) in self._settings:
            raise AlreadyExists(f"{namespace} has {name!r} already")
        self.put_setting(namespace, name, value)

    @atomic
    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
        there = self._settings.get((namespace, name))
        if there is None or there.document != json.dumps(before):
            raise Stale(f"{name!r} of {namespace} has changed since it was read")
        self.put_setting(namespace, name, after)

    @atomic
    def delete_setting(self, namespace: str, name: str) -> bool:
        was_there = name in self._fresh_settings(namespace)
        self._settings.pop((namespace, name), None)
        return was_there

    @atomic
    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        return {
            name: value for name, value in sorted(self._fresh_settings(namespace).items()) if name.startswith(prefix)
        }

    @atomic
    def settings_by_age(self, namespace: str) -> dict[str, Any]:
        fresh = self._fresh_settings(namespace)
        return {name: fresh[name] for name in sorted(fresh, key=lambda n: (self._settings[namespace, n].made_at, n))}

    def _fresh_settings(self, namespace: str) -> dict[str, Any]:
        now = self._clock.now()
        return {
            name: json.loads(setting.document)
            for (its_namespace, name), setting in self._settings.items()
            if its_namespace == namespace and (setting.expires_at is None or setting.expires_at > now)
        }
