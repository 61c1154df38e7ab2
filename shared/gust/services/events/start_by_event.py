"""Makes of an event what the entries of `events.yaml` say: a run of a DAG, or an event of an asset.

EventBridge delivers at least once. Ids follow from the event's deduplication key, so the second delivery finds the first
one's run or asset event. What cannot be made (no such DAG, a conf that does not fit, an expression without a value) is an
entry in the event log and a metric: the sender is far away and hears nothing.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

from aws_lambda_powertools import Logger

from gust.errors import AlreadyExists, Invalid, NotFound, Rejected
from gust.model.asset import Asset, AssetEvent
from gust.model.dag_run import DagRun
from gust.model.event_rule import EventRule
from gust.model.history_query import LoggedEventQuery
from gust.model.keys import DagRunKey
from gust.model.logged_event import LoggedEvent
from gust.model.measurement import Measurement
from gust.model.state import DagRunState, DagRunTriggeredByType
from gust.model.window import Window
from gust.services.assets.register_asset_event import register_single_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.context import Services
from gust.services.events.event_template import OF_FILE, Budget, Seconds, filled
from gust.services.runs.create_dag_run import MAX_RUN_ID_LENGTH, RUN_ID_PATTERN, create_dag_run

PREFIX: Final = "event__"
REFUSED: Final = "event_refused"
WAITS: Final = "event_waits"

FOLLOWS_FOR: Final = 30.0
"""Seconds in which entries are begun, of the minute that the function has. What is left comes again with its message."""

CAUSED_BY_AN_ENTRY: Final = (Rejected, OverflowError, UnicodeError, RecursionError)
"""No later delivery ends otherwise: a date without a moment in UTC, a name that no key can hold."""

MAX_PARTITION_KEY: Final = 250
"""Characters, as in both APIs."""

SPREADS: Final = 0.618034
"""Of a file's events in a batch, the part that lies between the first ones of two deliveries: the golden ratio, by which
few deliveries begin everywhere."""

_NAMESPACE: Final = UUID("b3c1a7c2-8f0e-4a43-8f6c-2a51cf2b9d10")

log = Logger(service="events", child=True)


@dataclass(frozen=True, slots=True)
class Matched:
    """An event, and the pattern of an `events.yaml` that it matched."""

    pattern_id: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Match:
    """An event, and an entry whose pattern it matches."""

    filename: str
    rule: EventRule
    event: Mapping[str, Any]
    budget: Budget

    @property
    def place(self) -> str:
        return f"{self.filename}:{self.rule.line}"

    @property
    def key(self) -> str:
        """Of two events with the same one, the second changes nothing. Raises Invalid, as all of these."""
        return _text("dedup_key", filled(self.rule.dedup_key, self.event, self.budget)) or str(self.event["id"])

    @property
    def partition_key(self) -> str | None:
        key = _text("partition_key", filled(self.rule.partition_key, self.event, self.budget))
        if key is not None and len(key) > MAX_PARTITION_KEY:
            raise Invalid(f"partition_key is longer than {MAX_PARTITION_KEY} characters: {key[:200]}")
        return key

    @property
    def conf(self) -> dict[str, Any]:
        return _object("conf", filled(self.rule.conf, self.event, self.budget))

    @property
    def extra(self) -> dict[str, Any]:
        about = {"event_id": self.event["id"], "event_time": self.event["time"]}
        return _object("extra", filled(self.rule.extra, self.event, self.budget)) | about

    @property
    def logical_date(self) -> datetime | None:
        return _moment(_text("logical_date", filled(self.rule.logical_date, self.event, self.budget)))


def start_by_events(
    services: Services,
    matched: Mapping[str, Matched],
    *,
    delivery: int = 1,
    clock: Callable[[], float] = time.monotonic,
    of_file: float = OF_FILE,
) -> set[str]:
    """Do what each entry says that has the pattern of an event. Where an entry cannot be followed, the event log has the
    reason. `matched`: name → event. Returns the names of events of which something is not done; repeating the rest changes
    nothing.

    The file goes next that has taken the least time: slow expressions and many entries delay their own file. It follows one
    event with all of its entries, then the next; their expressions have a time together, so that the first event is done in
    any case. Each `delivery` (from 1) of what was left begins at another event. `of_file`: the seconds of that time."""
    waiting, failed = _by_file(services, matched, skipped=(delivery - 1) * SPREADS % 1, seconds=of_file)
    spent = dict.fromkeys(waiting, 0.0)
    until = clock() + FOLLOWS_FOR
    while waiting and (began := clock()) < until:
        filename = min(waiting, key=spent.__getitem__)
        name, match = waiting[filename].popleft()
        try:
            _follow(services, match)
        except Exception:
            log.exception("An entry could not be followed", entry=match.place, event_id=match.event["id"])
            failed.add(name)
        spent[filename] += clock() - began
        if not waiting[filename]:
            del waiting[filename]
    return failed | {name for left in waiting.values() for name, _ in left}


def _by_file(
    services: Services, matched: Mapping[str, Matched], *, skipped: float, seconds: float
) -> tuple[dict[str, deque[tuple[str, Match]]], set[str]]:
    """File → (name of the event, what to follow), in the order of the events and of the file; and the names of events of
    files that cannot be read. `skipped`: the part of the events that goes to the end."""
    wanted = {each.pattern_id for each in matched.values()}
    found: dict[str, deque[tuple[str, Match]]] = {}
    failed: set[str] = set()
    for file in services.store.list_event_files() if wanted else ():
        try:
            rules = [(pattern_id, rule) for rule in file.rules if (pattern_id := rule.pattern_id) in wanted]
        except ValueError:
            names = {name for name, each in matched.items() if each.pattern_id in file.patterns}
            if names:
                log.exception("A stored file of events cannot be read: deploy it anew", file=file.filename)
            failed |= names
            continue
        of_file = {each for each, _ in rules}
        events = [(name, each) for name, each in matched.items() if each.pattern_id in of_file]
        first = int(skipped * len(events))
        queue: deque[tuple[str, Match]] = deque()
        for name, each in (*events[first:], *events[:first]):
            together = Seconds(seconds)
            queue.extend(
                (name, Match(file.filename, rule, each.event, Budget(of_file=together)))
                for pattern_id, rule in rules
                if pattern_id == each.pattern_id
            )
        if queue:
            found[file.filename] = queue
    return found, failed


def _follow(services: Services, match: Match) -> None:
    try:
        _start(services, match)
    except CAUSED_BY_AN_ENTRY as error:
        services.metrics.add([Measurement("EventsRefused", 1, dag_id=match.rule.dag_id)])
        _note(services, REFUSED, match, reason=str(error))


def _start(services: Services, match: Match) -> None:
    if match.rule.dag_id is not None:
        _make_run(services, match, match.rule.dag_id)
    else:
        _emit(services, match)


def _make_run(services: Services, match: Match, dag_id: str) -> None:
    run_id = run_id_of(match.key)
    try:
        create_dag_run(
            replace(services, correlation_id=match.event["id"]),
            dag_id,
            run_id=run_id,
            logical_date=match.logical_date,
            conf=match.conf,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=match.place,
            partition_key=match.partition_key,
        )
    except AlreadyExists as taken:
        run = services.store.get_run(DagRunKey(dag_id, run_id))
        if run is None:
            raise Invalid("another run has the event's logical date") from taken
        # The delivery that made it may have died before it could say that the run waits.
        if run.state is not DagRunState.QUEUED or _is_noted(services, run):
            return
    else:
        log.info("An event made a run", dag_id=dag_id, run_id=run_id, entry=match.place, event_id=match.event["id"])
    dag = services.store.get_dag(dag_id)
    if dag is not None and dag.is_paused:
        services.metrics.add([Measurement("EventsWaiting", 1, dag_id=dag_id)])
        _note(services, WAITS, match, run_id=run_id, reason="the DAG is paused")


def _is_noted(services: Services, run: DagRun) -> bool:
    since = Window(run.queued_at, ascending=False)
    entries = services.store.walk_logged_events(LoggedEventQuery(run.dag_id, since, run_id=run.run_id))
    return any(entry.event == WAITS for entry in entries)


def _emit(services: Services, match: Match) -> None:
    asset = _asset(services, str(match.rule.asset))
    made = AssetEvent(
        event_id=str(uuid5(_NAMESPACE, "\x1f".join((*asset.key, match.key)))),
        name=asset.name,
        uri=asset.uri,
        group=asset.group,
        timestamp=services.clock.now(),
        extra=match.extra,
        partition_key=match.partition_key,
    )
    # First, so that a crash before the write has it told again rather than never.
    if (bundle := services.store.active_bundle()) is not None:
        tell_of_events(services, [made], listeners=bundle.listeners, bundle_version=bundle.version)
    register_single_events(services, [made])


def _asset(services: Services, named: str) -> Asset:
    asset = services.store.get_asset(name=named) or services.store.get_asset(uri=named)
    if asset is None:
        raise NotFound(f"Asset with name or URI {named!r} not found")
    return asset


def run_id_of(key: str) -> str:
    """Legible where the key may stand in a run id, else its hash."""
    run_id = f"{PREFIX}{key}"
    if RUN_ID_PATTERN.match(run_id) and ".." not in run_id and len(run_id) <= MAX_RUN_ID_LENGTH:
        return run_id
    return f"{PREFIX}{sha256(key.encode()).hexdigest()[:32]}"


def _text(name: str, value: Any) -> str | None:
    match value:
        case None:
            return None
        case str() if value.strip():
            return value
        case bool():
            pass
        case int() | float():
            return str(value)
        case _:
            pass
    raise Invalid(f"{name} is no text: {json.dumps(value)[:200]}")


def _object(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"{name} is no object: {json.dumps(value)[:200]}")
    return value


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"logical_date is no moment: {text[:200]}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _note(services: Services, what: str, match: Match, *, reason: str, run_id: str | None = None) -> None:
    about = {
        "reason": reason,
        "entry": match.place,
        "event_id": match.event.get("id"),
        "source": match.event.get("source"),
        "detail_type": match.event.get("detail-type"),
    }
    log.warning("An event was not followed" if what == REFUSED else "An event's run waits", extra=about)
    services.store.log_event(
        LoggedEvent(
            when=services.clock.now(),
            event=what,
            owner="events.yaml",
            owner_display_name="events.yaml",
            extra=json.dumps(about | ({"asset": match.rule.asset} if match.rule.asset else {})),
            dag_id=match.rule.dag_id,
            run_id=run_id,
        )
    )
