"""The store for a user who may read some DAGs only: items of other DAGs are missing.

No list needs a check of its own. Closed by default: a method of the store that is not named here raises. A user with
one of Airflow's roles reads every DAG, and gets the store itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any, Final, cast

from gust.model.asset import AssetKey, AssetReference
from gust.model.dag import Dag
from gust.model.logged_event import LoggedEvent
from gust.model.user import User
from gust.ports.store import Store
from gust.rest_api.access.favorites import FAVORITES
from gust.rest_api.access.permissions import forbidden, gives
from gust.rest_api.http.action_log import REFUSAL, SIGN_IN

NOTHING_OF_OTHERS: Final[dict[str, Any]] = {
    **dict.fromkeys(("get_dag", "get_version", "get_run", "load_run", "get_instance", "get_xcom", "get_hitl_detail")),
    **dict.fromkeys(("get_rendered_fields", "get_task_state", "get_callback", "asset_queue")),
    **dict.fromkeys(
        (
            "list_versions",
            "list_runs",
            "runs_before",
            "runs_after",
            "runs_of_dates",
            "runs_of_partition",
            "dates_of_runs",
        ),
        (),
    ),
    **dict.fromkeys(("list_tries", "list_callbacks", "list_xcoms", "list_task_state", "pending_partitions"), ()),
    **dict.fromkeys(("list_backfills", "consumed_events"), ()),
    "list_rendered_fields": {},
    "tries_of_run": {},
    "get_instance_and_run": (None, None),
    "get_run_and_instances": (None, {}),
    "get_dag_and_pools": (None, {}),
    "get_dag_and_run": ((None, {}), (None, {})),
}
"""Methods whose first argument is a DAG's id or a key in the DAG → the result for a DAG that is not readable."""

LISTS: Final = frozenset(
    {
        *("list_dags", "list_hitl_details", "list_warnings", "walk_runs", "walk_failed_instances"),
        *("get_runs", "load_runs", "get_instances", "due_runs", "walk_failed_runs", "latest_runs", "summaries_of_runs"),
        *("all_backfills", "consumed_events_of"),
        *("walk_deadlines", "walk_hitl_details"),
        *("get_dags", "get_versions", "get_many_rendered_fields"),
    }
)
"""Methods that return items of many DAGs; each item, or its key in a dict, names its DAG."""

SINGLE: Final = frozenset({"get_backfill"})
"""Methods that return one item by number; the item names its DAG."""

OF_NO_DAG: Final = frozenset(
    {
        *("active_bundle", "last_alive", "get_pools"),
        *("list_assets", "assets_of_alias"),  # to draw the assets of the user's DAGs; lists of assets need a role
    }
)

OF_FAVORITES: Final = frozenset({"get_setting", "list_settings", "put_setting", "delete_setting"})
"""Settings that each user has. Others, e.g. variables and connections, are hidden."""


class ReadableStore:
    """For operations that read. A change is authorized by the DAGs that it names, and uses the whole store: its
    consequences, e.g. asset events, reach DAGs that the user cannot read."""

    def __init__(self, store: Store, user: User) -> None:
        self._store = store
        self._user = user

    @cached_property
    def dag_ids(self) -> frozenset[str]:
        """Ids of the DAGs that the user may read."""
        return frozenset(d.dag_id for d in self._store.list_dags() if gives(d.access_control, self._user, "GET"))

    def count_logged_events(self, *args: Any, limit: int = 1000, **named: Any) -> int:
        return len(self.logged_events(*args, limit=limit, **named))

    def count_hitl_details(self, *args: Any, limit: int = 1000, **named: Any) -> int:
        return sum(1 for _ in islice(self.walk_hitl_details(*args, **named), limit))

    def logged_events(self, *args: Any, limit: int | None = None, **named: Any) -> list[Any]:
        """`limit` counts readable events."""
        seen = (
            self._without_others(event)
            for event in self._store.logged_events(*args, **named)
            if self._sees_event(event)
        )
        return list(islice(seen, limit))

    def walk_logged_events(self, *args: Any, **named: Any) -> Iterator[Any]:
        return map(self._without_others, filter(self._sees_event, self._store.walk_logged_events(*args, **named)))

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None:
        found = self._store.get_logged_event(event_log_id)
        return self._without_others(found) if found is not None and self._sees_event(found) else None

    def shares_file(self, dag: Dag) -> bool:
        """Whether the DAG's file has other DAGs that the user may not read."""
        file = dag.bundle_name, dag.relative_fileloc
        return any((other.bundle_name, other.relative_fileloc) == file for other in self._others)

    @cached_property
    def _others(self) -> list[Dag]:
        return [dag for dag in self._store.list_dags() if dag.dag_id not in self.dag_ids]

    def _sees_event(self, event: LoggedEvent) -> bool:
        """Whether the user may see the event: other users' sign-ins need a role."""
        of_sign_ins = event.event in (SIGN_IN, REFUSAL)
        return self._sees(event) and (not of_sign_ins or event.owner == self._user.name)

    def _without_others(self, event: LoggedEvent) -> LoggedEvent:
        """The event without `extra` of calls on several DAGs, which would name DAGs that are not readable."""
        extra = event.extra or ""
        if not any(json.dumps(dag.dag_id) in extra for dag in self._others):
            return event
        return replace(event, extra=json.dumps({"left_out": "It names Dags that you may not read"}))

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        found = self._store.references_to_assets(assets)
        return {asset: [one for one in references if self._sees(one)] for asset, references in found.items()}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in OF_NO_DAG:
            return cast("Callable[..., Any]", getattr(self._store, name))
        if name in OF_FAVORITES:
            return lambda namespace, *args, **named: self._favorites(name, namespace)(namespace, *args, **named)
        if name in NOTHING_OF_OTHERS:
            return lambda *args, **named: self._of_one(name, args, named)
        if name in LISTS:
            return lambda *args, **named: self._filtered(getattr(self._store, name)(*args, **named))
        if name in SINGLE:
            return lambda *args: found if self._sees(found := getattr(self._store, name)(*args)) else None
        raise forbidden()

    def _favorites(self, name: str, namespace: str) -> Callable[..., Any]:
        if namespace != FAVORITES:
            raise forbidden()
        return cast("Callable[..., Any]", getattr(self._store, name))

    def _of_one(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        first = args[0] if args else next(iter(named.values()))
        if _dag_id(first) in self.dag_ids:
            return getattr(self._store, name)(*args, **named)
        nothing = NOTHING_OF_OTHERS[name]
        return list(nothing) if nothing == () else nothing

    def _filtered(self, found: Iterable[Any]) -> Any:
        if isinstance(found, dict):
            return {key: one for key, one in found.items() if self._sees(key)}
        kept = (one for one in found if self._sees(one))
        return kept if isinstance(found, Iterator) else list(kept)

    def _sees(self, one: Any) -> bool:
        """Whether the user may read the item. An item without a DAG (a logged event) is readable, as in Airflow."""
        return one is not None and ((dag_id := _dag_id(one)) is None or dag_id in self.dag_ids)


def readable(store: Store, user: User) -> Store:
    return store if user.role is not None else cast("Store", ReadableStore(store, user))


def readable_dag_ids(store: Store) -> frozenset[str] | None:
    """Ids of the DAGs that are readable in the store; `None`: all."""
    return store.dag_ids if isinstance(store, ReadableStore) else None


def is_hidden_in_part(store: Store, dag: Dag) -> bool:
    """Whether the DAG's file has DAGs that are not readable in the store."""
    return isinstance(store, ReadableStore) and store.shares_file(dag)


def _dag_id(one: Any) -> str | None:
    """The DAG's id of an id, a key, an item that has either, or a tuple of one of these with a moment or number."""
    if isinstance(one, str):
        return one
    if isinstance(one, tuple) and not hasattr(one, "dag_id"):
        return _dag_id(next(part for part in one if isinstance(part, str) or hasattr(part, "dag_id")))
    if hasattr(one, "dag_id"):
        return cast("str | None", one.dag_id)
    return _dag_id(getattr(one, "key", None) or one.run)
